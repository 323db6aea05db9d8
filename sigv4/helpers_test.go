package sigv4_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/sigv4"
)

// The example access key of AWS's documentation and of its SigV4 test suite.
const (
	exampleID     = "AKIDEXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// noon is when the test suite signs.
var noon = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

// verifier knows the example key, with cred's other fields, and serves us-east-1.
func verifier(service string, cred sigv4.Credential, now time.Time) *sigv4.Verifier {
	cred.Secret = exampleSecret
	return sigv4.NewVerifier(sigv4.Config{
		Service: service,
		Lookup: func(_ context.Context, id string) (sigv4.Credential, error) {
			if id != exampleID {
				return sigv4.Credential{}, sigv4.ErrUnknownKey
			}
			return cred, nil
		},
		RegionOK: func(region string) bool { return region == "us-east-1" },
		Now:      func() time.Time { return now },
	})
}

// received is r as net/http's server hands it to a handler.
func received(t testing.TB, r *http.Request, body []byte) *http.Request {
	t.Helper()
	r = r.Clone(t.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	return overTheWire(t, wire.String())
}

// overTheWire sends raw to a real server and returns the request as its handler saw it.
func overTheWire(t testing.TB, raw string) *http.Request {
	t.Helper()
	seen := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		seen <- r.Clone(context.Background())
	}))
	defer server.Close()
	c, err := net.DialTimeout("tcp", server.Listener.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 512)
	n, err := c.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200") {
		t.Fatalf("the server answered %q to %q", answer[:n], raw)
	}
	return <-seen
}

// wantRefusal fails unless err is a refusal of this kind whose text starts with message.
func wantRefusal(t testing.TB, err error, kind sigv4.Kind, message string) {
	t.Helper()
	var refusal *sigv4.Error
	if !errors.As(err, &refusal) || !errors.Is(err, kind) {
		t.Fatalf("error %v, want %s", err, kind)
	}
	if !strings.HasPrefix(refusal.Message, message) {
		t.Fatalf("message\n %q, want\n %q", refusal.Message, message)
	}
}
