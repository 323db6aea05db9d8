package hsm

import (
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// An importing is one import in one session. Its objects end with it.
type importing struct {
	*session
	parcel
	loaded *loaded
	where  placement // of a private key: leaving, or resident
	// version is that of the domain key to wrap with.
	version uint32

	// put makes an object of the material, which the token unwraps. It is nil if the material was
	// unwrapped outside: then it is known.
	put   func(template []*attribute) (object, error)
	known []byte
}

// run does the import, and wipes and destroys whatever it had to make.
func (i *importing) run() (m kms.Material, err error) {
	end, err := i.unpack()
	defer func() {
		clear(i.known)
		if e := end(); e != nil && err == nil {
			m, err = kms.Material{}, e
		}
	}()
	if err != nil {
		return kms.Material{}, err
	}
	if i.row.pair != nil {
		return i.private()
	}
	return i.secret()
}

// unpack brings the private half of the pair into the token, with it the AES key if there is one,
// and sets put or known. end destroys them and is never nil.
func (i *importing) unpack() (end func() error, err error) {
	var made []object
	end = func() (err error) {
		for _, o := range made {
			err = errors.Join(err, i.destroyObject(o))
		}
		return err
	}
	outside := i.loaded.abilities.imports[i.wrapping.oaep].outside
	u := useUnwrap
	if outside {
		u = useDecrypt
	}
	key, err := i.unwrapPair(u)
	if err != nil {
		return end, err
	}
	made = append(made, key)
	unwrap := func(template []*attribute) (object, error) {
		return i.unwrapKey(pkcs11.CKM_RSA_PKCS_OAEP, i.wrapping.oaep.params(), key, i.oaep, template)
	}
	if outside {
		// The token lacks the hash: it does the RSA step, and what comes out, the material or the
		// AES key that wraps it, is in this process until it is back in the token. It is wiped.
		if i.known, err = i.wrapping.oaep.decryptOutside(i.session, i.pairKind, key, i.oaep); err != nil {
			return end, err
		}
		unwrap = nil
	}
	if !i.wrapping.twoSteps {
		i.put = unwrap
		return end, nil
	}
	aes, err := i.ephemeral(unwrap)
	if err != nil {
		return end, err
	}
	made = append(made, aes)
	mech, err := i.loaded.wraps.mechanism(kms.AESKeyWrapPad)
	if err != nil {
		return end, err
	}
	i.put = func(template []*attribute) (object, error) {
		return i.unwrapKey(mech, nil, aes, i.rest, template)
	}
	return end, nil
}

// unwrapPair brings the pair's private half in for one use.
func (i *importing) unwrapPair(u use) (object, error) {
	domain, err := i.loaded.key(kms.RoleWrap, i.request.Pair.DomainKey)
	if err != nil {
		return 0, err
	}
	mech, err := i.loaded.wraps.mechanism(i.request.Pair.Wrap)
	if err != nil {
		return 0, err
	}
	o, err := i.unwrapKey(mech, nil, domain.object, i.request.Pair.Blob, privateTemplate(i.pairKind, inUse, u))
	if err != nil {
		return 0, err
	}
	return i.hardenPrivate(i.pairKind, o, u)
}

// ephemeral is the AES key of the first of two steps.
func (i *importing) ephemeral(unwrap func([]*attribute) (object, error)) (o object, err error) {
	if unwrap != nil {
		if o, err = unwrap(ephemeralKind.template(inUse)); declined(err) {
			return 0, ErrBadCiphertext
		}
	} else {
		key := i.known
		i.known = nil
		defer clear(key)
		switch len(key) {
		case 16, 24, 32:
			o, err = i.createObject(ephemeralKind.known(inUse, key))
		default:
			return 0, ErrBadCiphertext
		}
	}
	if err != nil {
		return 0, err
	}
	return i.harden(o)
}

// declined says that a token did not unwrap something because of what it is. Tokens have codes of
// their own for that, so whatever does not say that the token failed counts.
func declined(err error) bool {
	if isCode(err, pkcs11.CKR_HOST_MEMORY) || isCode(err, pkcs11.CKR_DEVICE_MEMORY) {
		return false
	}
	var e *Error
	return errors.As(err, &e) && (e.class == classInternal || e.class == classUnsupported || e.class == classBadInput)
}

// useless says that a token cannot work with a key that it has just taken in: it declines, or does not
// know the key's handle, as NSS 3.132 says of an RSA key that it unwrapped as one of a curve.
func useless(err error) bool { return declined(err) || classOf(err) == classHandleLost }

// whyRefused turns the refusal of put into what is wrong: if the material can be unwrapped as a
// string of bytes it is not what it should be, else the wrapping is wrong. The first step and the
// second fail alike.
func (i *importing) whyRefused(err error) error {
	if !declined(err) {
		return err
	}
	o, e := i.put(openKind.template(inUse))
	switch {
	case declined(e):
		return ErrBadCiphertext
	case e != nil:
		return e
	}
	return errors.Join(badMaterial(i.row), i.destroyObject(o))
}

func badMaterial(k *keySpec) error { return fmt.Errorf("%w of spec %s", ErrBadMaterial, k.spec) }

// learn makes the material known: the token unwraps it as something that may be read, from where it
// goes back into the token in another way. This is for what a token cannot take in unseen: see
// Config.ForbidPaddingOutside. run wipes it.
func (i *importing) learn() (err error) {
	if i.known != nil {
		return nil
	}
	if i.loaded.conn.token.config.ForbidPaddingOutside {
		return fmt.Errorf("%w: C_UnwrapKey of this material of spec %s by %s", ErrUnsupported, i.row.spec, i.wrapping.algorithm)
	}
	o, err := i.put(openKind.template(given))
	if declined(err) {
		return ErrBadCiphertext
	}
	if err != nil {
		return err
	}
	got, err := i.attributes(o, pkcs11.CKA_VALUE)
	if err = errors.Join(err, i.destroyObject(o)); err != nil {
		return err
	}
	i.known = got[0]
	return nil
}

// wrap wraps an object that may leave under the domain key, and destroys it.
func (i *importing) wrap(o object, algorithm kms.WrapAlgorithm) (blob []byte, err error) {
	defer func() { err = errors.Join(err, i.destroyObject(o)) }()
	domain, err := i.loaded.key(kms.RoleWrap, i.version)
	if err != nil {
		return nil, err
	}
	mech, err := i.loaded.wraps.mechanism(algorithm)
	if err != nil {
		return nil, err
	}
	return i.wrapKey(mech, nil, domain.object, o)
}

// unwrapped runs fn with an object made of what is going to be stored, so that nothing is stored
// that cannot be used.
func (i *importing) unwrapped(m *kms.Material, template []*attribute, fn func(object) error) (err error) {
	domain, err := i.loaded.key(kms.RoleWrap, m.DomainKey)
	if err != nil {
		return err
	}
	mech, err := i.loaded.wraps.mechanism(m.Wrap)
	if err != nil {
		return err
	}
	o, err := i.unwrapKey(mech, nil, domain.object, m.Blob, template)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.destroyObject(o)) }()
	return fn(o)
}
