package xks

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// endpoint looks at what an AWS KMS takes for XksProxyUriEndpoint.
func (d *Doctor) endpoint() {
	u, err := url.Parse(d.Config.Endpoint)
	if err != nil {
		return // NewClient has seen to it
	}
	_, notIP := netip.ParseAddr(u.Hostname())
	d.check("endpoint: https", u.Scheme == "https", Warned, "AWS KMS speaks TLS only: it takes no other XksProxyUriEndpoint")
	d.check("endpoint: port 443", u.Port() == "" || u.Port() == "443", Warned, "AWS KMS uses port 443; a port in XksProxyUriEndpoint is refused (another kms11 may allow it)")
	d.check("endpoint: a name, not an address", notIP != nil && strings.Contains(u.Hostname(), "."), Warned, "the specification wants a fully qualified domain name")
}

// suites are the ciphers of which a proxy has to have one.
var suites = []struct {
	name    string
	version uint16
	id      uint16
}{
	{"TLS_AES_256_GCM_SHA384 or TLS_CHACHA20_POLY1305_SHA256", tls.VersionTLS13, 0},
	{"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
	{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
}

// transport looks at TLS.
func (d *Doctor) transport(ctx context.Context) {
	u, err := url.Parse(d.Config.Endpoint)
	if err != nil || u.Scheme != "https" {
		d.report(Finding{"TLS", Skipped, "the endpoint is not https", ""})
		return
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "443")
	}
	dial := func(config *tls.Config) (tls.ConnectionState, error) {
		config.RootCAs, config.ServerName, config.NextProtos = d.Config.RootCAs, u.Hostname(), []string{"http/1.1"}
		conn, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: config}).DialContext(ctx, "tcp", address)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState(), nil
	}
	var has []string
	var refused error
	for _, s := range suites {
		config := &tls.Config{Certificates: d.Config.Certificates, MinVersion: s.version, MaxVersion: s.version}
		if s.id != 0 {
			config.CipherSuites = []uint16{s.id}
		}
		if _, err := dial(config); err == nil {
			has = append(has, s.name)
		} else {
			refused = err
		}
	}
	const suite = "TLS: one of the suites that AWS KMS offers"
	if len(has) == 0 {
		d.report(Finding{suite, Failed, "no connection: " + refused.Error(), ""})
		d.report(Finding{"TLS: versions, certificate and client certificates", Skipped, "there is no connection that would tell", ""})
		return
	}
	d.report(Finding{suite, Passed, strings.Join(has, "; "), ""})
	_, err = dial(&tls.Config{Certificates: d.Config.Certificates, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	d.check("TLS: nothing below 1.2", err != nil, Warned, "TLS 1.1 or 1.0 is taken")
	if state, err := dial(&tls.Config{Certificates: d.Config.Certificates}); err == nil {
		left := time.Until(state.PeerCertificates[0].NotAfter)
		d.check("TLS: the certificate lasts", left > 14*24*time.Hour, Warned, fmt.Sprintf("the certificate ends on %s", state.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)))
		d.check("TLS: a public certificate authority", d.Config.RootCAs == nil, Warned, "it was verified with the roots given here: AWS KMS takes those of the specification's list of public authorities only")
	}
	if len(d.Config.Certificates) > 0 {
		state, err := dial(&tls.Config{})
		if err == nil && state.Version == tls.VersionTLS13 { // the refusal comes after the handshake
			anonymous := d.Config
			anonymous.Certificates, anonymous.Timeout = nil, patience
			if client, clientErr := NewClient(anonymous); clientErr == nil {
				defer client.Close()
				_, _, err = client.Post(ctx, "/health", nil)
			}
		}
		d.check("mTLS: no handshake without a client certificate", err != nil, Failed, "the proxy answers clients that have no certificate")
	}
}

// healthRequest is the metadata of a health check.
func healthRequest() HealthRequest {
	return HealthRequest{Metadata: RequestMetadata{RequestID: "00000000-0000-4000-8000-d0c7050000ff", Operation: "KmsHealthCheck"}}
}

