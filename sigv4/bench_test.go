package sigv4_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kms11/kms11/sigv4"
)

// benchBody is an Encrypt request of about 150 bytes.
const benchBody = `{"KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab","Plaintext":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","EncryptionContext":{"purpose":"benchmark"}}`

func benchRequest(b *testing.B) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:8080/", strings.NewReader(benchBody))
	if err != nil {
		b.Fatal(err)
	}
	for name, value := range sdkHeaders["aws-sdk-go-v2"] {
		r.Header.Set(name, value)
	}
	signWithSDK(b, r, []byte(benchBody), "kms", sigv4.Credential{}, noon)
	return received(b, r, []byte(benchBody))
}

// BenchmarkVerify is the hot path of every request: a known key, a cached signing key.
func BenchmarkVerify(b *testing.B) {
	r, v, body := benchRequest(b), verifier("kms", sigv4.Credential{}, noon), []byte(benchBody)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyRefused is a request that an attacker without a secret can send.
func BenchmarkVerifyRefused(b *testing.B) {
	r, v, body := benchRequest(b), verifier("kms", sigv4.Credential{}, noon), []byte(benchBody[1:])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, body); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:8080/", strings.NewReader(benchBody))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
	body := []byte(benchBody)
	b.ReportAllocs()
	for b.Loop() {
		if err := sigv4.Sign(r, body, exampleID, sigv4.Credential{Secret: exampleSecret}, "us-east-1", "kms", noon); err != nil {
			b.Fatal(err)
		}
	}
}
