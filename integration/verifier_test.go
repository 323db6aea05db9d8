package integration_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash
	_ "crypto/sha512"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// signatureScheme is how Go's standard library, which knows nothing of the server, verifies
// signatures of an algorithm. It has no curve secp256k1: the clients in other languages verify
// those.
type signatureScheme struct {
	hash   crypto.Hash // 0 if the scheme signs messages only, not digests
	verify func(public any, digest, signature []byte) bool
}

// digest is what MessageType DIGEST takes for the message, and what verify takes: the message itself
// where there is no hash.
func (s signatureScheme) digest(message []byte) []byte {
	if s.hash == 0 {
		return message
	}
	h := s.hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// verifies says whether the signature is one of the message, whether it was made of the message
// itself or of its digest.
func (s signatureScheme) verifies(public any, message, signature []byte) bool {
	return s.verify(public, s.digest(message), signature)
}

// signatureSchemes is the table of all algorithms. Nothing writes to it.
var signatureSchemes = map[types.SigningAlgorithmSpec]signatureScheme{
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha256: {crypto.SHA256, pkcs1(crypto.SHA256)},
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha384: {crypto.SHA384, pkcs1(crypto.SHA384)},
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha512: {crypto.SHA512, pkcs1(crypto.SHA512)},
	types.SigningAlgorithmSpecRsassaPssSha256:      {crypto.SHA256, pss(crypto.SHA256)},
	types.SigningAlgorithmSpecRsassaPssSha384:      {crypto.SHA384, pss(crypto.SHA384)},
	types.SigningAlgorithmSpecRsassaPssSha512:      {crypto.SHA512, pss(crypto.SHA512)},
	types.SigningAlgorithmSpecEcdsaSha256:          {crypto.SHA256, ecdsaDER},
	types.SigningAlgorithmSpecEcdsaSha384:          {crypto.SHA384, ecdsaDER},
	types.SigningAlgorithmSpecEcdsaSha512:          {crypto.SHA512, ecdsaDER},
	types.SigningAlgorithmSpecEd25519Sha512:        {verify: edwards},
}

func pkcs1(hash crypto.Hash) func(any, []byte, []byte) bool {
	return func(public any, digest, signature []byte) bool {
		key, ok := public.(*rsa.PublicKey)
		return ok && rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
	}
}

// pss wants a salt as long as the digest (AWS KMS Developer Guide, "Supported signing algorithms
// for RSA key specs").
func pss(hash crypto.Hash) func(any, []byte, []byte) bool {
	return func(public any, digest, signature []byte) bool {
		key, ok := public.(*rsa.PublicKey)
		return ok && rsa.VerifyPSS(key, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	}
}

func ecdsaDER(public any, digest, signature []byte) bool {
	key, ok := public.(*ecdsa.PublicKey)
	return ok && ecdsa.VerifyASN1(key, digest, signature)
}

func edwards(public any, message, signature []byte) bool {
	key, ok := public.(ed25519.PublicKey)
	return ok && ed25519.Verify(key, message, signature)
}
