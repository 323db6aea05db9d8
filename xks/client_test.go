package xks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/sigv4"
)

const (
	testAccessKeyID = "ABCDEFGHIJKLMNOPQRSTUVWX"
	testSecret      = "0123456789abcdefghijklmnopqrstuvwxyz+/ABCDE=="
)

// published is the example of the specification's Encrypt and its appendix C.
var published = struct{ aad, metadata, iv, ciphertext, tag, integrity string }{
	"cHJvamVjdD1uaWxlLGRlcGFydG1lbnQ9bWFya2V0aW5n", "a2V5X3ZlcnNpb249MQ==", "HMrlRw85cAJUd5Ax",
	"ghxkK1txeDNn3q8Y", "vBxN2ncH1oEkR8WVXpmyYQ==", "qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=",
}

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIntegrityValueIsThePublishedOne(t *testing.T) {
	p := &published
	got := IntegrityValue(unbase64(t, p.aad), unbase64(t, p.metadata), unbase64(t, p.iv), unbase64(t, p.ciphertext), unbase64(t, p.tag))
	if base64.StdEncoding.EncodeToString(got[:]) != p.integrity {
		t.Errorf("got %x", got)
	}
}

func TestBoundAADKeepsItsPartsApart(t *testing.T) {
	if got := string(BoundAAD(nil, []byte("ab"), []byte("c"))); got != "\x00\x02ab\x01c" {
		t.Errorf("got %q", got)
	}
	if got := string(BoundAAD(nil, nil, nil)); got != "\x00\x00\x00" {
		t.Errorf("got %q", got)
	}
	if string(BoundAAD(nil, []byte("c"), nil)) == string(BoundAAD(nil, nil, []byte("c"))) {
		t.Error("AAD and metadata can be taken for each other")
	}
}

func TestNames(t *testing.T) {
	for path, want := range map[string]bool{
		"/kms/xks/v1": true, "/a/kms/xks/v1": true, "/a-B_9/c/kms/xks/v1": true,
		"": false, "kms/xks/v1": false, "//kms/xks/v1": false, "/a//b/kms/xks/v1": false, "/a.b/kms/xks/v1": false,
		"/a/kms/xks/v1/": false, "/kms/xks/v2": false, "a/kms/xks/v1": false, "/%41/kms/xks/v1": false,
		"/" + strings.Repeat("a", 116) + "/kms/xks/v1": true, "/" + strings.Repeat("a", 117) + "/kms/xks/v1": false,
	} {
		if ValidURIPath(path) != want {
			t.Errorf("path %q: %v", path, !want)
		}
	}
	for id, want := range map[string]bool{
		"a": true, "A.b-c_9": true, "...": true, strings.Repeat("a", 128): true,
		"": false, ".": false, "..": false, "a/b": false, "a%20": false, "é": false, strings.Repeat("a", 129): false,
	} {
		if ValidKeyID(id) != want {
			t.Errorf("key id %q: %v", id, !want)
		}
	}
	for id, want := range map[string]bool{
		strings.Repeat("A", 20): true, strings.Repeat("7", 30): true,
		strings.Repeat("A", 19): false, strings.Repeat("A", 31): false, strings.Repeat("1", 20): false, strings.Repeat("a", 20): false,
	} {
		if ValidAccessKeyID(id) != want {
			t.Errorf("access key id %q: %v", id, !want)
		}
	}
	for secret, want := range map[string]bool{
		strings.Repeat("a", 43): true, strings.Repeat("+", 64): true,
		strings.Repeat("a", 42): false, strings.Repeat("a", 65): false, strings.Repeat("a", 42) + "-": false,
	} {
		if ValidSecret(secret) != want {
			t.Errorf("a secret of %d: %v", len(secret), !want)
		}
	}
}

