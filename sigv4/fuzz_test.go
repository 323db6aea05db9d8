package sigv4_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kms11/kms11/sigv4"
)

// FuzzParse checks that whatever Parse accepts keeps within its promises and is read the same
// way when written out again.
func FuzzParse(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=00")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e,SignedHeaders=:authority,Signature=0,X=y")
	f.Add("AWS4-HMAC-SHA256 Signature=0\tSignedHeaders=a  Credential=a////")
	f.Add("AWS4-")
	f.Add("Bearer x")
	f.Fuzz(func(t *testing.T, header string) {
		a, err := sigv4.Parse(header)
		if err != nil {
			var refusal *sigv4.Error
			if !errors.As(err, &refusal) || a != (sigv4.Authorization{}) {
				t.Fatalf("%+v, %v", a, err)
			}
			return
		}
		if a.AccessKeyID == "" || len(a.AccessKeyID) > 128 || a.SignedHeaders == "" || a.Signature == "" {
			t.Fatalf("accepted %+v", a)
		}
		again, err := sigv4.Parse("AWS4-HMAC-SHA256 Credential=" + strings.Join([]string{a.AccessKeyID, a.Date, a.Region, a.Service, a.Terminator}, "/") +
			", SignedHeaders=" + a.SignedHeaders + ", Signature=" + a.Signature)
		if err != nil || again != a {
			t.Fatalf("%+v, then %+v, %v", a, again, err)
		}
	})
}

// FuzzVerify sends arbitrary requests through net/http's parser. None is accepted but with the
// example key's signature, which a fuzzer cannot make: so none but the seed.
func FuzzVerify(f *testing.F) {
	seed := "POST / HTTP/1.1\r\nHost:example.amazonaws.com\r\nAuthorization:AWS4-HMAC-SHA256 " +
		"Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, " +
		"Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b\r\nX-Amz-Date:20150830T123600Z\r\n\r\n"
	f.Add(seed)
	f.Add(strings.Replace(seed, "POST / ", "GET http://h/%zz/../a?b=%&=&&a+ ", 1))
	f.Add(strings.Replace(seed, "host;x", "content-length;host;transfer-encoding;x", 1))
	f.Add(strings.Replace(seed, "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 1))
	v := verifier("service", sigv4.Credential{}, noon)
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		if err != nil {
			return
		}
		before := len(r.Header)
		_, err = v.Verify(r, body)
		var refusal *sigv4.Error
		if err != nil && !errors.As(err, &refusal) {
			t.Fatalf("%v is no refusal", err)
		}
		if err == nil && (r.Method != "POST" || r.Host != "example.amazonaws.com" || len(body) != 0) {
			t.Fatalf("accepted %q", raw)
		}
		if len(r.Header) != before {
			t.Fatal("the request was changed")
		}
	})
}
