package xks

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/testkit"
)

// storeFor opens the proxy that a test plays, with a budget that no machine exceeds.
func storeFor(t *testing.T, server *httptest.Server, s Stores) *storeProxy {
	t.Helper()
	if s.Budget == 0 {
		s.Budget = time.Minute
	}
	if s.Networks == nil {
		s.Networks = prefixes("127.0.0.0/8", "::1/128")
	}
	if server.Certificate() != nil && s.RootCAs == nil {
		s.RootCAs = x509.NewCertPool()
		s.RootCAs.AddCert(server.Certificate())
	}
	p, err := s.Open(ops.ProxyAddress{Endpoint: server.URL, Path: "/example/kms/xks/v1", AccessKeyID: testAccessKeyID, Secret: testSecret, Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p.(*storeProxy)
}

func wantFault(t *testing.T, err error, want ops.ProxyFault) {
	t.Helper()
	var got *ops.ProxyError
	if !errors.As(err, &got) || got.Fault != want {
		t.Errorf("got %v, want the fault %s", err, want)
	}
}

// TestStoreRequests holds what a proxy is told, over TLS.
func TestStoreRequests(t *testing.T) {
	var path string
	var got map[string]any
	answers := map[string]string{
		"/health":          `{"xksProxyFleetSize":1,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[{"id":"1","model":"m","healthStatus":"UNAVAILABLE"},{"id":"2","model":"m","healthStatus":"DEGRADED"}]}`,
		"/keys/k/metadata": `{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}`,
		"/keys/k/encrypt": `{"ciphertext":"` + published.ciphertext + `","initializationVector":"` + published.iv + `","authenticationTag":"` + published.tag +
			`","ciphertextMetadata":"` + published.metadata + `","ciphertextDataIntegrityValue":"` + published.integrity + `"}`,
		"/keys/k/decrypt": `{"plaintext":"SGVsbG8gV29ybGQh"}`,
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, got = r.URL.Path[len("/example/kms/xks/v1"):], nil
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, answers[path])
	}))
	defer server.Close()
	p := storeFor(t, server, Stores{})
	call := ops.ProxyCall{Operation: "Encrypt", RequestID: "r-1", PrincipalARN: "arn:aws:iam::1:user/u", KeyARN: "arn:aws:kms:eu-west-1:1:key/k"}
	metadata := func(want map[string]any) {
		t.Helper()
		m, _ := got["requestMetadata"].(map[string]any)
		if len(m) != len(want) {
			t.Errorf("%s: the metadata are %v", path, m)
		}
		for name, value := range want {
			if m[name] != value {
				t.Errorf("%s: %s is %v", path, name, m[name])
			}
		}
	}
	whole := map[string]any{"kmsOperation": "Encrypt", "kmsRequestId": "r-1", "awsPrincipalArn": call.PrincipalARN, "kmsKeyArn": call.KeyARN}

	if err := p.Health(t.Context(), call); err != nil || path != "/health" {
		t.Errorf("health: %v", err)
	}
	metadata(map[string]any{"kmsOperation": "Encrypt", "kmsRequestId": "r-1"})
	if key, err := p.Describe(t.Context(), call, "k"); err != nil || key.Spec != "AES_256" || key.Status != "ENABLED" || len(key.Usage) != 2 {
		t.Errorf("metadata: %+v, %v", key, err)
	}
	metadata(whole)
	sealed, err := p.Encrypt(t.Context(), call, "k", unbase64(t, published.aad), []byte("Hello World!"))
	if err != nil || len(sealed.IV) != 12 || len(sealed.Tag) != 16 || string(sealed.Metadata) != "key_version=1" {
		t.Errorf("encrypt: %+v, %v", sealed, err)
	}
	metadata(whole)
	if got["additionalAuthenticatedData"] != published.aad || got["ciphertextDataIntegrityValueAlgorithm"] != "SHA_256" || got["encryptionAlgorithm"] != "AES_GCM" {
		t.Errorf("encrypt sends %v", got)
	}
	if text, err := p.Decrypt(t.Context(), call, "k", unbase64(t, published.aad), sealed); err != nil || string(text) != "Hello World!" {
		t.Errorf("decrypt: %q, %v", text, err)
	}
	metadata(whole)
	if got["ciphertextMetadata"] != published.metadata || got["initializationVector"] != published.iv || got["authenticationTag"] != published.tag || got["ciphertext"] != published.ciphertext {
		t.Errorf("decrypt sends %v", got)
	}

	answers["/health"] = `{"xksProxyFleetSize":1,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[{"id":"1","model":"m","healthStatus":"UNAVAILABLE"}]}`
	wantFault(t, p.Health(t.Context(), call), ops.ProxyUnhealthy)
	answers["/keys/k/encrypt"] = `{"ciphertext":"` + published.ciphertext + `","initializationVector":"` + published.iv + `","authenticationTag":"` + published.tag + `"}`
	_, err = p.Encrypt(t.Context(), call, "k", nil, []byte("Hello World!"))
	wantFault(t, err, ops.ProxyMalformed) // without its integrity value
	_, err = p.Describe(t.Context(), call, "no/id")
	wantFault(t, err, ops.ProxyMalformed)
}