// clientFor makes a client of a proxy that the test plays. Its time is long, because no test
// depends on the machine's speed.
func clientFor(t *testing.T, endpoint string, change func(*ClientConfig)) *Client {
	t.Helper()
	config := ClientConfig{
		Endpoint: endpoint, URIPath: "/example/kms/xks/v1", AccessKeyID: testAccessKeyID, Secret: testSecret,
		Region: "eu-west-1", Timeout: time.Minute,
	}
	if change != nil {
		change(&config)
	}
	c, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientSendsWhatTheSpecificationSays(t *testing.T) {
	verifier := sigv4.NewVerifier(sigv4.Config{
		Service:  "kms-xks-proxy",
		RegionOK: func(region string) bool { return region == "eu-west-1" },
		Lookup: func(_ context.Context, id string) (sigv4.Credential, error) {
			if id != testAccessKeyID {
				return sigv4.Credential{}, sigv4.ErrUnknownKey
			}
			return sigv4.Credential{Secret: testSecret}, nil
		},
	})
	p := &published
	answers := map[string]string{
		"/example/kms/xks/v1/health":          `{"xksProxyFleetSize":2,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[{"id":"1","model":"m","healthStatus":"DEGRADED"}]}`,
		"/example/kms/xks/v1/keys/k/metadata": `{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}`,
		"/example/kms/xks/v1/keys/k/encrypt": `{"authenticationTag":"` + p.tag + `","ciphertext":"` + p.ciphertext + `","ciphertextDataIntegrityValue":"` + p.integrity +
			`","ciphertextMetadata":"` + p.metadata + `","initializationVector":"` + p.iv + `"}`,
		"/example/kms/xks/v1/keys/k/decrypt": `{"plaintext":"SGVsbG8gV29ybGQh"}`,
	}
	bodies := map[string]map[string]any{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if _, err := verifier.Verify(r, body); err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || len(r.Header["Idempotency-Key"]) != 0 {
			t.Errorf("%s %s %v", r.Method, r.URL.Path, r.Header)
		}
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Error(err)
		}
		bodies[r.URL.Path] = fields
		fmt.Fprintln(w, answers[r.URL.Path])
	}))
	defer server.Close()
	c := clientFor(t, server.URL, nil)
	meta := RequestMetadata{PrincipalARN: "arn:aws:iam::111122223333:user/example", KeyARN: "arn:aws:kms:eu-west-1:111122223333:key/1", Operation: "Encrypt", RequestID: "r"}
	if got, err := c.Health(t.Context(), HealthRequest{Metadata: RequestMetadata{Operation: "KmsHealthCheck", RequestID: "r"}}); err != nil || got.FleetSize != 2 || got.EKMFleet[0].Health != StatusDegraded {
		t.Errorf("health: %+v %v", got, err)
	}
	if got, err := c.GetMetadata(t.Context(), "k", MetadataRequest{Metadata: meta}); err != nil || got.KeyStatus != KeyEnabled {
		t.Errorf("metadata: %+v %v", got, err)
	}
	sealed, err := c.Encrypt(t.Context(), "k", EncryptRequest{Metadata: meta, AAD: unbase64(t, p.aad), Plaintext: []byte("Hello World!"), Integrity: IntegritySHA256})
	if err != nil || string(sealed.Metadata) != "key_version=1" {
		t.Errorf("encrypt: %+v %v", sealed, err)
	}
	opened, err := c.Decrypt(t.Context(), "k", DecryptRequest{Metadata: meta, AAD: unbase64(t, p.aad), Ciphertext: sealed.Ciphertext, CiphertextMetadata: sealed.Metadata, IV: sealed.IV, Tag: sealed.Tag})
	if err != nil || string(opened.Plaintext) != "Hello World!" {
		t.Errorf("decrypt: %v", err)
	}
	encrypt := bodies["/example/kms/xks/v1/keys/k/encrypt"]
	if encrypt["encryptionAlgorithm"] != "AES_GCM" || encrypt["plaintext"] != "SGVsbG8gV29ybGQh" || encrypt["additionalAuthenticatedData"] != p.aad ||
		encrypt["requestMetadata"].(map[string]any)["kmsRequestId"] != "r" {
		t.Errorf("encrypt sent %v", encrypt)
	}
	if _, there := bodies["/example/kms/xks/v1/health"]["requestMetadata"].(map[string]any)["kmsKeyArn"]; there {
		t.Error("an empty field of the metadata was sent")
	}
}