// connect asks for the health, on a new connection and then on a kept one, and says whether the rest
// is worth a try.
func (d *Doctor) connect(ctx context.Context) bool {
	begun := time.Now()
	health, err := d.client.Health(ctx, healthRequest())
	first := time.Since(begun)
	if !d.works("GetHealthStatus", err, ofStore) {
		return false
	}
	d.check("GetHealthStatus: connection and answer within 250 ms", first < DefaultTimeout, Failed,
		fmt.Sprintf("%d ms: AWS KMS gives up after 250 ms, connection set-up included; seen from here", first.Milliseconds()))
	var times []time.Duration
	for range 10 {
		begun := time.Now()
		if _, err := d.client.Health(ctx, healthRequest()); err != nil {
			d.works("GetHealthStatus: again", err, ofStore)
			return true
		}
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	d.check("GetHealthStatus: a kept connection is quick", times[len(times)/2] < 35*time.Millisecond, Warned,
		fmt.Sprintf("the median of ten is %d ms: AWS recommends a round trip of 35 ms or less", times[len(times)/2].Milliseconds()))
	for _, e := range health.EKMFleet {
		d.check("key manager "+printable(e.ID)+" ("+printable(e.Model)+") is ACTIVE", e.Health == StatusActive, Warned, "it is "+e.Health)
	}
	status, answer, err := d.client.Post(ctx, "/health", marshalled(healthRequest()))
	if err == nil && status == http.StatusOK {
		d.check("answers are one line", !bytes.ContainsAny(bytes.TrimRight(answer, "\n"), "\n"), Warned, "AWS's own test client reads answers line by line")
	}
	return true
}

// uris checks paths and methods.
func (d *Doctor) uris(ctx context.Context) {
	meta := keyMetadata("DescribeKey")
	d.try(ctx, d.client, probe{name: "an operation that does not exist", path: "/keys/" + d.someKey() + "/sign", body: MetadataRequest{meta}, want: InvalidUriPathException, grade: Warned})
	elsewhere := d.Config
	elsewhere.Timeout, elsewhere.URIPath = patience, "/no-such-prefix-d0c705"+APIRoot
	if client, err := NewClient(elsewhere); err == nil {
		defer client.Close()
		d.try(ctx, client, probe{name: "a URI path that does not exist", path: "/health", body: healthRequest(), want: InvalidUriPathException, also: []string{AuthenticationFailedException}})
	}
	for _, path := range []string{"/health", "/keys/" + d.someKey() + "/metadata", "/keys/" + d.someKey() + "/encrypt", "/keys/" + d.someKey() + "/decrypt"} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.client.base+path, nil)
		if err != nil {
			continue
		}
		response, err := d.client.transport.RoundTrip(r)
		if err != nil {
			d.report(Finding{"GET " + path, Failed, err.Error(), ""})
			continue
		}
		response.Body.Close()
		d.check("GET "+path+" is 405", response.StatusCode == http.StatusMethodNotAllowed, Failed, "it is "+response.Status)
	}
}

func (d *Doctor) someKey() string {
	if d.KeyID == "" {
		return "no-such-key-d0c705"
	}
	return d.KeyID
}

// authentication checks that what is not signed as it should be is refused.
func (d *Doctor) authentication(ctx context.Context) {
	skewed := func(by time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(by) } }
	for _, c := range []struct {
		name   string
		change func(*ClientConfig)
		want   string
	}{
		{"a wrong secret access key", func(c *ClientConfig) { c.Secret = strings.Repeat("d0c705", 8) }, AuthenticationFailedException},
		{"an unknown access key id", func(c *ClientConfig) { c.AccessKeyID = strings.Repeat("DOCTOR", 4) }, AuthenticationFailedException},
		{"a signature of 6 minutes ago", func(c *ClientConfig) { c.Now = skewed(-6 * time.Minute) }, AuthenticationFailedException},
		{"a signature of 6 minutes from now", func(c *ClientConfig) { c.Now = skewed(6 * time.Minute) }, AuthenticationFailedException},
		{"a signature of 4 minutes ago is taken", func(c *ClientConfig) { c.Now = skewed(-4 * time.Minute) }, ""},
		{"another Region is taken", func(c *ClientConfig) { c.Region = "ap-southeast-7" }, ""},
	} {
		config := d.Config
		config.Timeout = patience
		c.change(&config)
		client, err := NewClient(config)
		if err != nil {
			continue
		}
		p := probe{name: c.name, path: "/health", body: healthRequest(), want: c.want}
		if c.want == "" {
			p.grade = Warned
		}
		d.try(ctx, client, p)
		client.Close()
	}
}
