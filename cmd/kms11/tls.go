package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/kms11/kms11/hsm"
)

// openTLS reads the server's certificate and finds its key: a PEM file, or a key pair in a token
// named by a PKCS #11 URI. It gives nil where no TLS is configured. It has to come before the
// domain's tokens are opened: see hsm.OpenTLSKey.
func (b *backend) openTLS(c TLSConfig, clients MTLSConfig) (*tls.Config, error) {
	if c.Certificate == "" {
		return nil, nil
	}
	var certificate tls.Certificate
	var err error
	if strings.HasPrefix(c.Key, "pkcs11:") {
		certificate, err = b.tokenCertificate(c)
	} else {
		certificate, err = tls.LoadX509KeyPair(c.Certificate, c.Key)
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("config: tls: %w", err)}
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
	}
	if err := clients.ask(config); err != nil {
		return nil, usageError{fmt.Errorf("config: mtls: %w", err)}
	}
	return config, nil
}

// ask has clients show a certificate, if the configuration wants that.
func (m *MTLSConfig) ask(config *tls.Config) error {
	if m.CA == "" {
		return nil
	}
	text, err := os.ReadFile(m.CA)
	if err != nil {
		return err
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s holds no PEM certificate", m.CA)
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	if m.Required {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return nil
}

// tokenCertificate is a certificate from a file with its key in a token.
func (b *backend) tokenCertificate(c TLSConfig) (tls.Certificate, error) {
	var certificate tls.Certificate
	text, err := os.ReadFile(c.Certificate)
	if err != nil {
		return certificate, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			certificate.Certificate = append(certificate.Certificate, block.Bytes)
		}
	}
	if len(certificate.Certificate) == 0 {
		return certificate, fmt.Errorf("%s holds no certificate", c.Certificate)
	}
	if certificate.Leaf, err = x509.ParseCertificate(certificate.Certificate[0]); err != nil {
		return certificate, err
	}
	uri, err := hsm.ParseURI(c.Key)
	if err != nil {
		return certificate, err
	}
	key, err := hsm.OpenTLSKey(uri)
	if err != nil {
		return certificate, err
	}
	b.tlsKeys = append(b.tlsKeys, key)
	if !samePublicKey(certificate.Leaf.PublicKey, key.Public()) {
		return certificate, errors.New("the key in the token is not the certificate's")
	}
	certificate.PrivateKey = key
	return certificate, nil
}

// samePublicKey compares two keys of the standard library's types, all of which have Equal.
func samePublicKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// certifiedName is the first DNS name of the PEM certificate in file that is no wildcard, or
// localhost where there is none. A file that cannot be read is reported by openTLS.
func certifiedName(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "localhost"
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "localhost"
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "localhost"
	}
	for _, name := range certificate.DNSNames {
		if !strings.HasPrefix(name, "*") {
			return name
		}
	}
	return "localhost"
}
