package hsm

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha3"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// mac wraps a known key, unwraps it and compares its MAC.
func (t *trial) mac(algorithm kms.MacAlgorithmSpec) error {
	a, ok := macOf(func(a *macAlgorithm) bool { return a.algorithm == algorithm })
	if !ok {
		return fmt.Errorf("%s is unknown", algorithm)
	}
	kind := t.row.secret(nil)
	key := bytes.Repeat([]byte{0x61}, kind.length)
	o, err := t.keep(t.createObject(kind.known(leaving, key)))
	if err != nil {
		return err
	}
	wrap, err := t.wraps.choose(kind.length)
	if err != nil {
		return err
	}
	o, err = t.roundTripBy(t.wraps[wrap], o, kind.template(inUse))
	if err != nil {
		return err
	}
	want := hmac.New(a.hash.New, key)
	want.Write(checkLabel)
	got, err := t.sign(a.mechanism, nil, o, checkLabel)
	return exact(got, want.Sum(nil), err)
}

// signing signs, verifies with the standard library, and sees whether the token can tell a good
// signature from a bad one.
func (t *trial) signing(algorithm kms.SigningAlgorithmSpec, private, public object, spki []byte) (*algorithmAbility, error) {
	a, k := &algorithmAbility{}, t.row.pair
	g, err := signingOf(algorithm)
	if err != nil {
		return a, err
	}
	data, err := g.input(k, spki, SignInput{Message: checkLabel})
	if err != nil {
		return a, err
	}
	signature, err := g.sign(t.session, k, private, data)
	if err != nil {
		return a, err
	}
	good, known, err := g.outside(k, spki, data, signature)
	if err != nil {
		return a, err
	}
	if known && !good {
		return a, fmt.Errorf("%s: %w", mechanismName(g.mechanism), errNotExact)
	}
	raw, err := g.check(k, spki, signature)
	if err != nil || public == 0 {
		return a, err
	}
	right := t.verify(g.mechanismOn(t.session), g.parameters(), public, data, raw)
	raw[len(raw)-1] ^= 1
	wrong := t.verify(g.mechanismOn(t.session), g.parameters(), public, data, raw)
	a.public = right == nil && errors.Is(wrong, ErrBadSignature)
	if err := errors.Join(right, wrong); lost(err) {
		return a, err
	}
	return a, nil
}

// encryption decrypts what the standard library encrypted, and what the token encrypted.
func (t *trial) encryption(algorithm kms.EncryptionAlgorithmSpec, private, public object, spki []byte) (*algorithmAbility, error) {
	a := &algorithmAbility{}
	_, kind, e, err := encryptionOf(t.row.spec, algorithm)
	if err != nil {
		return a, err
	}
	key, err := kind.parse(spki)
	if err != nil {
		return a, err
	}
	ciphertext, err := rsa.EncryptOAEP(e.hash.New(), rand.Reader, key, checkLabel, nil)
	if err != nil {
		return a, err
	}
	got, err := t.decrypt(pkcs11.CKM_RSA_PKCS_OAEP, e.params(), private, ciphertext)
	if err = exact(got, checkLabel, err); err != nil {
		if lost(err) || t.forbidOutside {
			return a, fmt.Errorf("%s with %s: %w", mechanismName(pkcs11.CKM_RSA_PKCS_OAEP), e.hash, err)
		}
		a.outside = true
		got, err = e.decryptOutside(t.session, kind, private, ciphertext)
		return a, exact(got, checkLabel, err)
	}
	if public == 0 {
		return a, nil
	}
	ciphertext, err = t.encrypt(pkcs11.CKM_RSA_PKCS_OAEP, e.params(), public, checkLabel)
	if err == nil {
		got, err = t.decrypt(pkcs11.CKM_RSA_PKCS_OAEP, e.params(), private, ciphertext)
	}
	if err = exact(got, checkLabel, err); lost(err) {
		return a, err
	}
	a.public = err == nil
	return a, nil
}

