package integration_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestAdminSocketErrors: whatever is asked for on the admin socket, an error is a JSON object with a message,
// which the commands print without the JSON around it.
func TestAdminSocketErrors(t *testing.T) {
	server := kms11test.Start(t)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(server.Dir, "admin.sock"))
	}}}
	defer client.CloseIdleConnections()
	for path, body := range map[string]string{
		"/xks/tenant/create": `{"prefix":"no slash"}`, "/xks/key/list": `{"unknown":1}`, "/xks/credential/delete": `no JSON`, "/xks/key/enable": `{"id":"none"}`,
		"/iam/create-user": `{"name":""}`, "/iam/nothing": `{}`, "/policy/explain": `{}`, "/domain/rotate": `no JSON`,
	} {
		response, err := client.Post("http://kms11"+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var fault struct{ Message string }
		err = json.NewDecoder(response.Body).Decode(&fault)
		response.Body.Close()
		if err != nil || fault.Message == "" || response.StatusCode < 400 || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s, %s, %q, %v", path, response.Status, response.Header.Get("Content-Type"), fault.Message, err)
		}
	}
	output, code := kms11test.Command(t, "xks", "key", "enable", "--id", "none", "--data", server.Dir)
	if code != exitFailure || strings.Contains(output, "{") || strings.Count(output, "\n") != 1 || !strings.Contains(output, "there is no key none") {
		t.Errorf("the command left with %d: %s", code, output)
	}
}
