package sigv4_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kms11/kms11/sigv4"
)

// TestSignAsTheSDKDoes compares whole Authorization headers with the Go SDK's signer.
func TestSignAsTheSDKDoes(t *testing.T) {
	for _, url := range []string{"http://127.0.0.1:8080/", "http://h/a%20b%2Fc:d@e,%E1%88%B4?b=2&a=%C3%BC+d", "http://[::1]/p"} {
		for _, token := range []string{"", "FwoGZXIvYXdzEXAMPLE//token=="} {
			request := func() *http.Request {
				r, err := http.NewRequest(http.MethodPost, url, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/x-amz-json-1.1")
				r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
				return r
			}
			theirs, ours := request(), request()
			signWithSDK(t, theirs, []byte(benchBody), "kms", sigv4.Credential{SessionToken: token}, noon)
			cred := sigv4.Credential{Secret: exampleSecret, SessionToken: token}
			if err := sigv4.Sign(ours, []byte(benchBody), exampleID, cred, "us-east-1", "kms", noon); err != nil {
				t.Fatal(err)
			}
			if got, want := ours.Header.Get("Authorization"), theirs.Header.Get("Authorization"); got != want {
				t.Errorf("%s:\n got %s\nwant %s", url, got, want)
			}
		}
	}
}

// TestSignAgain signs a request twice, as a client that tries again does.
func TestSignAgain(t *testing.T) {
	r := signedRequest(t, noon, sigv4.Credential{SessionToken: "first"}, "us-east-1", "kms")
	r.RequestURI = ""
	if err := sigv4.Sign(r, nil, exampleID, sigv4.Credential{Secret: exampleSecret}, "us-east-1", "kms", noon); err != nil {
		t.Fatal(err)
	}
	if _, err := verifier("kms", sigv4.Credential{}, noon).Verify(r, nil); err != nil {
		t.Fatal(err)
	}
}

func TestSignRefuses(t *testing.T) {
	for _, test := range []struct{ url, id, secret, region, service string }{
		{"http://h/", "", "s", "r", "kms"},
		{"http://h/", "a/b", "s", "r", "kms"},
		{"http://h/", "a", "", "r", "kms"},
		{"http://h/", "a", "s", "", "kms"},
		{"http://h/", "a", "s", "r,", "kms"},
		{"http://h/", "a", "s", "r", "k ms"},
		{"/", "a", "s", "r", "kms"},
	} {
		r, err := http.NewRequest(http.MethodPost, test.url, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		if err := sigv4.Sign(r, nil, test.id, sigv4.Credential{Secret: test.secret}, test.region, test.service, noon); err == nil {
			t.Errorf("signed with %+v", test)
		}
		if r.Header.Get("Authorization") != "" {
			t.Errorf("left a header with %+v", test)
		}
	}
}
