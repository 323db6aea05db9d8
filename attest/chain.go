package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// signer checks the certificates (specification, section 3.2.3) and returns the key of the one
// that signed the document.
func (p *payload) signer(roots *x509.CertPool, now time.Time) (*ecdsa.PublicKey, error) {
	if roots == nil { // x509 would take the system's
		return nil, fmt.Errorf("%w: no root is configured", ErrChain)
	}
	path, err := p.path()
	if err != nil {
		return nil, err
	}
	for i, certificate := range path {
		if err := checkUse(certificate, i > 0); err != nil {
			return nil, err
		}
	}
	// Before x509's own checks, which bury an expired issuer in "unknown authority".
	for _, certificate := range path {
		if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
			return nil, fmt.Errorf("%w: a certificate is valid from %s to %s only", ErrExpired,
				certificate.NotBefore.Format(time.RFC3339), certificate.NotAfter.Format(time.RFC3339))
		}
	}
	if err := checkPath(path, roots, now); err != nil {
		return nil, err
	}
	key, isECDSA := path[0].PublicKey.(*ecdsa.PublicKey)
	if !isECDSA || key.Curve != elliptic.P384() {
		return nil, fmt.Errorf("%w: the document's certificate must hold a P-384 key", ErrChain)
	}
	return key, nil
}

// path parses the certificates, from the document's to the root.
func (p *payload) path() ([]*x509.Certificate, error) {
	encoded := slices.Concat(p.CABundle, []cbor.ByteString{p.Certificate})
	slices.Reverse(encoded)
	path := make([]*x509.Certificate, len(encoded))
	for i, der := range encoded {
		certificate, err := x509.ParseCertificate([]byte(der))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrChain, err)
		}
		path[i] = certificate
	}
	return path, nil
}

// checkUse holds what x509 would let pass: it takes certificates without a key usage for any use,
// and has no opinion on what the first certificate may be.
func checkUse(certificate *x509.Certificate, issuer bool) error {
	usage, name := x509.KeyUsageDigitalSignature, "digitalSignature"
	if issuer {
		usage, name = x509.KeyUsageCertSign, "keyCertSign"
	}
	if certificate.KeyUsage&usage == 0 {
		return fmt.Errorf("%w: a certificate lacks the key usage %s", ErrChain, name)
	}
	if certificate.IsCA != issuer {
		return fmt.Errorf("%w: the basic constraints of a certificate do not fit its place", ErrChain)
	}
	if !issuer && (certificate.MaxPathLen > 0 || certificate.MaxPathLenZero) {
		return fmt.Errorf("%w: the document's certificate has a path length", ErrChain)
	}
	return nil
}

// checkPath has x509 build chains to the roots, and takes only the one that is the path itself:
// the whole bundle, in its order, the root included.
func checkPath(path []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	intermediates := x509.NewCertPool()
	for _, certificate := range path[1 : len(path)-1] {
		intermediates.AddCert(certificate)
	}
	chains, err := path[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChain, err)
	}
	isPath := func(chain []*x509.Certificate) bool {
		return slices.EqualFunc(chain, path, (*x509.Certificate).Equal)
	}
	if !slices.ContainsFunc(chains, isPath) {
		return fmt.Errorf("%w: cabundle is not the chain from a configured root", ErrChain)
	}
	return nil
}