// externalMu signs a message representative, which the token has to take for the message's, and sees
// whether the token verifies one too.
func (t *trial) externalMu(private, public object, spki []byte) (verifies bool, err error) {
	g, err := signingOf(kms.SigningAlgorithmSpecMlDsaShake256)
	if err != nil {
		return false, err
	}
	key, err := t.row.pair.(mlDSAKind).value(spki)
	if err != nil {
		return false, err
	}
	mu := messageRepresentative(key, checkLabel)
	signature, err := t.sign(ckmMLDSAExternalMu, g.parameters(), private, mu)
	if err != nil {
		return false, err
	}
	if public == 0 {
		return false, errNotExact // nothing here could tell
	}
	if err := t.verify(g.mechanism, g.parameters(), public, checkLabel, signature); err != nil {
		return false, err
	}
	right := t.verify(ckmMLDSAExternalMu, g.parameters(), public, mu, signature)
	signature[0] ^= 1
	wrong := t.verify(ckmMLDSAExternalMu, g.parameters(), public, mu, signature)
	if err := errors.Join(right, wrong); lost(err) {
		return false, err
	}
	return right == nil && errors.Is(wrong, ErrBadSignature), nil
}

// messageRepresentative is mu of a message with an empty context (FIPS 204, algorithm 7, line 6, and
// algorithm 2).
func messageRepresentative(public, message []byte) []byte {
	h := sha3.NewSHAKE256()
	_, _ = h.Write(sha3.SumSHAKE256(public, muSize)) // a hash does not fail
	_, _ = h.Write([]byte{0, 0})
	_, _ = h.Write(message)
	mu := make([]byte, muSize)
	_, _ = h.Read(mu)
	return mu
}

// encapsulation decapsulates what the standard library encapsulated, and what the token did.
func (t *trial) encapsulation(private, public object, spki []byte) (*algorithmAbility, error) {
	a := &algorithmAbility{}
	k, ok := t.row.pair.(mlKEMKind)
	if !ok {
		return a, errNotExact
	}
	if k.known() {
		want, ciphertext, err := k.encapsulateOutside(spki)
		if err != nil {
			return a, err
		}
		got, err := t.decapsulateSecret(private, ciphertext)
		if err := exact(got, want, err); err != nil {
			return a, err
		}
	}
	if public == 0 {
		if !k.known() {
			return a, fmt.Errorf("no public key of the spec can be put in, and the standard library does not have it")
		}
		return a, nil
	}
	want, ciphertext, err := t.encapsulateSecret(k, public)
	var got []byte
	if err == nil {
		got, err = t.decapsulateSecret(private, ciphertext)
	}
	err = exact(got, want, err)
	a.public = err == nil
	if k.known() && !lost(err) {
		return a, nil
	}
	return a, err
}

// sm2Encryption encrypts and decrypts, which is ECDH twice and once.
func (t *trial) sm2Encryption(_ kms.EncryptionAlgorithmSpec, private, _ object, spki []byte) (*algorithmAbility, error) {
	a := &algorithmAbility{outside: true, public: true}
	if t.forbidOutside {
		return a, fmt.Errorf("%s leaves what is around ECDH to be done outside", sm2Algorithm)
	}
	if err := t.agreement(private, spki); err != nil {
		return a, err
	}
	public, err := sm2Kind.parse(spki)
	if err != nil {
		return a, err
	}
	der, err := t.sealSM2(public, checkLabel)
	if err != nil {
		return a, err
	}
	c, err := parseSM2Cipher(der)
	if err != nil {
		return a, err
	}
	got, err := t.openSM2(private, c)
	return a, exact(got, checkLabel, err)
}

// agreement agrees with a new key of the standard library, or, on a curve that it does not have, with
// the base point, which gives x of the public key.
func (t *trial) agreement(private object, spki []byte) error {
	ec, ok := t.row.pair.(ecKind)
	if !ok || !ec.agrees() {
		return errNotExact
	}
	point, err := ec.point(spki)
	if err != nil {
		return err
	}
	if ec.ecdh == nil {
		base := ec.equation().base()
		got, err := t.session.agree(ec, private, ec.encode(base.x, base.y))
		return exact(got, point[1:1+ec.size], err)
	}
	public, err := ec.ecdh.NewPublicKey(point)
	if err != nil {
		return err
	}
	peer, err := ec.ecdh.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	want, err := peer.ECDH(public)
	if err != nil {
		return err
	}
	got, err := t.session.agree(ec, private, peer.PublicKey().Bytes())
	return exact(got, want, err)
}
