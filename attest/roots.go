package attest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// NitroRootG1SHA256 is the SHA-256 fingerprint of the root certificate for the commercial AWS
// Regions, as the page "Verifying the root of trust" of the AWS Nitro Enclaves user guide prints
// it. The subject is CN=aws.nitro-enclaves, C=US, O=Amazon, OU=AWS; it is valid until 2049-10-28.
const NitroRootG1SHA256 = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"

//go:embed aws-nitro-root-g1.pem
var nitroRootG1 []byte

// NitroRootG1 returns AWS's root certificate for the commercial Regions, which this package
// carries. It is compared with NitroRootG1SHA256 on every call; an error means a broken build.
func NitroRootG1() (*x509.Certificate, error) {
	certificates, err := ParseRoots(nitroRootG1)
	if err != nil {
		return nil, fmt.Errorf("AWS Nitro root G1: %w", err)
	}
	if sum := sha256.Sum256(certificates[0].Raw); hex.EncodeToString(sum[:]) != NitroRootG1SHA256 {
		return nil, errors.New("AWS Nitro root G1: the fingerprint is another one")
	}
	return certificates[0], nil
}

// ParseRoots reads the certificates of a PEM file of roots: at least one, all of them CAs that may
// sign certificates, and nothing else but blank space between and after them. A pool's own
// AppendCertsFromPEM passes over whatever it cannot read, which would hide a spoilt file.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, errors.New("there is something else than PEM certificates")
		}
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("there is something else than PEM certificates")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("root certificate %d: %w", len(certificates)+1, err)
		}
		if err := checkUse(certificate, true); err != nil {
			return nil, fmt.Errorf("root certificate %d: %w", len(certificates)+1, err)
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		return nil, errors.New("there is no certificate")
	}
	return certificates, nil
}
