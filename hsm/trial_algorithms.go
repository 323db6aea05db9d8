package hsm

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
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
	data, err := g.input(k, SignInput{Message: checkLabel})
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
	right := t.verify(g.mechanism, g.parameters(), public, data, raw)
	raw[len(raw)-1] ^= 1
	wrong := t.verify(g.mechanism, g.parameters(), public, data, raw)
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

// agreement agrees with a new key of the standard library.
func (t *trial) agreement(private object, spki []byte) error {
	ec, ok := t.row.pair.(ecKind)
	if !ok || ec.ecdh == nil {
		return errNotExact
	}
	point, err := ec.point(spki)
	if err != nil {
		return err
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
