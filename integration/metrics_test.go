package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kms11/kms11/integration/kms11test"
)

// readings are the values of an answer of /metrics, by the text before them.
type readings map[string]float64

// scrape reads what the server says at the address of its metrics.
func scrape(t *testing.T, address string) readings {
	t.Helper()
	response := must(http.Get("http://" + address + "/metrics"))(t)
	defer response.Body.Close()
	text := string(must(io.ReadAll(response.Body))(t))
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("GET /metrics: %s\n%s", response.Status, text)
	}
	values := readings{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if _, twice := values[line[:at]]; twice || err != nil {
			t.Fatalf("a line of /metrics is %q", line)
		}
		values[line[:at]] = value
	}
	return values
}

// matching are the values of a metric whose labels have all the parts.
func (r readings) matching(metric string, parts ...string) (found []float64) {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if (name == metric || strings.HasPrefix(name, metric+"{")) && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(name, part) }) {
			found = append(found, r[name])
		}
	}
	return found
}

// request is how many requests a scrape has counted.
func (r readings) requests(api, operation, outcome string) float64 {
	return r[fmt.Sprintf("kms11_requests_total{api=%q,operation=%q,outcome=%q}", api, operation, outcome)]
}

// TestMetrics sends requests to each API and wants each to be counted once.
func TestMetrics(t *testing.T) {
	address, listen := kms11test.FreeAddress(t), kms11test.FreeAddress(t)
	config := kms11test.Write(t, t.TempDir(), "kms11.yaml", "metrics: {listen: '"+address+"'}\nxks: {timeout: 60000, listen: '"+listen+"'}\n")
	proxy := &xksProxy{prefix: xksPrefix, endpoint: "http://" + listen, client: &http.Client{Timeout: time.Minute}}
	proxy.Server = kms11test.Start(t, "--config", config)
	server := proxy.Server
	before := scrape(t, address)
	if before.requests("kms", "Encrypt", "ok") != 0 || len(before.matching("kms11_requests_total", `operation="Encrypt"`, `outcome="ok"`)) != 1 {
		t.Error("an operation is not there before its first request")
	}

	client, ctx := server.Client(t), t.Context()
	key := must(client.CreateKey(ctx, &kms.CreateKeyInput{}))(t).KeyMetadata.KeyId
	for range 5 {
		must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("text")}))(t)
	}
	for range 3 {
		if _, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String("1234abcd-12ab-34cd-56ef-1234567890ab"), Plaintext: []byte("text")}); err == nil {
			t.Error("a key that is not there encrypts")
		}
	}
	for _, target := range []string{"TrentService.Encrypt", "TrentService.Whatever"} {
		r := must(http.NewRequest(http.MethodPost, "http://"+server.Listen+"/", strings.NewReader("{}")))(t)
		r.Header.Set("X-Amz-Target", target)
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		response := must(http.DefaultClient.Do(r))(t)
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s without a signature is %s", target, response.Status)
		}
	}
	must(server.STS(t, server.Admin(t).Key).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}))(t)
	proxy.admin(t, "tenant", "create", "--prefix", proxy.prefix)
	proxy.key = proxy.newCredential(t, proxy.prefix)
	health := fields{"requestMetadata": fields{"kmsRequestId": "r", "kmsOperation": "KmsHealthCheck"}}
	proxy.ok(t, "/health", health)
	if a := proxy.call(t, "/keys/none/encrypt", encryptBody([]byte("x"), nil)); a.status != http.StatusNotFound {
		t.Errorf("an external key that is not there: %s", a)
	}

	after := scrape(t, address)
	for _, c := range []struct {
		api, operation, outcome string
		n                       float64
	}{
		{"kms", "CreateKey", "ok", 1},
		{"kms", "Encrypt", "ok", 5},
		{"kms", "Encrypt", "NotFoundException", 3},
		{"kms", "Encrypt", "MissingAuthenticationTokenException", 1},
		{"kms", "unknown", "UnknownOperationException", 1},
		{"sts", "GetCallerIdentity", "ok", 1},
		{"xks", "health", "ok", 1},
		{"xks", "encrypt", "KeyNotFoundException", 1},
	} {
		if n := after.requests(c.api, c.operation, c.outcome); n != c.n {
			t.Errorf("%s %s %s: %v requests, want %v", c.api, c.operation, c.outcome, n, c.n)
		}
	}
	for _, api := range []string{"kms", "sts", "xks"} {
		counted, timed := 0.0, 0.0
		for _, n := range after.matching("kms11_requests_total", `api="`+api+`"`) {
			counted += n
		}
		for _, n := range after.matching("kms11_request_duration_seconds_count", `api="`+api+`"`) {
			timed += n
		}
		if counted != timed || after[`kms11_requests_in_flight{api="`+api+`"}`] != 0 {
			t.Errorf("%s: %v requests counted, %v timed, %v in flight", api, counted, timed, after[`kms11_requests_in_flight{api="`+api+`"}`])
		}
	}
	if up := after.matching("kms11_token_up", `use="domain"`); len(up) != 1 || up[0] != 1 {
		t.Errorf("the token is up: %v", up)
	}
	// Ten requests for operations of the KMS API are records; others may come besides.
	if n := after["kms11_audit_records_total"] - before["kms11_audit_records_total"]; n < 10 || after["kms11_audit_stopped"] != 0 {
		t.Errorf("%v audit records, stopped %v", n, after["kms11_audit_stopped"])
	}
	if after["kms11_healthy"] != 1 || len(after.matching("kms11_build_info", `goversion="go1.`)) != 1 || len(after.matching("kms11_scheduler_overdue")) != 1 {
		t.Error("health, build or scheduler is missing")
	}
	text := fmt.Sprint(after)
	for _, secret := range []string{*key, server.Admin(t).Key.AccessKeyID, kms11test.Account, "pin-value", "Whatever"} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics name %s", secret)
		}
	}
	// The KMS endpoint has no metrics.
	response := must(http.Get("http://" + server.Listen + "/metrics"))(t)
	response.Body.Close()
	if response.StatusCode == http.StatusOK {
		t.Error("the KMS endpoint serves /metrics")
	}
}

