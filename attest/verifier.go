package attest

import (
	"crypto/x509"
	"fmt"
	"time"
)

// DefaultMaxAge is how old a document may be unless a Verifier says otherwise. It is AWS KMS's
// limit: clients meet it as an error that names a "five-minute age limit".
const DefaultMaxAge = 5 * time.Minute

// A Verifier decides which attestation documents are genuine. It may be used concurrently as long
// as its fields are not changed.
type Verifier struct {
	// Roots are the certificates that a chain must end in. There is no default: without roots,
	// nil or empty, every document is refused. The system's roots are never used.
	Roots *x509.CertPool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// MaxAge is how far a document's timestamp may be from Now, before or after it; 0 means
	// DefaultMaxAge. Nothing else ties a document to a request, so within this time it can be
	// sent again: whoever does so gets an answer that only the enclave can read.
	MaxAge time.Duration
}

// Verify reads an attestation document: a COSE_Sign1 message with or without the CBOR tag 18, at
// most 16,640 bytes. It returns what the document says only if
//
//   - the document and its payload have the specified form and keep the specified limits;
//   - the certificates lead from the document's through its CA bundle, in order and without
//     remainder, to one of Roots, all of them valid now and allowed this use;
//   - the signature is that certificate's, made with ES384;
//   - the timestamp is within MaxAge of now;
//   - the public key is an RSA key of 2048 to 4096 bits.
//
// Revocation lists are not fetched: the specification excludes them, and the certificates of
// enclaves live three hours. Every error wraps one of this package's kinds.
func (v *Verifier) Verify(document []byte) (*Document, error) {
	message, err := parseSign1(document)
	if err != nil {
		return nil, err
	}
	claims, err := parsePayload([]byte(message.Payload))
	if err != nil {
		return nil, err
	}
	now := v.now()
	signer, err := claims.signer(v.Roots, now)
	if err != nil {
		return nil, err
	}
	if err := message.checkSignature(signer); err != nil {
		return nil, err
	}
	if age := now.Sub(claims.time()); age > v.maxAge() || age < -v.maxAge() {
		return nil, fmt.Errorf("%w: its timestamp is more than %v from now", ErrExpired, v.maxAge())
	}
	return claims.document()
}

func (v *Verifier) now() time.Time {
	if v.Now == nil {
		return time.Now()
	}
	return v.Now()
}

func (v *Verifier) maxAge() time.Duration {
	if v.MaxAge == 0 {
		return DefaultMaxAge
	}
	return v.MaxAge
}
