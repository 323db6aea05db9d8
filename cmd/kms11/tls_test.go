package main

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ThalesGroup/crypto11"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

func TestMain(m *testing.M) { hsmtest.Main(m) }

// TestTLSKeyInToken holds that a server can have its TLS key in a token, beside the token of the
// domain in the same library.
func TestTLSKeyInToken(t *testing.T) {
	uri := hsmtest.NewURI(t)
	for _, kind := range []string{"EC", "RSA"} {
		t.Run(kind, func(t *testing.T) {
			uri.Object = "tls " + kind
			certificate := selfSigned(t, uri, kind)
			b := &backend{}
			config, err := b.openTLS(TLSConfig{Certificate: certificate, Key: uri.String()}, MTLSConfig{})
			if err != nil {
				t.Fatal(err)
			}
			token, err := hsm.OpenToken(t.Context(), hsm.Config{URI: uri})
			if err != nil {
				t.Fatal(err)
			}
			b.tokens = append(b.tokens, token)
			defer func() {
				if err := b.close(); err != nil {
					t.Error(err)
				}
			}()
			if body := fetch(t, config, certificate); body != "hello" {
				t.Errorf("got %q", body)
			}
			if err := token.Health(t.Context()); err != nil {
				t.Errorf("the domain's token: %v", err)
			}
		})
	}
}

func TestTLSKeyRefused(t *testing.T) {
	uri := hsmtest.NewURI(t)
	uri.Object = "tls"
	certificate := selfSigned(t, uri, "EC")
	uri.Object = "another"
	selfSigned(t, uri, "EC")
	other := uri.String()
	uri.Object = "missing"
	absent := uri.String()
	uri.Object = ""
	for name, key := range map[string]string{"another key": other, "no such key": absent, "no object": uri.String(), "no URI": "pkcs11:?"} {
		b := &backend{}
		_, err := b.openTLS(TLSConfig{Certificate: certificate, Key: key}, MTLSConfig{})
		if exitCode(err) != exitUsage {
			t.Errorf("%s: got %v", name, err)
		}
		if err := b.close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

// selfSigned makes a key pair in the token and a certificate for it.
func selfSigned(t *testing.T, uri hsm.URI, kind string) string {
	t.Helper()
	pin, _ := strings.CutPrefix(uri.PINSource, "env:")
	context, err := crypto11.Configure(&crypto11.Config{Path: uri.ModulePath, TokenLabel: uri.Token, Pin: os.Getenv(pin), MaxSessions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer context.Close()
	id := []byte(uri.Object)
	var signer crypto.Signer
	if kind == "EC" {
		signer, err = context.GenerateECDSAKeyPairWithLabel(id, id, elliptic.P256())
	} else {
		signer, err = context.GenerateRSAKeyPairWithLabel(id, id, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kms11 test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	if _, isRSA := signer.Public().(*rsa.PublicKey); isRSA {
		template.SignatureAlgorithm = x509.SHA256WithRSA
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "certificate.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fetch serves one page over the TLS configuration and reads it as a client that trusts the
// certificate.
func fetch(t *testing.T, config *tls.Config, certificate string) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	server.TLS = config
	server.StartTLS()
	defer server.Close()
	text, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	response, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
