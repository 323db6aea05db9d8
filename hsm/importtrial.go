package hsm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// An importAbility is what a token does of RSAES-OAEP with one hash when it unwraps.
type importAbility struct {
	err     error // why nothing can be imported this way
	outside bool  // it does the RSA step only: the padding is taken off outside
	private bool  // it takes a private key straight from OAEP
}

// tryImports finds out by which way wrapped material comes in, with pairs that are known or thrown
// away.
func tryImports(t *trial) (map[*encryption]importAbility, error) {
	found := map[*encryption]importAbility{}
	for n := range encryptions {
		e := &encryptions[n]
		a, err := t.importing(e)
		if lost(err) {
			return nil, err
		}
		a.err = err
		found[e] = a
	}
	return found, nil
}

func (t *trial) importing(e *encryption) (a importAbility, err error) {
	kind, ok := t.row.pair.(rsaKind)
	if !ok {
		return a, errors.New("not a row of RSA")
	}
	private, spki, err := t.bear(useUnwrap)
	if err != nil {
		return a, err
	}
	public, err := kind.parse(spki)
	if err != nil {
		return a, err
	}
	material := unhex(wrapCandidates[0].tests[0].key) // a public test vector
	sealed, err := rsa.EncryptOAEP(e.hash.New(), rand.Reader, public, material, nil)
	if err != nil {
		return a, err
	}
	o, err := t.keep(t.unwrapKey(pkcs11.CKM_RSA_PKCS_OAEP, e.params(), private, sealed, macKind.template(inUse)))
	var got []byte
	if err == nil {
		got, err = t.sign(pkcs11.CKM_SHA256_HMAC, nil, o, checkLabel)
	}
	if err = exact(got, hmacSHA256(material, checkLabel), err); err == nil {
		a.private, err = t.privateByOAEP(e, public, private)
		return a, err
	}
	if lost(err) {
		return a, err
	}
	if t.forbidOutside {
		return a, fmt.Errorf("%s with %s: %w", mechanismName(pkcs11.CKM_RSA_PKCS_OAEP), e.hash, err)
	}
	if private, spki, err = t.bear(useDecrypt); err != nil {
		return a, err
	}
	if public, err = kind.parse(spki); err != nil {
		return a, err
	}
	if sealed, err = rsa.EncryptOAEP(e.hash.New(), rand.Reader, public, material, nil); err != nil {
		return a, err
	}
	a.outside = true
	got, err = e.decryptOutside(t.session, kind, private, sealed)
	return a, exact(got, material, err)
}

// privateByOAEP says whether a private key can be unwrapped straight from OAEP.
func (t *trial) privateByOAEP(e *encryption, public *rsa.PublicKey, private object) (bool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // protects nothing
	if err != nil {
		return false, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return false, err
	}
	sealed, err := rsa.EncryptOAEP(e.hash.New(), rand.Reader, public, der, nil)
	if err != nil {
		return false, err
	}
	k := ecKind{p256}
	o, err := t.keep(t.unwrapKey(pkcs11.CKM_RSA_PKCS_OAEP, e.params(), private, sealed, privateTemplate(k, inUse, useSign)))
	if err != nil {
		if lost(err) {
			return false, err
		}
		return false, nil
	}
	_, err = t.hardenPrivate(k, o, useSign)
	if lost(err) {
		return false, err
	}
	return err == nil, nil
}
