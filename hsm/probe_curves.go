package hsm

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"math/big"

	"github.com/miekg/pkcs11"
)

// probeCurves are tried for signing. Those without a curve of the standard library are only
// checked for the length of the signature.
var probeCurves = []struct {
	name  string
	oid   string // DER
	size  int    // bytes of a coordinate
	curve elliptic.Curve
}{
	{"P-256", "06082a8648ce3d030107", 32, elliptic.P256()},
	{"P-384", "06052b81040022", 48, elliptic.P384()},
	{"P-521", "06052b81040023", 66, elliptic.P521()},
	{"secp256k1", "06052b8104000a", 32, nil},
	{"SM2 curve", "06082a811ccf5501822d", 32, nil},
}

func curveRows() []probeRow {
	var rows []probeRow
	for _, c := range probeCurves {
		rows = append(rows, probeRow{"sign", "ECDSA on " + c.name, func(p *prober) (string, error) {
			return "", p.tryECDSA(unhex(c.oid), c.size, c.curve, pkcs11.CKM_ECDSA)
		}})
	}
	p256 := unhex(probeCurves[0].oid)
	return append(rows,
		probeRow{"sign", "ECDSA_SHA256 on P-256", func(p *prober) (string, error) {
			return "", p.tryECDSA(p256, 32, elliptic.P256(), pkcs11.CKM_ECDSA_SHA256)
		}},
		probeRow{"wrap", "P-256 private key", func(p *prober) (string, error) {
			return p.tryWrapPrivate(pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKK_EC, p256)
		}},
		probeRow{"sign", "Ed25519", tryEd25519},
		probeRow{"wrap", "Ed25519 private key", func(p *prober) (string, error) {
			return p.tryWrapPrivate(ckmECEdwardsKeyPair, ckkECEdwards, ed25519OIDs[0])
		}},
		probeRow{"sign", "ML-DSA-44", tryMLDSA},
		probeRow{"agreement", "ML-KEM-768", tryMLKEM},
		probeRow{"agreement", "ECDH on P-256 with a readable secret", tryECDH})
}

func (p *prober) curvePair(mech uint, params []byte, private []*attribute) (object, object, error) {
	return p.keepPair(p.generateKeyPair(mech,
		append(publicUse(useVerify), pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params)), private))
}

