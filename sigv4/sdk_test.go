package sigv4_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/kms11/kms11/sigv4"
)

// sdkHeaders are the headers that clients sign beside Host, Content-Length and X-Amz-Date.
var sdkHeaders = map[string]map[string]string{
	"aws-cli": {
		"Content-Type": "application/x-amz-json-1.1",
		"X-Amz-Target": "TrentService.Encrypt",
	},
	"aws-sdk-go-v2": {
		"Amz-Sdk-Invocation-Id": "0b1d7a6c-93b6-4d6b-8d54-0f2c2d7b5a11",
		"Amz-Sdk-Request":       "attempt=1; max=3",
		"Content-Type":          "application/x-amz-json-1.1",
		"X-Amz-Target":          "TrentService.Encrypt",
	},
	"aws-sdk-go-v1": {
		"Content-Type": "application/x-amz-json-1.1",
		"X-Amz-Target": "TrentService.Encrypt",
	},
	"aws-sdk-js-v3": {
		"Amz-Sdk-Invocation-Id": "7cf1de5e-64f2-4c5b-a7f0-8f6ad0c3ad3b",
		"Amz-Sdk-Request":       "attempt=1; max=3",
		"Content-Type":          "application/x-amz-json-1.1",
		"X-Amz-Content-Sha256":  hashOf([]byte(benchBody)),
		"X-Amz-Target":          "TrentService.Encrypt",
		"X-Amz-User-Agent":      "aws-sdk-js/3.1162.0",
	},
	"odd spacing": {
		"Content-Type": "application/x-amz-json-1.1;   charset=utf-8",
		"X-Amz-Target": "TrentService.Encrypt",
		"X-Tidy":       "  a  b   c  ",
	},
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// signWithSDK signs r with the Go SDK's signer.
func signWithSDK(t testing.TB, r *http.Request, body []byte, service string, cred sigv4.Credential, at time.Time) {
	t.Helper()
	err := v4.NewSigner().SignHTTP(context.Background(),
		aws.Credentials{AccessKeyID: exampleID, SecretAccessKey: exampleSecret, SessionToken: cred.SessionToken},
		r, hashOf(body), service, "us-east-1", at)
	if err != nil {
		t.Fatal(err)
	}
}

// sdkRequest is a request for url, signed by the Go SDK, as a server receives it.
func sdkRequest(t testing.TB, url, client string, body []byte, cred sigv4.Credential) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range sdkHeaders[client] {
		r.Header.Set(name, value)
	}
	if client == "aws-cli" {
		r.ContentLength = -1 // its signer leaves Content-Length out
	}
	signWithSDK(t, r, body, "kms", cred, noon)
	return received(t, r, body)
}

func TestVerifySDKSignatures(t *testing.T) {
	urls := []string{
		"http://127.0.0.1:8080/",
		"http://[::1]:8080/",
		"http://kms.us-east-1.amazonaws.com/",
		"http://kms.us-east-1.amazonaws.com:80/",
		"http://proxy.example.com/prefix/kms/xks/v1/keys/a%20b%2Fc:d@e,%E1%88%B4/encrypt",
		"http://proxy.example.com/p/?b=2&a=1&a=0&empty=&%C3%BC=a/b-c+d%20e",
	}
	for client := range sdkHeaders {
		for _, url := range urls {
			for _, token := range []string{"", "FwoGZXIvYXdzEXAMPLE//token=="} {
				cred := sigv4.Credential{SessionToken: token}
				r := sdkRequest(t, url, client, []byte(benchBody), cred)
				if _, err := verifier("kms", cred, noon).Verify(r, []byte(benchBody)); err != nil {
					t.Errorf("%s, %s, token %q: %v", client, url, token, err)
				}
			}
		}
	}
}

// fields splits an Authorization header as AWS does.
func fields(header string) []string {
	return strings.FieldsFunc(header, func(c rune) bool { return c == ',' || c == ' ' })
}

// TestVerifyMutations changes each byte of what is signed, one at a time.
func TestVerifyMutations(t *testing.T) {
	cred := sigv4.Credential{SessionToken: "FwoGZXIvYXdzEXAMPLE//token=="}
	v, body := verifier("kms", cred, noon), []byte(benchBody)
	r := sdkRequest(t, "http://127.0.0.1:8080/p?a=1", "aws-sdk-js-v3", body, cred)
	if _, err := v.Verify(r, body); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, r *http.Request, body []byte) {
		t.Helper()
		if _, err := v.Verify(r, body); err == nil {
			t.Errorf("accepted a request with a changed %s", what)
		}
	}
	eachByte := func(text string, try func(changed string)) {
		for i := range len(text) {
			b := []byte(text)
			b[i] ^= 1
			try(string(b))
			try(text[:i] + text[i+1:])
		}
	}
	eachByte(benchBody, func(changed string) { refused("body", r, []byte(changed)) })
	for name := range r.Header {
		switch name {
		case "User-Agent", "Accept-Encoding": // not signed
			continue
		}
		eachByte(r.Header.Get(name), func(changed string) {
			m := r.Clone(t.Context())
			m.Header.Set(name, changed)
			if name == "Authorization" && slices.Equal(fields(changed), fields(r.Header.Get(name))) {
				return // a separator less, and still one there
			}
			refused(name, m, body)
		})
		m := r.Clone(t.Context())
		m.Header.Add(name, "more")
		refused("second "+name, m, body)
		m.Header.Del(name)
		if name != "Content-Length" { // net/http has its own copy
			refused("absent "+name, m, body)
		}
	}
	for what, change := range map[string]func(*http.Request){
		"host":           func(m *http.Request) { m.Host = "127.0.0.1:8081" },
		"port":           func(m *http.Request) { m.Host = "127.0.0.1" },
		"method":         func(m *http.Request) { m.Method = "PUT" },
		"path":           func(m *http.Request) { m.RequestURI = "/q?a=1" },
		"path's case":    func(m *http.Request) { m.RequestURI = "/P?a=1" },
		"encoded path":   func(m *http.Request) { m.RequestURI = "/%70?a=1" },
		"query":          func(m *http.Request) { m.RequestURI = "/p?a=2" },
		"query's length": func(m *http.Request) { m.RequestURI = "/p?a=1&b" },
	} {
		m := r.Clone(t.Context())
		change(m)
		refused(what, m, body)
	}
}
