package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// TestBodiesOfNobodyAreNotAskedFor: a client that waits with its body until it is asked for is refused at once
// if it names no access key that exists, by the KMS endpoint and by the proxy; a short body is read.
func TestBodiesOfNobodyAreNotAskedFor(t *testing.T) {
	p := startXKS(t)
	const kmsHeaders = "POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: TrentService.ListKeys\r\n"
	const xksHeaders = "POST " + xksPrefix + "/kms/xks/v1/health HTTP/1.1\r\nContent-Type: application/json\r\n"
	for _, c := range []struct {
		name, address, headers, want string
		length                       int
	}{
		{"kms", p.Listen, kmsHeaders, "400 Bad Request", 60_000},
		{"kms, a short one", p.Listen, kmsHeaders, "100 Continue", 1000},
		{"xks", strings.TrimPrefix(p.endpoint, "http://"), xksHeaders, "401 Unauthorized", 60_000},
		{"xks, a short one", strings.TrimPrefix(p.endpoint, "http://"), xksHeaders, "100 Continue", 1000},
	} {
		conn, err := net.Dial("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "%sHost: kms11.test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", c.headers, c.length); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(strings.TrimPrefix(line, "HTTP/1.1 ")); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