// point reads a public point, which some tokens wrap in a DER OCTET STRING and others do not.
func (p *prober) point(public object) ([]byte, error) {
	got, err := p.attributes(public, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	var raw []byte
	if rest, err := asn1.Unmarshal(got[0], &raw); err == nil && len(rest) == 0 {
		return raw, nil
	}
	return got[0], nil
}

func (p *prober) tryECDSA(params []byte, size int, curve elliptic.Curve, mech uint) error {
	pub, priv, err := p.curvePair(pkcs11.CKM_EC_KEY_PAIR_GEN, params, privateUse(useSign))
	if err != nil {
		return err
	}
	digest := sha256.Sum256(checkLabel)
	input := digest[:]
	if mech != pkcs11.CKM_ECDSA {
		input = checkLabel
	}
	signature, err := p.sign(mech, nil, priv, input)
	if err != nil {
		return err
	}
	if len(signature) != 2*size {
		return errNotExact
	}
	if curve == nil {
		return nil
	}
	point, err := p.point(pub)
	if err != nil {
		return err
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return err
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	if !ecdsa.Verify(key, digest[:], r, s) {
		return errNotExact
	}
	return nil
}

// ed25519OIDs are the two ways to name the curve: the OID of RFC 8410, and the name of PKCS#11 3.0.
var ed25519OIDs = [][]byte{unhex("06032b6570"), append([]byte{0x13, 12}, "edwards25519"...)}

func tryEd25519(p *prober) (string, error) {
	var failed error
	for _, params := range ed25519OIDs {
		pub, priv, err := p.curvePair(ckmECEdwardsKeyPair, params, privateUse(useSign))
		if err != nil {
			failed = err
			continue
		}
		signature, err := p.sign(ckmEDDSA, nil, priv, checkLabel)
		if err != nil {
			return "", err
		}
		point, err := p.point(pub)
		if err != nil {
			return "", err
		}
		if len(point) != ed25519.PublicKeySize || !ed25519.Verify(point, checkLabel, signature) {
			return "", errNotExact
		}
		return "", nil
	}
	return "", failed
}

// tryWrapPrivate wraps a new private key with what the token has, and unwraps it.
func (p *prober) tryWrapPrivate(mech, keyType uint, params []byte) (string, error) {
	extractable := privateUse(useSign)
	for _, a := range extractable {
		if a.Type == pkcs11.CKA_EXTRACTABLE {
			a.Value = []byte{1}
		}
	}
	_, priv, err := p.curvePair(mech, params, extractable)
	if err != nil {
		return "", err
	}
	kek, err := p.keep(p.generateKey(wrapKeyKind.generate, wrapKeyKind.sized(inUse)))
	if err != nil {
		return "", err
	}
	var failed error
	for _, wrap := range []uint{ckmAESKeyWrapKWP, pkcs11.CKM_AES_KEY_WRAP_PAD, pkcs11.CKM_AES_KEY_WRAP} {
		blob, err := p.wrapKey(wrap, nil, kek, priv)
		if err != nil {
			failed = err
			continue
		}
		_, err = p.keep(p.unwrapKey(wrap, nil, kek, blob, append(privateUse(useSign),
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyType))))
		return "by " + mechanismName(wrap), err
	}
	return "", failed
}

func tryMLDSA(p *prober) (string, error) {
	_, priv, err := p.keepPair(p.generateKeyPair(ckmMLDSAKeyPair,
		append(publicUse(useVerify), pkcs11.NewAttribute(ckaParameterSet, ckpMLDSA44)), privateUse(useSign)))
	if err != nil {
		return "", err
	}
	signature, err := p.sign(ckmMLDSA, nil, priv, checkLabel)
	if err == nil && len(signature) != mldsa44Signature {
		err = errNotExact
	}
	return "", err
}

// mldsa44Signature is the length of an ML-DSA-44 signature in bytes (FIPS 204, table 2).
const mldsa44Signature = 2420

// tryMLKEM decapsulates what the standard library encapsulated.
func tryMLKEM(p *prober) (string, error) {
	k := mlKEMKind{mlKEM768}
	pub, priv, err := p.keepPair(p.generatePair(k, nil, inUse, useDecapsulate))
	if err != nil {
		return "", err
	}
	spki, err := k.spki(p.session, pub)
	if err != nil {
		return "", err
	}
	want, ciphertext, err := k.encapsulateOutside(spki)
	if err != nil {
		return "", err
	}
	got, err := p.decapsulateSecret(priv, ciphertext)
	return "", exact(got, want, err)
}

// tryECDH agrees with a key of the standard library. The secret is readable, because KMS's
// DeriveSharedSecret hands it out.
func tryECDH(p *prober) (string, error) {
	pub, priv, err := p.curvePair(pkcs11.CKM_EC_KEY_PAIR_GEN, unhex(probeCurves[0].oid), privateUse(useDerive))
	if err != nil {
		return "", err
	}
	point, err := p.point(pub)
	if err != nil {
		return "", err
	}
	public, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return "", err
	}
	peer, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	want, err := peer.ECDH(public)
	if err != nil {
		return "", err
	}
	got, err := p.agree(priv, peer.PublicKey().Bytes())
	if err != nil {
		return "", err
	}
	defer clear(got)
	if !bytes.Equal(got, want) {
		return "", errors.New("the token agrees on another secret")
	}
	return "", nil
}

// agree derives a readable secret with a peer's raw point.
func (p *prober) agree(private object, point []byte) ([]byte, error) {
	params := pkcs11.NewECDH1DeriveParams(pkcs11.CKD_NULL, nil, point)
	o, err := p.keep(p.deriveKey(pkcs11.CKM_ECDH1_DERIVE, params, private, []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
	}))
	if err != nil {
		return nil, err
	}
	got, err := p.attributes(o, pkcs11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	return got[0], nil
}
