package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// clientCertificate is one that TLS has verified.
func clientCertificate(t testing.TB, commonName, uri, dns string, expires time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: commonName},
		NotBefore: expires.Add(-24 * time.Hour), NotAfter: expires,
	}
	if uri != "" {
		parsed, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = []*url.URL{parsed}
	}
	if dns != "" {
		template.DNSNames = []string{dns}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClientCertificates has certificates stand for principals, with and without signatures.
func TestClientCertificates(t *testing.T) {
	s := newSite(t)
	alice := s.newUser("alice", "")
	s.administer("create-role", map[string]any{"name": "web", "trust": raw(stsTrust)}, nil)
	expires := s.clock().Add(time.Hour)
	byPrint := clientCertificate(t, "a name with spaces", "", "", expires)
	rules := []CertificateRule{
		{URI: "spiffe://example.org/ns/prod/sa/web", Principal: "arn:aws:iam::111122223333:role/web"},
		{DNS: "alice.example.org", Principal: "arn:aws:iam::111122223333:user/alice"},
		{CommonName: "batch", Principal: "arn:aws:iam::111122223333:role/web"},
		{Fingerprint: fingerprintOf(byPrint), Principal: "arn:aws:iam::111122223333:role/web"},
		{CommonName: "gone", Principal: "arn:aws:iam::111122223333:user/gone"},
	}
	log := s.handlerLog()
	s.handler = Endpoint(
		NewHandler(s.service, NewCertificates(s.service, testRegion, rules, NewSigV4(s.service)), log),
		NewSTS(s.service, NewCertificates(s.service, testRegion, rules, NewSTSSigV4(s.service)), log))
	const identity = "Action=GetCallerIdentity&Version=2011-06-15"
	ask := func(c *x509.Certificate, by credentials, change func(*http.Request)) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Content-Type", formType)
		if c != nil {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
		}
		if change != nil {
			change(r)
		}
		return s.ask(by, stsScope, testRegion, r, identity)
	}
	for name, c := range map[string]struct {
		certificate *x509.Certificate
		by          credentials
		want        string
	}{
		"SPIFFE id":       {clientCertificate(t, "x", "spiffe://example.org/ns/prod/sa/web", "", expires), credentials{}, "assumed-role/web/" + "[fingerprint]"},
		"DNS name":        {clientCertificate(t, "", "", "alice.example.org", expires), credentials{}, "user/alice"},
		"common name":     {clientCertificate(t, "batch", "", "", expires), credentials{}, "assumed-role/web/batch"},
		"fingerprint":     {byPrint, credentials{}, "assumed-role/web/" + fingerprintOf(byPrint)},
		"and a signature": {clientCertificate(t, "batch", "", "", expires), alice, "user/alice"},
	} {
		want := strings.Replace(c.want, "[fingerprint]", fingerprintOf(c.certificate), 1)
		if w := ask(c.certificate, c.by, nil); w.Code != 200 || !strings.Contains(w.Body.String(), ":"+want+"</Arn>") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	good := clientCertificate(t, "batch", "", "", expires)
	missing := "Request is missing Authentication Token"
	wantXML(t, ask(nil, credentials{}, nil), 403, "MissingAuthenticationToken", missing)
	wantXML(t, ask(clientCertificate(t, "stranger", "", "", expires), credentials{}, nil), 403, "MissingAuthenticationToken", missing)
	wantXML(t, ask(clientCertificate(t, "BATCH", "spiffe://example.org/ns/prod/sa/web/x", "x.alice.example.org", expires), credentials{}, nil), 403, "MissingAuthenticationToken", missing)
	wantXML(t, ask(good, credentials{}, func(r *http.Request) { r.TLS.VerifiedChains = nil }), 403, "MissingAuthenticationToken", missing)
	wantXML(t, ask(good, credentials{}, func(r *http.Request) { r.Header.Set("Origin", "https://example.com") }), 403, "AccessDenied", "Client certificates are not taken from web pages.")
	wantXML(t, ask(clientCertificate(t, "gone", "", "", expires), credentials{}, nil), 403, "InvalidClientTokenId", "The client certificate stands for a principal that does not exist.")
	// A good certificate does not save a bad signature.
	w := ask(good, credentials{alice.id, "wrong", ""}, nil)
	if w.Code != 403 || !strings.Contains(w.Body.String(), "<Code>SignatureDoesNotMatch</Code>") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// The connection outlives the certificate.
	s.advance(time.Hour + time.Second)
	wantXML(t, ask(good, credentials{}, nil), 403, "InvalidClientTokenId", "The client certificate has expired.")

	// KMS, too: in the server's Region.
	s.administer("put-policy", map[string]any{"role": "web", "name": "p", "policy": raw(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`)}, nil)
	fresh := clientCertificate(t, "batch", "", "", s.clock().Add(time.Hour))
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", "TrentService.CreateKey")
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{fresh}, VerifiedChains: [][]*x509.Certificate{{fresh}}}
	if w := s.ask(credentials{}, "", "", r, "{}"); w.Code != 200 || !strings.Contains(w.Body.String(), "arn:aws:kms:eu-central-1:111122223333:key/") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