// tokenReport is what kms11 status says of tokens.
type tokenReport struct {
	Healthy bool
	Problem string
	Tokens  []struct {
		Use, URI, Cause            string
		Up                         bool
		Since                      time.Time
		Sessions, Handles, Hanging int
		Library                    struct{ Path string }
	}
}

func status(t *testing.T, server *kms11test.Server) (report tokenReport) {
	t.Helper()
	output, code := kms11test.Command(t, "status", "--data", server.Dir)
	// What is wrong comes on standard error, after the JSON.
	if err := json.NewDecoder(strings.NewReader(output)).Decode(&report); err != nil {
		t.Fatalf("kms11 status: %v\n%s", err, output)
	}
	if (code == 0) != report.Healthy {
		t.Errorf("kms11 status left with %d:\n%s", code, output)
	}
	return report
}

// until asks again until the answer is yes.
func until(t *testing.T, server *kms11test.Server, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(recoveryBound); !yes(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v\n%s", what, recoveryBound, server.Log(t))
		}
	}
}

// TestMetricsOfALostToken takes the storage of one of two tokens away and brings it back.
func TestMetricsOfALostToken(t *testing.T) {
	tokens := newPool(t, false)
	address := kms11test.FreeAddress(t)
	text := must(os.ReadFile(tokens.config))(t)
	if err := os.WriteFile(tokens.config, append(text, "metrics: {listen: '"+address+"'}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	server := tokens.serve(t)
	client := server.Client(t)
	newKey(t, client, types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt)
	ups := func() []float64 {
		return []float64{
			scrape(t, address).matching("kms11_token_up", "token%200")[0],
			scrape(t, address).matching("kms11_token_up", "token%201")[0],
		}
	}
	if got := ups(); !slices.Equal(got, []float64{1, 1}) {
		t.Fatalf("the tokens are up: %v", got)
	}
	back := tokens.hide(t, 0)
	until(t, server.Server, "the token is down", func() bool { return slices.Equal(ups(), []float64{0, 1}) })
	if scrape(t, address)["kms11_healthy"] != 0 {
		t.Error("the server is healthy without a token")
	}
	report := status(t, server.Server)
	if report.Healthy || len(report.Tokens) != 2 || report.Tokens[0].Up || report.Tokens[0].Cause == "" || report.Tokens[0].Since.IsZero() ||
		!report.Tokens[1].Up || report.Tokens[1].Sessions == 0 || report.Tokens[1].Cause != "" {
		t.Errorf("kms11 status says %+v", report)
	}
	back()
	until(t, server.Server, "the token is back", func() bool { return slices.Equal(ups(), []float64{1, 1}) && scrape(t, address)["kms11_healthy"] == 1 })
	if report := status(t, server.Server); !report.Healthy || !report.Tokens[0].Up || report.Tokens[0].Use != "domain" {
		t.Errorf("kms11 status says %+v", report)
	}
}

// TestMetricsWhileCallsHang has every call into the token hang until the test ends that. Health, status
// and metrics answer all the same, and tell of it.
func TestMetricsWhileCallsHang(t *testing.T) {
	module := newFaultModule(t)
	address := kms11test.FreeAddress(t)
	config := filepath.Join(t.TempDir(), "kms11.yaml")
	if err := os.WriteFile(config, []byte("limits: {call: 1}\nmetrics: {listen: '"+address+"'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := kms11test.Start(t, "--config", config)
	module.set(t, hangMillis, uint64(time.Hour/time.Millisecond))
	module.set(t, hangsOfMillion, 1_000_000)
	until(t, server, "a call hangs", func() bool {
		n := scrape(t, address).matching("kms11_token_hanging_calls", `use="domain"`)
		return len(n) == 1 && n[0] > 0
	})
	got := scrape(t, address)
	if up := got.matching("kms11_token_up", `use="domain"`); got["kms11_healthy"] != 0 || len(up) != 1 || up[0] != 0 {
		t.Errorf("healthy %v, up %v", got["kms11_healthy"], up)
	}
	wantHealth(t, server, "", http.StatusServiceUnavailable, "unavailable\n")
	report := status(t, server)
	if report.Healthy || report.Problem == "" || len(report.Tokens) != 1 || report.Tokens[0].Up || report.Tokens[0].Hanging == 0 || report.Tokens[0].Cause == "" {
		t.Errorf("kms11 status says %+v", report)
	}
	module.set(t, hangsOfMillion, 0)
	module.set(t, hangMillis, 0)
	until(t, server, "the server is healthy again", func() bool {
		got := scrape(t, address)
		return got["kms11_healthy"] == 1 && got.matching("kms11_token_hanging_calls")[0] == 0
	})
	if report := status(t, server); !report.Healthy || !report.Tokens[0].Up {
		t.Errorf("kms11 status says %+v", report)
	}
}

// TestMetricsRefusals are listeners that would show metrics to anybody.
func TestMetricsRefusals(t *testing.T) {
	for says, settings := range map[string]string{
		"metrics.tls.certificate": "listen: '0.0.0.0:0'",
		"metrics has no listen":   "plaintext: true",
		"exclude each other":      "listen: '127.0.0.1:0', plaintext: true, tls: {certificate: c, key: k}",
	} {
		config := kms11test.Write(t, t.TempDir(), "kms11.yaml", "metrics: {"+settings+"}\n")
		wantRefusal(t, exitUsage, says, "serve", "--config", config, "--data", filepath.Join(t.TempDir(), "data"))
	}
	if _, err := os.Stat("kms11-data"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a server that must not start made a data directory")
	}
}
