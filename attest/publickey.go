package attest

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
)

const (
	minKeyBits = 2048
	maxKeyBits = 4096
)

// parsePublicKey reads a DER SubjectPublicKeyInfo (RFC 5280, section 4.1), which is how AWS KMS
// wants an enclave's key (aws-nitro-enclaves-sdk-c, docs/kms-apis/RecipientRequest.md).
func parsePublicKey(der []byte) (*rsa.PublicKey, error) {
	if len(der) == 0 {
		return nil, fmt.Errorf("%w: the attestation document has none", ErrPublicKey)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPublicKey, err)
	}
	key, isRSA := parsed.(*rsa.PublicKey)
	if !isRSA {
		return nil, fmt.Errorf("%w: RSAES_OAEP_SHA_256 needs an RSA key", ErrPublicKey)
	}
	if err := checkPublicKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

// checkPublicKey bounds the modulus, which bounds the work and the size of an answer, and refuses
// exponents that cannot be an RSA key's. Even moduli are crypto/rsa's to refuse.
func checkPublicKey(key *rsa.PublicKey) error {
	if key == nil || key.N == nil {
		return fmt.Errorf("%w: there is none", ErrPublicKey)
	}
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return fmt.Errorf("%w: it has %d bits, not %d to %d", ErrPublicKey, bits, minKeyBits, maxKeyBits)
	}
	if key.E < 3 || key.E%2 == 0 {
		return fmt.Errorf("%w: its exponent is even or less than 3", ErrPublicKey)
	}
	return nil
}
