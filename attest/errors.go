package attest

import "errors"

// Every error of Verify wraps one of these.
var (
	// ErrMalformed: the document is not of the specified form, or passes one of its limits.
	ErrMalformed = errors.New("malformed attestation document")
	// ErrAlgorithm: the document is signed with something else than ES384.
	ErrAlgorithm = errors.New("unsupported attestation signature algorithm")
	// ErrChain: the certificates do not lead to a configured root, or may not be used like this.
	ErrChain = errors.New("untrusted attestation certificate")
	// ErrSignature: the signature is not the certificate's.
	ErrSignature = errors.New("invalid attestation signature")
	// ErrExpired: a certificate of the chain is outside its validity, or the document is too old.
	ErrExpired = errors.New("attestation document has expired")
	// ErrPublicKey: there is no public key, or none that RSAES_OAEP_SHA_256 can be used with.
	// Verify looks at the key last, so a document with this error is otherwise genuine.
	ErrPublicKey = errors.New("unusable recipient public key")
)
