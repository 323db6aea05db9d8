package api

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"

	"github.com/kms11/kms11/ops"
)

// TestOriginOf: where a request came from is what the connection says, and for whom a service acts is
// what the headers say; a proxy's headers say nothing.
func TestOriginOf(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	r.RemoteAddr = "203.0.113.9:4711"
	r.Header.Set("User-Agent", "test/1")
	r.Header.Set("X-Forwarded-For", "198.51.100.7")
	r.Header.Set("X-Forwarded-Proto", "https")
	if got, want := originOf(r), (ops.Origin{SourceIP: "203.0.113.9", UserAgent: "test/1"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	r.RemoteAddr, r.TLS = "[2001:db8::1]:4711", &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	r.Header.Set("X-Amz-Source-Arn", "arn:aws:s3:::bucket")
	r.Header.Set("X-Amz-Source-Account", "111122223333")
	want := ops.Origin{
		SourceIP: "2001:db8::1", UserAgent: "test/1", Secure: true,
		TLS:       ops.TLS{Version: "TLSv1.3", CipherSuite: "TLS_AES_128_GCM_SHA256", Host: "example.com"},
		SourceARN: "arn:aws:s3:::bucket", SourceAccount: "111122223333",
	}
	if got := originOf(r); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
