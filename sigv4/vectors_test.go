package sigv4_test

import (
	"strings"
	"testing"

	"github.com/kms11/kms11/sigv4"
)

// vectors are signatures of AWS's SigV4 test suite (awslabs/aws-c-auth, folder
// tests/aws-signing-test-suite/v4, files header-signed-request.txt), those with path
// normalisation and a request line that HTTP/1.1 allows, without get-header-value-multiline: its
// folded lines count as three values there and as one in RFC 9112, section 5.2. Each is signed at 20150830T123600Z for
// us-east-1 and the service "service".
var vectors = []struct {
	name, line, headers, body, token string
	signed, signature                string
}{
	{name: "post-vanilla", line: "POST /",
		signed: "host;x-amz-date", signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{name: "post-header-key-sort", line: "POST /", headers: "My-Header1:value1\r\n",
		signed: "host;my-header1;x-amz-date", signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
	{name: "get-header-key-duplicate", line: "GET /", headers: "My-Header1:value2\r\nMy-Header1:value2\r\nMy-Header1:value1\r\n",
		signed: "host;my-header1;x-amz-date", signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
	{name: "get-header-value-order", line: "GET /", headers: "My-Header1:value4\r\nMy-Header1:value1\r\nMy-Header1:value3\r\nMy-Header1:value2\r\n",
		signed: "host;my-header1;x-amz-date", signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
	{name: "get-header-value-trim", line: "GET /", headers: "My-Header1: value1\r\nMy-Header2: \"a   b   c\"\r\n",
		signed: "host;my-header1;my-header2;x-amz-date", signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
	{name: "get-utf8", line: "GET /\u1234",
		signed: "host;x-amz-date", signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
	{name: "get-unreserved", line: "GET /-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
		signed: "host;x-amz-date", signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
	{name: "get-relative-relative-normalized", line: "GET /example1/example2/../..",
		signed: "host;x-amz-date", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{name: "get-slashes-normalized", line: "GET //example//",
		signed: "host;x-amz-date", signature: "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
	{name: "get-slash-pointless-dot-normalized", line: "GET /./example",
		signed: "host;x-amz-date", signature: "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
	{name: "get-vanilla-empty-query-key", line: "GET /?Param1=value1",
		signed: "host;x-amz-date", signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
	{name: "get-vanilla-query-order-key-case", line: "GET /?Param2=value2&Param1=value1",
		signed: "host;x-amz-date", signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
	{name: "get-vanilla-query-order-encoded", line: "GET /?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
		signed: "host;x-amz-date", signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
	{name: "get-vanilla-utf8-query", line: "GET /?\u1234=bar",
		signed: "host;x-amz-date", signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
	{name: "get-vanilla-query-unreserved", line: "GET /?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
		signed: "host;x-amz-date", signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
	{name: "get-vanilla-with-session-token", line: "GET /", token: "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
		signed: "host;x-amz-date;x-amz-security-token", signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
	{name: "post-sts-header-before", line: "POST /", token: "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
		signed: "host;x-amz-date;x-amz-security-token", signature: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
	{name: "post-x-www-form-urlencoded", line: "POST /", body: "Param1=value1",
		headers: "Content-Type:application/x-www-form-urlencoded\r\nContent-Length:13\r\nx-amz-content-sha256:9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e\r\n",
		signed:  "content-length;content-type;host;x-amz-content-sha256;x-amz-date", signature: "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"},
	{name: "post-x-www-form-urlencoded-parameters", line: "POST /", body: "Param1=value1",
		headers: "Content-Type:application/x-www-form-urlencoded; charset=utf-8\r\nContent-Length:13\r\nx-amz-content-sha256:9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e\r\n",
		signed:  "content-length;content-type;host;x-amz-content-sha256;x-amz-date", signature: "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422"},
}

func TestVerifyAWSVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			raw := v.line + " HTTP/1.1\r\nHost:example.amazonaws.com\r\n" + v.headers
			if v.token != "" {
				raw += "X-Amz-Security-Token:" + v.token + "\r\n"
			}
			raw += "Authorization:AWS4-HMAC-SHA256 Credential=" + exampleID + "/20150830/us-east-1/service/aws4_request, SignedHeaders=" +
				v.signed + ", Signature=" + v.signature + "\r\nX-Amz-Date:20150830T123600Z\r\n\r\n" + v.body
			r := overTheWire(t, raw)
			cred := sigv4.Credential{SessionToken: v.token, Value: "someone"}
			got, err := verifier("service", cred, noon).Verify(r, []byte(v.body))
			if err != nil {
				t.Fatal(err)
			}
			if got.AccessKeyID != exampleID || got.Region != "us-east-1" || got.Credential.Value != "someone" {
				t.Errorf("got %+v", got)
			}

			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), v.signature[:8], "00000000", 1))
			_, err = verifier("service", cred, noon).Verify(r, []byte(v.body))
			wantRefusal(t, err, sigv4.InvalidSignature, "The request signature we calculated")
		})
	}
}
