package integration_test

import (
	"fmt"
	"regexp"
	"testing"
)

// TestXKSLog: each request has one line, in the order of the requests, refused ones between the others, and
// an orderly stop loses none.
func TestXKSLog(t *testing.T) {
	p := startXKS(t)
	p.admin(t, "key", "create", "--prefix", xksPrefix, "--id", "k", "--object", "pkcs11:token=kms11;object=k", "--generate")
	var want []string
	for i := range 30 {
		id := fmt.Sprintf("request-%d", i)
		body := encryptBody([]byte("text"), nil)
		body["requestMetadata"] = with(xksMetadata("Encrypt"), "kmsRequestId", id)
		if i%10 == 9 {
			p.call(t, "/keys/none/encrypt", body).refused(t, "a key that does not exist", "KeyNotFoundException")
			want = append(want, id+" none 404")
			continue
		}
		p.ok(t, "/keys/k/encrypt", body)
		want = append(want, id+" k 200")
	}
	stranger := p.newRequest(t, "/health", []byte(`{}`))
	stranger.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=ANOTHERACCESSKEYID222/20260101/eu-west-1/kms-xks-proxy/aws4_request, SignedHeaders=host, Signature=00")
	p.send(t, stranger)
	p.Stop(t)
	if line := regexp.MustCompile(`(?m)^.*claimedAccessKeyId=ANOTHERACCESSKEYID222 .*status=401 .*$`); !line.MatchString(p.Log(t)) {
		t.Error("the log does not tell which access key was refused")
	}
	var got []string
	for _, line := range regexp.MustCompile(`(?m)^time=\S+ level=INFO msg=xks kmsRequestId=(\S+) .*\bkey=(\S+) .*\bstatus=(\d+) .*\bmicros=\d+$`).FindAllStringSubmatch(p.Log(t), -1) {
		got = append(got, fmt.Sprint(line[1], " ", line[2], " ", line[3]))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("lines of %v, not of %v", got, want)
	}
}
