package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"math/big"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// A signing is a signing algorithm: how a token does it and how the standard library verifies it.
type signing struct {
	algorithm kms.SigningAlgorithmSpec
	hash      crypto.Hash // of the digest that goes to the token; 0 if the message does
	mechanism uint
	parameter []byte
	// prefix goes before the digest: the head of a DigestInfo.
	prefix []byte
	// form turns what the token takes and gives into the form of the API and back; nil if they
	// are the same.
	form *signatureForm
	// verify verifies in the standard library what went to the token, prefix and all.
	verify func(g *signing, key any, data, signature []byte) bool
	// digest is instead of hash where the public key is part of what is hashed.
	digest func(spki, message []byte) ([]byte, error)
	mu     bool // what is signed is the message representative of ML-DSA
}

// A signatureForm is one way to write a signature.
type signatureForm struct {
	encode func(raw []byte) []byte
	decode func(k pairKind, signature []byte) ([]byte, error)
}

// DigestInfo heads: RFC 8017, section 9.2, note 1.
var (
	digestInfo256 = sha256Prefix
	digestInfo384 = unhex("3041300d060960864801650304020205000430")
	digestInfo512 = unhex("3051300d060960864801650304020305000440")
)

// The salt of RSASSA-PSS is as long as the hash, and MGF1 has the same hash.
var (
	pss256 = pkcs11.NewPSSParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32)
	pss384 = pkcs11.NewPSSParams(pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, 48)
	pss512 = pkcs11.NewPSSParams(pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512, 64)
)

// edPrehashed is CK_EDDSA_PARAMS with phFlag and no context (PKCS#11 3.0, section 2.3.14): a
// CK_BBOOL, which C pads to the size of the CK_ULONG and the pointer that follow it.
var edPrehashed = append([]byte{1}, words(0, 0, 0)[1:]...)

var ecdsaForm = &signatureForm{encode: encodeSignature, decode: func(k pairKind, signature []byte) ([]byte, error) {
	ec, ok := k.(ecKind)
	if !ok {
		return nil, errSignatureForm
	}
	return decodeSignature(signature, ec.size, ec.order)
}}

// mlDSAHedged is CK_SIGN_ADDITIONAL_CONTEXT without a context, which asks for the hedged variant, as
// AWS KMS has it (PKCS#11 3.2, ML-DSA).
var mlDSAHedged = words(ckhHedgeRequired, 0, 0)

var signings = []signing{
	{kms.SigningAlgorithmSpecRsassaPkcs1V15Sha256, crypto.SHA256, pkcs11.CKM_RSA_PKCS, nil, digestInfo256, nil, goPKCS1, nil, false},
	{kms.SigningAlgorithmSpecRsassaPkcs1V15Sha384, crypto.SHA384, pkcs11.CKM_RSA_PKCS, nil, digestInfo384, nil, goPKCS1, nil, false},
	{kms.SigningAlgorithmSpecRsassaPkcs1V15Sha512, crypto.SHA512, pkcs11.CKM_RSA_PKCS, nil, digestInfo512, nil, goPKCS1, nil, false},
	{kms.SigningAlgorithmSpecRsassaPssSha256, crypto.SHA256, pkcs11.CKM_RSA_PKCS_PSS, pss256, nil, nil, goPSS, nil, false},
	{kms.SigningAlgorithmSpecRsassaPssSha384, crypto.SHA384, pkcs11.CKM_RSA_PKCS_PSS, pss384, nil, nil, goPSS, nil, false},
	{kms.SigningAlgorithmSpecRsassaPssSha512, crypto.SHA512, pkcs11.CKM_RSA_PKCS_PSS, pss512, nil, nil, goPSS, nil, false},
	{kms.SigningAlgorithmSpecEcdsaSha256, crypto.SHA256, pkcs11.CKM_ECDSA, nil, nil, ecdsaForm, goECDSA, nil, false},
	{kms.SigningAlgorithmSpecEcdsaSha384, crypto.SHA384, pkcs11.CKM_ECDSA, nil, nil, ecdsaForm, goECDSA, nil, false},
	{kms.SigningAlgorithmSpecEcdsaSha512, crypto.SHA512, pkcs11.CKM_ECDSA, nil, nil, ecdsaForm, goECDSA, nil, false},
	{kms.SigningAlgorithmSpecEd25519Sha512, 0, ckmEDDSA, nil, nil, nil, goEd25519, nil, false},
	{kms.SigningAlgorithmSpecEd25519PhSha512, 0, ckmEDDSA, edPrehashed, nil, nil, goEd25519ph, nil, false},
	{kms.SigningAlgorithmSpecMlDsaShake256, 0, ckmMLDSA, mlDSAHedged, nil, nil, nil, nil, false},
	// The vendor's mechanism: see mechanismOn.
	{kms.SigningAlgorithmSpecSm2dsa, 0, 0, nil, nil, ecdsaForm, nil, sm2Digest, false},
}

// ExternalMu is what Domain.Supports calls ML_DSA_SHAKE_256 of a message representative that was
// worked out elsewhere.
const ExternalMu = "ML_DSA_SHAKE_256 with EXTERNAL_MU"

// muSize is the length of a message representative in bytes (FIPS 204, algorithm 7).
const muSize = 64

// externalMu is the algorithm for message representatives.
func (g *signing) externalMu() (*signing, error) {
	if g.mechanism != ckmMLDSA {
		return nil, fmt.Errorf("%s does not sign message representatives", g.algorithm)
	}
	other := *g
	other.mechanism, other.mu = ckmMLDSAExternalMu, true
	return &other, nil
}

