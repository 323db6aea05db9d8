package integration_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestConnectionFlood opens far more connections than each listener may have and leaves them idle, silent or
// within a request's headers. Whoever has a request is served all the same, and no listener has more
// connections than allowed.
func TestConnectionFlood(t *testing.T) {
	metrics, xks, health := kms11test.FreeAddress(t), kms11test.FreeAddress(t), kms11test.FreeAddress(t)
	const most = 10
	config := kms11test.Write(t, t.TempDir(), "kms11.yaml", fmt.Sprintf(
		"limits: {connections: %d}\nmetrics: {listen: '%s'}\nxks: {listen: '%s', health: '%s'}\n", most, metrics, xks, health))
	server := kms11test.Start(t, "--config", config)
	client := server.Client(t)
	key := createKey(t, client)
	for name, address := range map[string]string{"kms": server.Listen, "metrics": metrics, "xks": xks, "xks health": health} {
		for _, sent := range []string{"", "POST / HTTP/1.1\r\nHost: kms11.test\r\nX-Amz-", "GET /nothing HTTP/1.1\r\nHost: kms11.test\r\n\r\n"} {
			for range 3 * most {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, sent); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	}
	for range 3 {
		if _, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: key.KeyId}); err != nil {
			t.Error(err)
		}
	}
	for name, url := range map[string]string{
		"kms": "http://" + server.Listen + "/healthz", "metrics": "http://" + metrics + "/metrics", "xks health": "http://" + health + "/healthz",
	} {
		response, err := http.Get(url)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", name, response.Status)
		}
	}
}