func TestStoreFaults(t *testing.T) {
	for name, status := range statuses {
		p := storeFor(t, answering(t, status, `{"errorName":"`+name+`"}`), Stores{})
		wantFault(t, p.Health(t.Context(), ops.ProxyCall{}), ops.ProxyFault(name))
	}
	wantFault(t, storeFor(t, answering(t, 503, `<html>no backend</html>`), Stores{}).Health(t.Context(), ops.ProxyCall{}), ops.ProxyMalformed)

	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	defer stranger.Close()
	wantFault(t, storeFor(t, stranger, Stores{RootCAs: x509.NewCertPool()}).Health(t.Context(), ops.ProxyCall{}), ops.ProxyTLS)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	wantFault(t, storeFor(t, gone, Stores{}).Health(t.Context(), ops.ProxyCall{}), ops.ProxyUnreachable)
	ended := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-ended }))
	defer slow.Close()
	defer close(ended)
	wantFault(t, storeFor(t, slow, Stores{Budget: 20 * time.Millisecond}).Health(t.Context(), ops.ProxyCall{}), ops.ProxyTimeout)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := storeFor(t, slow, Stores{}).Health(ctx, ops.ProxyCall{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled by the caller: %v", err)
	}
}

// TestStoreSecondTry: a request whose connection breaks goes out again, once.
func TestStoreSecondTry(t *testing.T) {
	var asked atomic.Int32
	var broken atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if broken.Add(-1) >= 0 {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		_, _ = io.WriteString(w, `{"keySpec":"AES_256","keyUsage":["ENCRYPT"],"keyStatus":"ENABLED"}`)
	}))
	defer server.Close()
	p := storeFor(t, server, Stores{})
	broken.Store(1)
	if _, err := p.Describe(t.Context(), ops.ProxyCall{}, "k"); err != nil {
		t.Errorf("one broken connection: %v", err)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
	broken.Store(1000)
	asked.Store(0)
	_, err := p.Describe(t.Context(), ops.ProxyCall{}, "k")
	wantFault(t, err, ops.ProxyUnreachable)
	if n := asked.Load(); n > 4 {
		t.Errorf("%d requests for one", n)
	}
}

func TestBreaker(t *testing.T) {
	clock := testkit.NewClock(time.Unix(0, 0))
	b := newBreaker(10, slog.New(slog.DiscardHandler))
	b.now = clock.Now
	try := func(outcome error) (let bool) {
		t.Helper()
		leave, err := b.enter(t.Context())
		if err != nil {
			if !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrUnreachable) {
				t.Errorf("not let out for another reason: %v", err)
			}
			return false
		}
		leave(outcome)
		return true
	}
	answer := error(&Error{HTTPStatus: 503, Name: DependencyTimeoutException})
	for range 100 { // answers, however bad, and cancelled requests do not count
		if !try(answer) || !try(context.Canceled) || !try(ErrMalformed) || !try(nil) {
			t.Fatal("a proxy that answers is not asked")
		}
	}
	for i := range breakAfter - 1 {
		if !try(ErrTimeout) {
			t.Fatalf("broken after %d failures", i)
		}
	}
	if !try(answer) {
		t.Fatal("broken too early")
	}
	for range breakAfter { // in a row
		if !try(ErrTimeout) {
			t.Fatal("failures from before an answer count")
		}
	}
	if try(nil) {
		t.Fatal("a proxy that fails is asked")
	}
	rest := firstRest
	for range 6 {
		clock.Advance(rest - 1)
		if try(nil) {
			t.Fatal("it is asked too early")
		}
		clock.Advance(1)
		// One request tries it and the others do not wait for that.
		leave, err := b.enter(t.Context())
		if err != nil {
			t.Fatalf("nobody tries it: %v", err)
		}
		if try(nil) {
			t.Fatal("two try it at once")
		}
		leave(ErrUnreachable)
		if rest *= 2; rest > lastRest {
			rest = lastRest
		}
	}
	clock.Advance(rest)
	leave, err := b.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leave(context.Canceled) // says nothing: the next one tries
	if leave, err = b.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	leave(nil)
	for range 3 {
		if !try(nil) {
			t.Fatal("a proxy that is back is not asked")
		}
	}
}

// TestBreakerInFlight: more requests than a proxy takes wait for as long as their budget lasts.
func TestBreakerInFlight(t *testing.T) {
	b := newBreaker(2, slog.New(slog.DiscardHandler))
	first, err := b.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := b.enter(ctx); !errors.Is(err, ErrTimeout) {
		t.Errorf("a third: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := b.enter(stopped); !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
		t.Errorf("a third that gave up: %v", err)
	}
	waiting := make(chan error)
	go func() {
		leave, err := b.enter(t.Context())
		if err == nil {
			leave(nil)
		}
		waiting <- err
	}()
	first(nil)
	if err := <-waiting; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
	second(nil)
}

// TestStoreFailsFast shows the breaker at work: a proxy that does not answer is spared.
func TestStoreFailsFast(t *testing.T) {
	var asked atomic.Int32
	ended := make(chan struct{})
	var well atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		if !well.Load() {
			select {
			case <-ended:
			case <-r.Context().Done():
			}
			return
		}
		_, _ = io.WriteString(w, `{"keySpec":"AES_256","keyUsage":["ENCRYPT"],"keyStatus":"ENABLED"}`)
	}))
	defer server.Close()
	defer close(ended)
	p := storeFor(t, server, Stores{Budget: 10 * time.Millisecond})
	clock := testkit.NewClock(time.Unix(0, 0))
	p.breaker.now = clock.Now
	for range 50 {
		_, err := p.Describe(t.Context(), ops.ProxyCall{}, "k")
		wantFault(t, err, ops.ProxyTimeout)
	}
	if n := asked.Load(); n > breakAfter {
		t.Errorf("%d requests to a proxy that does not answer", n)
	}
	well.Store(true)
	p.budget, p.client.config.Timeout = time.Minute, time.Minute
	clock.Advance(firstRest)
	if _, err := p.Describe(t.Context(), ops.ProxyCall{}, "k"); err != nil {
		t.Errorf("the proxy is back: %v", err)
	}
}
