package integration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kms11/kms11/integration/kms11test"
)

// certifier makes certificates.
type certifier struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newCertifier(t testing.TB, name string) *certifier {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &certifier{certificate, key}
}

// issue makes a certificate for a name, with the key, and files of both.
func (c *certifier) issue(t testing.TB, name string, key any, public any) (certificate tls.Certificate, certFile, keyFile string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.certificate, public, c.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", private)
	if certificate, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return certificate, certFile, keyFile
}

func (c *certifier) issueEC(t testing.TB, name string) (tls.Certificate, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return c.issue(t, name, key, key.Public())
}

func (c *certifier) file(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, file, "CERTIFICATE", c.certificate.Raw)
	return file
}

func (c *certifier) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.certificate)
	return pool
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// overTLS makes the client speak TLS.
func (p *xksProxy) overTLS(config *tls.Config) {
	p.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

// TestXKSCipherSuites: TLS 1.2 with the two suites of the specification, TLS 1.3, and nothing less.
func TestXKSCipherSuites(t *testing.T) {
	ca := newCertifier(t, "test CA")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, rsaCert, rsaFile := ca.issue(t, "localhost", rsaKey, rsaKey.Public())
	_, ecCert, ecFile := ca.issueEC(t, "localhost")
	for _, c := range []struct {
		cert, key string
		good, bad uint16
	}{
		{rsaCert, rsaFile, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		{ecCert, ecFile, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	} {
		p := startXKS(t, "tls: {certificate: "+c.cert+", key: "+c.key+"}")
		for what, config := range map[string]struct {
			*tls.Config
			ok bool
		}{
			"TLS 1.3":             {&tls.Config{MinVersion: tls.VersionTLS13}, true},
			"TLS 1.2":             {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{c.good}}, true},
			"TLS 1.2 with less":   {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{c.bad}}, false},
			"TLS 1.1":             {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
			"HTTP/2 and its ALPN": {&tls.Config{NextProtos: []string{"h2", "http/1.1"}}, true},
		} {
			config.RootCAs, config.ServerName = ca.pool(), "localhost"
			conn, err := tls.Dial("tcp", p.endpoint[len("https://"):], config.Config)
			if (err == nil) != config.ok {
				t.Errorf("%s: %v", what, err)
			}
			if err == nil {
				conn.Close()
			}
		}
		p.overTLS(&tls.Config{RootCAs: ca.pool()})
		p.ok(t, "/health", fields{"requestMetadata": xksMetadata("KmsHealthCheck")})
	}
}

// TestXKSClientCertificates: the handshake ends unless the client's certificate has the name and comes
// from the root that are configured, as AWS KMS's does.
func TestXKSClientCertificates(t *testing.T) {
	ca, clients, strangers := newCertifier(t, "test CA"), newCertifier(t, "client CA"), newCertifier(t, "client CA")
	_, cert, key := ca.issueEC(t, "localhost")
	const name = "cks.kms.eu-west-1.amazonaws.com"
	healthListen := kms11test.FreeAddress(t)
	// The server's first requests are the load balancer's and the test's own.
	p := startXKS(t, "tls: {certificate: "+cert+", key: "+key+"}", "clientca: "+clients.file(t),
		"clientnames: [cks.kms.us-east-1.amazonaws.com, "+name+"]", "health: "+healthListen)
	good, _, _ := clients.issueEC(t, name)
	other, _, _ := clients.issueEC(t, "cks.kms.eu-west-2.amazonaws.com")
	stranger, _, _ := strangers.issueEC(t, name)
	body := fields{"requestMetadata": xksMetadata("KmsHealthCheck")}
	p.overTLS(&tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{good}})
	p.ok(t, "/health", body)
	for what, certificates := range map[string][]tls.Certificate{"none": nil, "another name": {other}, "another root": {stranger}} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			transport := &http.Transport{TLSClientConfig: &tls.Config{
				RootCAs: ca.pool(), MinVersion: version, MaxVersion: version,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // sent even where it does not fit
					if len(certificates) == 0 {
						return new(tls.Certificate), nil
					}
					return &certificates[0], nil
				},
			}}
			response, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get(p.endpoint + "/healthz")
			if err == nil {
				response.Body.Close()
				t.Errorf("a client certificate of %s is taken", what)
			}
			transport.CloseIdleConnections()
		}
	}
	response, err := http.Get("http://" + healthListen + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the load balancer's GET: %s", response.Status)
	}
	if response, err = http.Post("http://"+healthListen+xksPrefix+"/kms/xks/v1/health", "application/json", nil); err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("the API on the health listener: %s", response.Status)
	}
}

// TestXKSUnsafeSettings are refused at the start.
func TestXKSUnsafeSettings(t *testing.T) {
	for what, text := range map[string]string{
		"plaintext on the network":  "listen: 0.0.0.0:0",
		"half a certificate":        "listen: 127.0.0.1:0\n  tls: {certificate: x.pem}",
		"names without roots":       "listen: 127.0.0.1:0\n  clientnames: [a]",
		"client roots without TLS":  "listen: 127.0.0.1:0\n  clientca: x.pem\n  clientnames: [a]",
		"no credential file":        "listen: 127.0.0.1:0\n  credentials: [/nonexistent.json]",
		"a token URI that is none":  "listen: 127.0.0.1:0\n  tokens: [hsm]",
		"a negative time":           "listen: 127.0.0.1:0\n  timeout: -1",
		"a setting that is unknown": "listen: 127.0.0.1:0\n  prefix: /a",
	} {
		file := filepath.Join(t.TempDir(), "kms11.yaml")
		if err := os.WriteFile(file, []byte("xks:\n  "+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		output, code := kms11test.Command(t, "serve", "--config", file, "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0")
		if code != 2 {
			t.Errorf("%s: left with %d: %s", what, code, output)
		}
	}
}