// name is the algorithm's in the abilities of a token.
func (g *signing) name() string {
	if g.mu {
		return ExternalMu
	}
	return string(g.algorithm)
}

// mechanismOn is the mechanism on the session's token; 0 is none.
func (g *signing) mechanismOn(s *session) uint {
	if g.algorithm == kms.SigningAlgorithmSpecSm2dsa {
		return s.conn.token.quirks.SM2Sign
	}
	return g.mechanism
}

func signingOf(algorithm kms.SigningAlgorithmSpec) (*signing, error) {
	for i := range signings {
		if signings[i].algorithm == algorithm {
			return &signings[i], nil
		}
	}
	return nil, fmt.Errorf("%w: signing algorithm %s", ErrUnsupported, algorithm)
}

// input is what goes to the token. Hashing a message is the service's own work: it is public.
func (g *signing) input(k pairKind, spki []byte, in SignInput) ([]byte, error) {
	data := in.Message
	switch {
	case g.mu:
		if len(data) != muSize {
			return nil, fmt.Errorf("a message representative of %d bytes, not %d", len(data), muSize)
		}
		return data, nil
	case g.digest != nil:
		if !in.Digest {
			return g.digest(spki, data)
		}
		if len(data) != sm3Size {
			return nil, fmt.Errorf("a digest of %d bytes is not one of %s", len(data), g.algorithm)
		}
		return data, nil
	case in.Digest && g.hash == 0:
		return nil, fmt.Errorf("%s signs messages, not digests", g.algorithm)
	case in.Digest && len(data) != g.hash.Size():
		return nil, fmt.Errorf("a digest of %d bytes is not one of %s", len(data), g.algorithm)
	case !in.Digest && g.hash != 0:
		h := g.hash.New()
		h.Write(data)
		data = h.Sum(nil)
	}
	if g.prefix != nil {
		return append(bytes.Clone(g.prefix), data...), nil
	}
	if ec, ok := k.(ecKind); ok {
		// FIPS 186-5, section 6.4.1: the leftmost bits of a hash that is longer than the order.
		// Every order with a hash longer than it here is a whole number of bytes long.
		data = data[:min(len(data), ec.size)]
	}
	return data, nil
}

// sign does the token's part, and gives the signature in the form of the API.
func (g *signing) sign(s *session, k pairKind, key object, data []byte) ([]byte, error) {
	mech := g.mechanismOn(s)
	if mech == 0 {
		return nil, fmt.Errorf("%w: it needs a mechanism of the vendor's own, whose number x-kms11-sm2dsa in the token's URI gives", ErrUnsupported)
	}
	raw, err := s.sign(mech, g.parameters(), key, data)
	if err != nil {
		return nil, err
	}
	if ec, ok := k.(ecKind); ok && len(raw) != 2*ec.size {
		return nil, fmt.Errorf("C_Sign gives %d bytes, not %d", len(raw), 2*ec.size)
	}
	if g.form != nil {
		return g.form.encode(raw), nil
	}
	return raw, nil
}

// parameters is the mechanism's parameter as the binding wants it: nil is none.
func (g *signing) parameters() any {
	if g.parameter == nil {
		return nil
	}
	return g.parameter
}

// check gives the signature as a token takes it. One that cannot be right is refused here, so
// that no token has to make sense of it.
func (g *signing) check(k pairKind, spki, signature []byte) ([]byte, error) {
	switch k := k.(type) {
	case ecKind:
		return g.form.decode(k, signature)
	case rsaKind:
		key, err := k.parse(spki)
		if err != nil {
			return nil, err
		}
		if len(signature) != k.size() || new(big.Int).SetBytes(signature).Cmp(key.N) >= 0 {
			return nil, errSignatureNumber
		}
	case mlDSAKind:
		if len(signature) != k.answer {
			return nil, errSignatureNumber
		}
	case edKind:
		if len(signature) != ed25519.SignatureSize {
			return nil, errSignatureNumber
		}
	}
	return signature, nil
}

var errSignatureNumber = fmt.Errorf("the signature is too long, too short or too large for the key")

// outside verifies with the standard library, or by this package's own arithmetic of SM2. known is
// false if neither has the algorithm.
func (g *signing) outside(k pairKind, spki, data, signature []byte) (good, known bool, err error) {
	if g.digest != nil {
		good, err = sm2Verify(spki, data, signature)
		return good, true, err
	}
	if ec, ok := k.(ecKind); ok && ec.goCurve == nil || g.verify == nil {
		return false, false, nil
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return false, true, errPublicForm
	}
	return g.verify(g, key, data, signature), true, nil
}

func goPKCS1(g *signing, key any, data, signature []byte) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && rsa.VerifyPKCS1v15(k, g.hash, data[len(g.prefix):], signature) == nil
}

func goPSS(g *signing, key any, data, signature []byte) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && rsa.VerifyPSS(k, g.hash, data, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
}

func goECDSA(_ *signing, key any, data, signature []byte) bool {
	k, ok := key.(*ecdsa.PublicKey)
	return ok && ecdsa.VerifyASN1(k, data, signature)
}

func goEd25519(_ *signing, key any, data, signature []byte) bool {
	k, ok := key.(ed25519.PublicKey)
	return ok && ed25519.Verify(k, data, signature)
}

func goEd25519ph(_ *signing, key any, data, signature []byte) bool {
	k, ok := key.(ed25519.PublicKey)
	digest := sha512.Sum512(data)
	return ok && ed25519.VerifyWithOptions(k, digest[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
}
