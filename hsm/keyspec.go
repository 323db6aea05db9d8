package hsm

import (
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// A keySpec is what a token makes for one key spec: a secret key, a pair, or nothing.
type keySpec struct {
	spec kms.KeySpec
	// lane is where keys of the spec work. Generation of pairs is on the long lane in any case.
	lane lane

	// secret is the material of a secret key under a derivation scheme.
	secret func(*scheme) secretKind
	// derives says that messages are encrypted under keys derived by the domain's scheme.
	derives bool

	pair pairKind

	// uses are where the use of a private key is not that of useOf.
	uses map[kms.KeyUsageType]use
}

// keySpecs has a row for every row of kms.Specs.
var keySpecs = []keySpec{
	{spec: kms.KeySpecSymmetricDefault, lane: laneShort, secret: func(sc *scheme) secretKind { return sc.material }, derives: true},

	{spec: kms.KeySpecRsa2048, lane: laneLong, pair: rsaKind{2048}},
	{spec: kms.KeySpecRsa3072, lane: laneLong, pair: rsaKind{3072}},
	{spec: kms.KeySpecRsa4096, lane: laneLong, pair: rsaKind{4096}},

	{spec: kms.KeySpecEccNistP256, lane: laneLong, pair: ecKind{p256}},
	{spec: kms.KeySpecEccNistP384, lane: laneLong, pair: ecKind{p384}},
	{spec: kms.KeySpecEccNistP521, lane: laneLong, pair: ecKind{p521}},
	{spec: kms.KeySpecEccSecgP256k1, lane: laneLong, pair: ecKind{p256k1}},
	{spec: kms.KeySpecEccNistEdwards25519, lane: laneLong, pair: edKind{}},

	{spec: kms.KeySpecHmac224, lane: laneShort, secret: hmacKey(28)},
	{spec: kms.KeySpecHmac256, lane: laneShort, secret: hmacKey(32)},
	{spec: kms.KeySpecHmac384, lane: laneShort, secret: hmacKey(48)},
	{spec: kms.KeySpecHmac512, lane: laneShort, secret: hmacKey(64)},

	{spec: kms.KeySpecMlDsa44, lane: laneLong, pair: mlDSAKind{mlDSA44}},
	{spec: kms.KeySpecMlDsa65, lane: laneLong, pair: mlDSAKind{mlDSA65}},
	{spec: kms.KeySpecMlDsa87, lane: laneLong, pair: mlDSAKind{mlDSA87}},
	{spec: kms.KeySpecMlKem512, lane: laneLong, pair: mlKEMKind{mlKEM512}},
	{spec: kms.KeySpecMlKem768, lane: laneLong, pair: mlKEMKind{mlKEM768}},
	{spec: kms.KeySpecMlKem1024, lane: laneLong, pair: mlKEMKind{mlKEM1024}},

	// No mechanism decrypts by SM2PKE: the token does its ECDH step, which the key has to be made for.
	{spec: kms.KeySpecSm2, lane: laneLong, pair: sm2Kind,
		uses: map[kms.KeyUsageType]use{kms.KeyUsageTypeEncryptDecrypt: useDerive}},
}

// hmacKey is an HMAC key, whatever the scheme. It signs only, like macKind.
func hmacKey(length int) func(*scheme) secretKind {
	kind := secretKind{pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_GENERIC_SECRET_KEY_GEN, length, useSign}
	return func(*scheme) secretKind { return kind }
}

// rowOf is the row of a spec. A spec without a row gives an error that matches ErrUnsupported.
func rowOf(spec kms.KeySpec) (*keySpec, error) {
	for i := range keySpecs {
		if k := &keySpecs[i]; k.spec == spec {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w: key spec %s", ErrUnsupported, spec)
}

// pairOf is rowOf for specs of key pairs.
func pairOf(spec kms.KeySpec) (*keySpec, error) {
	k, err := rowOf(spec)
	if err == nil && k.pair == nil {
		return nil, fmt.Errorf("%w: key spec %s is not one of a key pair", ErrUnsupported, spec)
	}
	return k, err
}

// useOf is what the private half of a key with this usage does, but for keySpec.uses.
var useOf = map[kms.KeyUsageType]use{
	kms.KeyUsageTypeSignVerify:     useSign,
	kms.KeyUsageTypeEncryptDecrypt: useDecrypt,
	kms.KeyUsageTypeKeyAgreement:   useDerive,

	kms.KeyUsageTypeEncapsulateDecapsulate: useDecapsulate,
}

// useOf is the one thing that the private half of a key with this usage does in the token.
func (k *keySpec) useOf(usage kms.KeyUsageType) (use, bool) {
	if u, ok := k.uses[usage]; ok {
		return u, true
	}
	u, ok := useOf[usage]
	return u, ok
}
