package sigv4_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/sigv4"
)

// signedRequest is a request signed by Sign with the example key, as a server receives it.
func signedRequest(t testing.TB, at time.Time, cred sigv4.Credential, region, service string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:8080/", strings.NewReader(benchBody))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
	cred.Secret = exampleSecret
	if err := sigv4.Sign(r, []byte(benchBody), exampleID, cred, region, service, at); err != nil {
		t.Fatal(err)
	}
	return received(t, r, []byte(benchBody))
}

func TestVerifyRefusals(t *testing.T) {
	replace := func(old, new string) func(http.Header) {
		return func(h http.Header) {
			auth := h.Get("Authorization")
			if !strings.Contains(auth, old) {
				t.Fatalf("no %q in the header", old)
			}
			h.Set("Authorization", strings.Replace(auth, old, new, 1))
		}
	}
	authorization := func(value string) func(http.Header) {
		return func(h http.Header) { h.Set("Authorization", value) }
	}
	const mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	for _, test := range []struct {
		name   string
		change func(http.Header)
		kind   sigv4.Kind
		text   string
	}{
		{"no header", func(h http.Header) { h.Del("Authorization") }, sigv4.MissingAuthenticationToken, "Missing Authentication Token"},
		{"empty header", authorization(""), sigv4.MissingAuthenticationToken, "Missing Authentication Token"},
		{"bearer token", authorization("Bearer abc"), sigv4.MissingAuthenticationToken, "Missing Authentication Token"},
		{"two headers", func(h http.Header) { h.Add("Authorization", h.Get("Authorization")) }, sigv4.IncompleteSignature, "The request has more than one"},
		{"no parameters", authorization("AWS4-HMAC-SHA256 "), sigv4.IncompleteSignature,
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. (Hashed with SHA-256 and encoded with Base64) Authorization="},
		{"no signature and no date", func(h http.Header) { replace("Signature=", "Other=")(h); h.Del("X-Amz-Date") }, sigv4.IncompleteSignature,
			"Authorization header requires 'Signature' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed"},
		{"no equal sign", replace("Signature=", "Signature"), sigv4.IncompleteSignature, "Invalid key=value pair (missing equal-sign) in Authorization header (hashed"},
		{"repeated parameter", replace("Signature=", "Signature=0, Signature="), sigv4.IncompleteSignature, "Authorization header has more than one 'Signature'"},
		{"too long", func(h http.Header) { h.Set("Authorization", h.Get("Authorization")+strings.Repeat(" ", 4096)) }, sigv4.IncompleteSignature, "Authorization header is too long."},
		{"algorithm", replace("SHA256", "SHA512"), sigv4.IncompleteSignature, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512' (only AWS4-HMAC-SHA256 for now). "},
		{"four elements", replace("/us-east-1", ""), sigv4.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements"},
		{"six elements", replace("/us-east-1", "/us-east-1/x"), sigv4.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements"},
		{"no key ID", replace(exampleID, ""), sigv4.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements"},
		{"long key ID", replace(exampleID, strings.Repeat("A", 129)), sigv4.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements"},
		{"upper-case name", replace("host", "Host"), sigv4.IncompleteSignature, "'SignedHeaders' must be"},
		{"repeated name", replace("host", "host;host"), sigv4.IncompleteSignature, "'SignedHeaders' must be"},
		{"unsorted names", replace("content-type;host", "host;content-type"), sigv4.IncompleteSignature, "'SignedHeaders' must be"},
		{"host not signed", replace("host;", ""), sigv4.InvalidSignature, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"target not signed", replace(";x-amz-target", ""), sigv4.InvalidSignature, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."},
		{"source not signed", func(h http.Header) { h.Set("X-Amz-Source-Arn", "arn:aws:s3:::b") }, sigv4.InvalidSignature, "'X-Amz-Source-Arn' must be a 'SignedHeader' in the AWS Authorization."},
		{"source account not signed", func(h http.Header) { h.Set("X-Amz-Source-Account", "111122223333") }, sigv4.InvalidSignature, "'X-Amz-Source-Account' must be a 'SignedHeader' in the AWS Authorization."},
		{"date with fraction", func(h http.Header) { h.Set("X-Amz-Date", "20150830T123600.5Z") }, sigv4.IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '20150830T123600.5Z'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"two dates", func(h http.Header) { h.Add("X-Amz-Date", "20150830T123600Z") }, sigv4.IncompleteSignature, "Date must be in ISO-8601 'basic format'."},
		{"region", replace("us-east-1", "us-east-2"), sigv4.InvalidSignature, "Credential should be scoped to a valid region, not 'us-east-2'. "},
		{"service", replace("/kms/", "/s3/"), sigv4.InvalidSignature, "Credential should be scoped to correct service: 'kms'. "},
		{"whole scope", replace("20150830/us-east-1/kms/aws4_request", "20150829/x/s3/aws5_request"), sigv4.InvalidSignature,
			"Credential should be scoped to a valid region, not 'x'. Credential should be scoped to correct service: 'kms'. Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. " +
				"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' != '20150830', from '20150830T123600Z'. "},
		{"unknown key", replace(exampleID, "AKIDOTHER"), sigv4.UnrecognizedClient, "The security token included in the request is invalid."},
		{"token for a long-term key", func(h http.Header) { h.Set("X-Amz-Security-Token", "x") }, sigv4.UnrecognizedClient, "The security token included in the request is invalid."},
		{"empty token", func(h http.Header) { h.Set("X-Amz-Security-Token", "") }, sigv4.UnrecognizedClient, "The security token included in the request is invalid."},
		{"upper-case signature", func(h http.Header) {
			before, sig, _ := strings.Cut(h.Get("Authorization"), "Signature=")
			h.Set("Authorization", before+"Signature="+strings.ToUpper(sig))
		}, sigv4.InvalidSignature, mismatch},
		{"longer signature", func(h http.Header) { h.Set("Authorization", h.Get("Authorization")+"00") }, sigv4.InvalidSignature, mismatch},
		{"shorter signature", replace("Signature="+"", "Signature=,X="), sigv4.IncompleteSignature, "Authorization header requires 'Signature' parameter. (Hashed"},
		{"unsigned payload", func(h http.Header) { h.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, sigv4.InvalidSignature, mismatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := signedRequest(t, noon, sigv4.Credential{}, "us-east-1", "kms")
			v := verifier("kms", sigv4.Credential{}, noon)
			if _, err := v.Verify(r, []byte(benchBody)); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			if err := v.Screen(r); err != nil {
				t.Fatalf("screened before the change: %v", err)
			}
			test.change(r.Header)
			_, err := v.Verify(r, []byte(benchBody))
			wantRefusal(t, err, test.kind, test.text)
			// What does not depend on the body is refused without it, in the same words.
			if screened := v.Screen(r); test.text == mismatch && screened != nil || test.text != mismatch && fmt.Sprint(screened) != fmt.Sprint(err) {
				t.Errorf("screened: %v", screened)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), exampleSecret) {
				t.Error("the error shows the secret")
			}
		})
	}
}

// TestVerifyContentHash signs a wrong X-Amz-Content-Sha256, which must not stand in for the body.
func TestVerifyContentHash(t *testing.T) {
	for _, value := range []string{"UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", hashOf(nil), ""} {
		r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(benchBody))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Content-Sha256", value)
		signWithSDK(t, r, []byte(benchBody), "kms", sigv4.Credential{}, noon)
		_, err = verifier("kms", sigv4.Credential{}, noon).Verify(received(t, r, []byte(benchBody)), []byte(benchBody))
		wantRefusal(t, err, sigv4.InvalidSignature, "The request signature we calculated")
	}
}

func TestVerifyTime(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := signedRequest(t, at, sigv4.Credential{}, "us-east-1", "kms")
	verify := func(now time.Time) error {
		_, err := verifier("kms", sigv4.Credential{}, now).Verify(r, []byte(benchBody))
		return err
	}
	for _, offset := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute, 5*time.Minute + 999*time.Millisecond} {
		if err := verify(at.Add(offset)); err != nil {
			t.Errorf("%v: %v", offset, err)
		}
	}
	wantRefusal(t, verify(at.Add(10*time.Minute)), sigv4.InvalidSignature,
		"Signature expired: 20260101T000000Z is now earlier than 20260101T000500Z (20260101T001000Z - 5 min.)")
	wantRefusal(t, verify(at.Add(-10*time.Minute)), sigv4.InvalidSignature,
		"Signature not yet current: 20260101T000000Z is still later than 20251231T235500Z (20251231T235000Z + 5 min.)")
	wantRefusal(t, verify(at.Add(5*time.Minute+time.Second)), sigv4.InvalidSignature, "Signature expired: ")
	wantRefusal(t, verify(at.Add(-5*time.Minute-time.Second)), sigv4.InvalidSignature, "Signature not yet current: ")
}

// TestVerifyDateHeader has a client that sends Date and no X-Amz-Date: "get-vanilla" of the first
// edition of AWS's test suite.
func TestVerifyDateHeader(t *testing.T) {
	r := overTheWire(t, "GET / HTTP/1.1\r\nHost:host.foo.com\r\nDate:Mon, 09 Sep 2011 23:36:00 GMT\r\n"+
		"Authorization:AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20110909/us-east-1/host/aws4_request, SignedHeaders=date;host, "+
		"Signature=b27ccfbfa7df52a200ff74193ca6e32d4b48b8856fab7ebf1c595d0670a7e470\r\n\r\n")
	at := time.Date(2011, 9, 9, 23, 36, 0, 0, time.UTC)
	if _, err := verifier("host", sigv4.Credential{}, at).Verify(r, nil); err != nil {
		t.Error(err)
	}
	_, err := verifier("host", sigv4.Credential{}, at.Add(time.Hour)).Verify(r, nil)
	wantRefusal(t, err, sigv4.InvalidSignature, "Signature expired: 20110909T233600Z is now earlier than ")
	r.Header.Set("Date", "yesterday")
	_, err = verifier("host", sigv4.Credential{}, at).Verify(r, nil)
	wantRefusal(t, err, sigv4.IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got 'yesterday'. ")
}

func TestVerifySessionToken(t *testing.T) {
	cred := sigv4.Credential{SessionToken: "FwoGZXIvYXdzEXAMPLE", Expires: noon.Add(time.Second)}
	r := signedRequest(t, noon, cred, "us-east-1", "kms")
	if _, err := verifier("kms", cred, noon).Verify(r, []byte(benchBody)); err != nil {
		t.Fatal(err)
	}
	_, err := verifier("kms", cred, noon.Add(time.Second)).Verify(r, []byte(benchBody))
	wantRefusal(t, err, sigv4.ExpiredToken, "The security token included in the request is expired")

	// A token signed as it should be, but not the credential's.
	r = signedRequest(t, noon, sigv4.Credential{SessionToken: "another"}, "us-east-1", "kms")
	_, err = verifier("kms", cred, noon).Verify(r, []byte(benchBody))
	wantRefusal(t, err, sigv4.UnrecognizedClient, "The security token included")
	r = signedRequest(t, noon, sigv4.Credential{}, "us-east-1", "kms")
	_, err = verifier("kms", cred, noon).Verify(r, []byte(benchBody))
	wantRefusal(t, err, sigv4.UnrecognizedClient, "The security token included")
}

// TestVerifyLookupTrouble keeps a server's own failure apart from a refusal.
func TestVerifyLookupTrouble(t *testing.T) {
	trouble := errors.New("store is down")
	v := sigv4.NewVerifier(sigv4.Config{
		Service:  "kms",
		Lookup:   func(context.Context, string) (sigv4.Credential, error) { return sigv4.Credential{}, trouble },
		RegionOK: func(string) bool { return true },
		Now:      func() time.Time { return noon },
	})
	_, err := v.Verify(signedRequest(t, noon, sigv4.Credential{}, "us-east-1", "kms"), []byte(benchBody))
	var refusal *sigv4.Error
	if !errors.Is(err, trouble) || errors.As(err, &refusal) {
		t.Fatalf("got %v", err)
	}
}

// TestVerifyChangedSecret changes a secret while requests are verified: from then on the old
// one fails and the new one works, whatever is cached.
func TestVerifyChangedSecret(t *testing.T) {
	var secret atomic.Value
	secret.Store("old-" + exampleSecret)
	v := sigv4.NewVerifier(sigv4.Config{
		Service: "kms",
		Lookup: func(context.Context, string) (sigv4.Credential, error) {
			return sigv4.Credential{Secret: secret.Load().(string)}, nil
		},
		RegionOK: func(string) bool { return true },
		Now:      func() time.Time { return noon },
	})
	signedWith := func(secret string) *http.Request {
		r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := sigv4.Sign(r, nil, exampleID, sigv4.Credential{Secret: secret}, "us-east-1", "kms", noon); err != nil {
			t.Fatal(err)
		}
		return r
	}
	stale, fresh := signedWith("old-"+exampleSecret), signedWith("new-"+exampleSecret)
	verifyAll := func(r *http.Request, wantOK bool) {
		t.Helper()
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				for range 50 {
					if _, err := v.Verify(r, nil); (err == nil) != wantOK {
						t.Errorf("got error %v, want success %v", err, wantOK)
						return
					}
				}
			})
		}
		wait.Wait()
	}
	verifyAll(stale, true)
	verifyAll(fresh, false)
	secret.Store("new-" + exampleSecret)
	verifyAll(stale, false)
	verifyAll(fresh, true)
	verifyAll(stale, false)
}

// TestVerifyManyKeys goes past the cache's bound.
func TestVerifyManyKeys(t *testing.T) {
	v := sigv4.NewVerifier(sigv4.Config{
		Service: "kms",
		Lookup: func(_ context.Context, id string) (sigv4.Credential, error) {
			return sigv4.Credential{Secret: "secret of " + id}, nil
		},
		RegionOK: func(string) bool { return true },
		Now:      func() time.Time { return noon },
	})
	for i := range 5000 {
		r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("AKID%04d", i)
		if err := sigv4.Sign(r, nil, id, sigv4.Credential{Secret: "secret of " + id}, "us-east-1", "kms", noon); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Verify(r, nil); err != nil || got.AccessKeyID != id {
			t.Fatalf("%s: %+v, %v", id, got, err)
		}
	}
}

func TestCredentialDoesNotPrint(t *testing.T) {
	cred := sigv4.Credential{Secret: exampleSecret, SessionToken: "FwoGZXIvYXdzEXAMPLE"}
	result := sigv4.Result{AccessKeyID: exampleID, Credential: cred}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", cred, cred, cred, cred), fmt.Sprintf("%v %+v %#v", result, result, &result)} {
		if strings.Contains(text, exampleSecret) || strings.Contains(text, "FwoG") {
			t.Errorf("printed %q", text)
		}
	}
}
