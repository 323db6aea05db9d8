package xks

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kms11/kms11/ops"
)

// TestAddressesOfProxies: by default proxies are on the public Internet; where they need not be as AWS wants them,
// in private networks too; and nowhere but in the networks that are set.
func TestAddressesOfProxies(t *testing.T) {
	const (
		public = iota
		private
		special
	)
	own := prefixes("127.0.0.1/32", "10.1.0.0/16", "2600::/16")
	for text, c := range map[string]struct {
		kind int
		own  bool
	}{
		"8.8.8.8": {public, false}, "2600:1f18::1": {public, true}, "::ffff:8.8.8.8": {public, false}, "172.32.0.1": {public, false},
		"10.0.0.1": {private, false}, "10.1.2.3": {private, true}, "172.31.255.255": {private, false}, "192.168.1.1": {private, false},
		"100.64.0.1": {private, false}, "fd12::1": {private, false}, "::ffff:10.1.2.3": {private, true},
		"127.0.0.1": {private, true}, "127.0.0.2": {private, false}, "::1": {private, false}, "::": {special, false}, "0.0.0.0": {special, false},
		"169.254.169.254": {special, false}, "::ffff:169.254.169.254": {special, false}, "fe80::1%eth0": {special, false},
		"fd00:ec2::254": {special, false}, "100.100.100.200": {special, false}, "168.63.129.16": {special, false}, "224.0.0.1": {special, false}, "255.255.255.255": {special, false}, "ff02::1": {special, false},
		"64:ff9b::a9fe:a9fe": {special, false}, "2002:a9fe:a9fe::": {special, false}, "192.0.2.1": {special, false},
	} {
		address := netip.MustParseAddr(text)
		for name, s := range map[string]struct {
			stores Stores
			want   bool
		}{
			"by default":            {Stores{}, c.kind == public},
			"with ports":            {Stores{Ports: true}, c.kind != special},
			"with a CA":             {Stores{RootCAs: x509.NewCertPool()}, c.kind != special},
			"with networks":         {Stores{Networks: own}, c.own},
			"with ports and a list": {Stores{Ports: true, Networks: own}, c.own},
		} {
			if got := s.stores.allows(address); got != s.want {
				t.Errorf("%s, %s: %v", text, name, got)
			}
		}
	}
}

// TestForbiddenAddressIsNotConnectedTo: a name that leads to a forbidden address gets no connection, and
// nothing that tells whether somebody listens there.
func TestForbiddenAddressIsNotConnectedTo(t *testing.T) {
	var connected atomic.Bool
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(net.Conn, http.ConnState) { connected.Store(true) }
	server.Start()
	defer server.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, url := range []string{server.URL, gone.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)} {
		p, err := (&Stores{Ports: true, Networks: prefixes("10.0.0.0/8")}).Open(ops.ProxyAddress{Endpoint: url, Path: "/example/kms/xks/v1", AccessKeyID: testAccessKeyID, Secret: testSecret, Region: "eu-west-1"})
		if err != nil {
			t.Fatal(err)
		}
		wantFault(t, p.Health(t.Context(), ops.ProxyCall{}), ops.ProxyForbidden)
		p.Close()
	}
	if connected.Load() {
		t.Error("a connection came about")
	}
}
