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

	// missing is the mechanism that keys of the spec need and this version does not drive.
	missing string
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

	{spec: kms.KeySpecMlDsa44, missing: "CKM_ML_DSA"},
	{spec: kms.KeySpecMlDsa65, missing: "CKM_ML_DSA"},
	{spec: kms.KeySpecMlDsa87, missing: "CKM_ML_DSA"},
	{spec: kms.KeySpecMlKem512, missing: "CKM_ML_KEM"},
	{spec: kms.KeySpecMlKem768, missing: "CKM_ML_KEM"},
	{spec: kms.KeySpecMlKem1024, missing: "CKM_ML_KEM"},
	{spec: kms.KeySpecSm2, missing: "an SM2 mechanism"},
}

// hmacKey is an HMAC key, whatever the scheme. It signs only, like macKind.
func hmacKey(length int) func(*scheme) secretKind {
	kind := secretKind{pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_GENERIC_SECRET_KEY_GEN, length, useSign}
	return func(*scheme) secretKind { return kind }
}

// rowOf is the row of a spec. A spec without a row, or with one that says what is missing, gives
// an error that matches ErrUnsupported.
func rowOf(spec kms.KeySpec) (*keySpec, error) {
	for i := range keySpecs {
		if k := &keySpecs[i]; k.spec == spec {
			if k.missing != "" {
				return nil, fmt.Errorf("%w: it needs %s, which this version does not drive", ErrUnsupported, k.missing)
			}
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

// useOf is the one thing that the private half of a key with this usage does.
var useOf = map[kms.KeyUsageType]use{
	kms.KeyUsageTypeSignVerify:     useSign,
	kms.KeyUsageTypeEncryptDecrypt: useDecrypt,
	kms.KeyUsageTypeKeyAgreement:   useDerive,
}
