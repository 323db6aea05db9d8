package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"fmt"
	"math/big"

	"github.com/fxamacker/cbor/v2"
)

const (
	// maxPayload is the specification's limit (section 3.1); maxDocument leaves room for the
	// frame around it, which takes 109 bytes.
	maxPayload  = 16384
	maxDocument = maxPayload + 256

	// tagSign1 is CBOR tag 18 in its shortest encoding (RFC 9052, section 2).
	tagSign1 = 0xd2
	// scalarSize is the length of each half of an ES384 signature (RFC 9053, section 2.1).
	scalarSize = 48

	headerAlgorithm = 1   // RFC 9052, section 3.1
	algorithmES384  = -35 // RFC 9053, section 2.1
)

// emptyMap is the encoding of the empty unprotected header.
var emptyMap = []byte{0xa0}

// sign1 is a COSE_Sign1 structure (RFC 9052, section 4.2). cbor.ByteString takes byte strings
// only, where []byte would take an array of numbers too.
type sign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   cbor.ByteString
	Unprotected cbor.RawMessage
	Payload     cbor.ByteString
	Signature   cbor.ByteString
}

func parseSign1(document []byte) (*sign1, error) {
	if len(document) > maxDocument {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrMalformed, maxDocument)
	}
	if len(document) > 0 && document[0] == tagSign1 {
		document = document[1:]
	}
	var message sign1
	if err := decode(document, &message); err != nil {
		return nil, fmt.Errorf("%w: COSE_Sign1: %w", ErrMalformed, err)
	}
	var protected map[int64]int64
	if err := decode([]byte(message.Protected), &protected); err != nil {
		return nil, fmt.Errorf("%w: protected header: %w", ErrMalformed, err)
	}
	if algorithm, found := protected[headerAlgorithm]; !found || algorithm != algorithmES384 {
		return nil, fmt.Errorf("%w: it must be ES384", ErrAlgorithm)
	}
	switch {
	case len(protected) != 1: // a header that is not understood might be critical
		return nil, fmt.Errorf("%w: protected header has more than the algorithm", ErrMalformed)
	case !bytes.Equal(message.Unprotected, emptyMap):
		return nil, fmt.Errorf("%w: unprotected header is not empty", ErrMalformed)
	case len(message.Payload) < 1 || len(message.Payload) > maxPayload:
		return nil, fmt.Errorf("%w: payload must have 1 to %d bytes", ErrMalformed, maxPayload)
	case len(message.Signature) != 2*scalarSize:
		return nil, fmt.Errorf("%w: signature must have %d bytes", ErrMalformed, 2*scalarSize)
	}
	return &message, nil
}

// checkSignature verifies over the Sig_structure (RFC 9052, section 4.4), without external data.
func (m *sign1) checkSignature(signer *ecdsa.PublicKey) error {
	signed, err := cbor.Marshal([]any{"Signature1", m.Protected, cbor.ByteString(""), m.Payload})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	digest := sha512.Sum384(signed)
	r := new(big.Int).SetBytes([]byte(m.Signature[:scalarSize]))
	s := new(big.Int).SetBytes([]byte(m.Signature[scalarSize:]))
	if !ecdsa.Verify(signer, digest[:], r, s) {
		return ErrSignature
	}
	return nil
}
