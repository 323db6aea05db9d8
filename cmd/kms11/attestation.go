package main

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/kms11/kms11/attest"
)

// attestation makes the verifier of enclaves, or none where no root is configured.
func attestation(c AttestationConfig) (*attest.Verifier, error) {
	var roots []*x509.Certificate
	if c.NitroRoot {
		root, err := attest.NitroRootG1()
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	for _, file := range c.Roots {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		parsed, err := attest.ParseRoots(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		roots = append(roots, parsed...)
	}
	if len(roots) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	return &attest.Verifier{Roots: pool}, nil
}