// answering is a proxy that gives one answer to everything.
func answering(t *testing.T, status int, body string) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestClientReadsErrors(t *testing.T) {
	for name, status := range statuses {
		c := clientFor(t, answering(t, status, `{"errorName":"`+name+`","errorMessage":"why\n"}`).URL, nil)
		_, err := c.GetMetadata(t.Context(), "k", MetadataRequest{})
		var proxy *Error
		if !errors.As(err, &proxy) || *proxy != (Error{status, name, "why?"}) || !proxy.Known() {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c := clientFor(t, answering(t, 400, `{"errorName":"NoSuchException"}`).URL, nil)
	_, err := c.GetMetadata(t.Context(), "k", MetadataRequest{})
	var proxy *Error
	if !errors.As(err, &proxy) || proxy.Known() {
		t.Errorf("an unknown name: got %v", err)
	}
}

func TestClientRefusesMalformedAnswers(t *testing.T) {
	ask := map[string]func(*Client) error{
		"health": func(c *Client) error { _, err := c.Health(context.Background(), HealthRequest{}); return err },
		"metadata": func(c *Client) error {
			_, err := c.GetMetadata(context.Background(), "k", MetadataRequest{})
			return err
		},
		"encrypt": func(c *Client) error {
			_, err := c.Encrypt(context.Background(), "k", EncryptRequest{Plaintext: []byte("Hello World!"), Integrity: IntegritySHA256})
			return err
		},
		"decrypt": func(c *Client) error {
			_, err := c.Decrypt(context.Background(), "k", DecryptRequest{Ciphertext: []byte("Hello World!")})
			return err
		},
	}
	const iv, tag, text = "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA==", "ghxkK1txeDNn3q8Y"
	for _, c := range []struct {
		operation string
		status    int
		body      string
	}{
		{"health", 200, ``},
		{"health", 200, `[]`},
		{"health", 200, `{"xksProxyFleetSize":0,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[{"id":"1","model":"m","healthStatus":"ACTIVE"}]}`},
		{"health", 200, `{"xksProxyFleetSize":1,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[]}`},
		{"health", 200, `{"xksProxyFleetSize":1,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[{"id":"1","model":"m","healthStatus":"FINE"}]}`},
		{"health", 500, `oops`},
		{"health", 500, `{"message":"oops"}`},
		{"metadata", 200, `{"keySpec":"AES_256","keyUsage":["ENCRYPT"],"keyStatus":"MAYBE"}`},
		{"metadata", 200, `{"keyUsage":["ENCRYPT"],"keyStatus":"ENABLED"}`},
		{"metadata", 200, `{"keySpec":"AES_256","keyUsage":"ENCRYPT","keyStatus":"ENABLED"}`},
		{"metadata", 200, `{"keySpec":"AES_256","keyUsage":["1","2","3","4","5","6","7","8","9","10","11"],"keyStatus":"ENABLED"}`},
		{"encrypt", 200, `{"ciphertext":"` + text + `","initializationVector":"` + iv + `","authenticationTag":"` + tag + `"}`}, // no integrity value
		{"encrypt", 200, `{"ciphertext":"` + text + `","initializationVector":"` + iv + `","authenticationTag":"` + tag + `","ciphertextDataIntegrityValue":"` + published.integrity + `"}`},
		{"encrypt", 200, `{"ciphertext":"AAAA","initializationVector":"` + iv + `","authenticationTag":"` + tag + `"}`},
		{"encrypt", 200, `{"ciphertext":"` + text + `","initializationVector":"AAAA","authenticationTag":"` + tag + `"}`},
		{"encrypt", 200, `{"ciphertext":"` + text + `","initializationVector":"` + iv + `","authenticationTag":"AAAA"}`},
		{"encrypt", 200, `{"ciphertext":"` + text + `","initializationVector":"` + iv + `","authenticationTag":"` + tag + `","ciphertextMetadata":"` + strings.Repeat("AAAA", 7) + `"}`},
		{"encrypt", 200, `{"ciphertext":"*","initializationVector":"` + iv + `","authenticationTag":"` + tag + `"}`},
		{"decrypt", 200, `{"plaintext":"AAAA"}`},
		{"decrypt", 200, `{}`},
		{"decrypt", 200, `{"plaintext":"` + strings.Repeat("A", maxAnswer) + `"}`},
	} {
		client := clientFor(t, answering(t, c.status, c.body).URL, nil)
		if err := ask[c.operation](client); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s %d %.60s: got %v", c.operation, c.status, c.body, err)
		}
	}
}

func health(c *Client) error { _, err := c.Health(context.Background(), HealthRequest{}); return err }

func TestClientTellsTransportErrorsApart(t *testing.T) {
	listen := func(serve func(net.Conn)) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go serve(conn)
			}
		}()
		return listener.Addr().String()
	}
	closed := listen(func(c net.Conn) { c.Close() })
	silent := listen(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	garbage := listen(func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "220 mail.example ESMTP\r\n\r\n")
		c.Close()
	})
	cut := listen(func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
		c.Close()
	})
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused := nobody.Addr().String()
	nobody.Close()
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	defer stranger.Close()
	careful := httptest.NewUnstartedServer(http.NotFoundHandler())
	careful.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	careful.StartTLS()
	defer careful.Close()
	trusting := x509.NewCertPool()
	trusting.AddCert(careful.Certificate())

	short := func(c *ClientConfig) { c.Timeout = 50 * time.Millisecond }
	for name, c := range map[string]struct {
		endpoint string
		change   func(*ClientConfig)
		want     error
	}{
		"nobody listens":                  {"http://" + unused, nil, ErrUnreachable},
		"closed at once":                  {"http://" + closed, nil, ErrUnreachable},
		"never an answer":                 {"http://" + silent, short, ErrTimeout},
		"never a handshake":               {"https://" + silent, short, ErrTimeout},
		"not HTTP":                        {"http://" + garbage, nil, ErrMalformed},
		"not TLS":                         {"https://" + garbage, nil, ErrTLS},
		"an answer that breaks off":       {"http://" + cut, nil, ErrMalformed},
		"a certificate of nobody we know": {stranger.URL, nil, ErrTLS},
		"a client without a certificate":  {careful.URL, func(c *ClientConfig) { c.RootCAs = trusting }, ErrTLS},
	} {
		err := health(clientFor(t, c.endpoint, c.change))
		for _, kind := range []error{ErrUnreachable, ErrTimeout, ErrTLS, ErrMalformed} {
			if errors.Is(err, kind) != (kind == c.want) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := clientFor(t, "http://"+silent, nil).Health(ctx, HealthRequest{}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
		t.Errorf("cancelled by the caller: got %v", err)
	}
}

// TestClientKeepsConnections holds that requests share connections, and that one which finds its
// connection closed goes out again.
func TestClientKeepsConnections(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}`)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := clientFor(t, server.URL, func(c *ClientConfig) { c.RootCAs = roots })
	for range 5 {
		if _, err := c.GetMetadata(t.Context(), "k", MetadataRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for 5 requests", n)
	}
	server.CloseClientConnections()
	if _, err := c.GetMetadata(t.Context(), "k", MetadataRequest{}); err != nil {
		t.Errorf("after the proxy closed the connection: %v", err)
	}
}

func TestNewClientRefuses(t *testing.T) {
	for name, change := range map[string]func(*ClientConfig){
		"no scheme":        func(c *ClientConfig) { c.Endpoint = "xks.example.com" },
		"another scheme":   func(c *ClientConfig) { c.Endpoint = "ftp://xks.example.com" },
		"a path":           func(c *ClientConfig) { c.Endpoint = "https://xks.example.com/" },
		"a user":           func(c *ClientConfig) { c.Endpoint = "https://me@xks.example.com" },
		"another URI path": func(c *ClientConfig) { c.URIPath = "/kms/xks/v2" },
		"a short secret":   func(c *ClientConfig) { c.Secret = "short" },
		"a bad access key": func(c *ClientConfig) { c.AccessKeyID = "abc" },
		"no Region":        func(c *ClientConfig) { c.Region = "" },
	} {
		config := ClientConfig{Endpoint: "https://xks.example.com", URIPath: "/kms/xks/v1", AccessKeyID: testAccessKeyID, Secret: testSecret, Region: "us-east-1"}
		change(&config)
		if _, err := NewClient(config); err == nil || strings.Contains(err.Error(), testSecret) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v", ClientConfig{Secret: testSecret}, ClientConfig{Secret: testSecret}, ClientConfig{Secret: testSecret}); strings.Contains(s, testSecret) {
		t.Error("the configuration prints its secret")
	}
}
