package hsm

import (
	"context"
	"crypto/mlkem"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// secretSize is the length of the shared secret of every parameter set of ML-KEM (FIPS 203, table 3).
const secretSize = 32

// kemSecretKind is a shared secret, which is read and handed out.
var kemSecretKind = secretKind{pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_GENERIC_SECRET_KEY_GEN, secretSize, 0}

const mlKEMAlgorithm = string(kms.EncapsulationAlgorithmSpecMlKem)

func kemOf(spec kms.KeySpec) (*keySpec, mlKEMKind, error) {
	k, err := pairOf(spec)
	if err != nil {
		return nil, mlKEMKind{}, err
	}
	kind, ok := k.pair.(mlKEMKind)
	if !ok {
		return nil, mlKEMKind{}, fmt.Errorf("%w: %s with a key of spec %s", ErrUnsupported, mlKEMAlgorithm, spec)
	}
	return k, kind, nil
}

// Encapsulate makes a shared secret of 32 bytes for the holder of m, and the ciphertext that carries
// it (ML-KEM.Encaps, FIPS 203, section 7.2). It needs the public half only: the token does it if it
// can, unless Config.PublicOutside is set; else the standard library does, which has ML-KEM-768 and
// ML-KEM-1024. Both are the caller's to hand out, and the secret to wipe.
func (d *Domain) Encapsulate(ctx context.Context, m *kms.Material, spec kms.KeySpec) (secret, ciphertext []byte, err error) {
	k, kind, err := kemOf(spec)
	if err != nil {
		return nil, nil, err
	}
	if d.publicOutside() && kind.known() {
		return kind.encapsulateOutside(m.PublicKey)
	}
	err = d.use(ctx, func(l *loaded) error {
		if err := l.abilities.can(spec, mlKEMAlgorithm); err != nil {
			return err
		}
		if !l.abilities.public(spec, mlKEMAlgorithm) {
			secret, ciphertext, err = kind.encapsulateOutside(m.PublicKey)
			return err
		}
		key, err := l.publicKey(ctx, m, k, useEncapsulate)
		if err != nil {
			return err
		}
		defer l.cache.release(key)
		return l.conn.do(ctx, k.lane, func(s *session) (err error) {
			secret, ciphertext, err = s.encapsulateSecret(kind, key.handle)
			return err
		})
	})
	return secret, ciphertext, err
}

// Decapsulate gives the shared secret that a ciphertext carries for m. A ciphertext of the wrong length
// gives an error that matches ErrBadCiphertext; any other that was not made for m gives a secret that
// nobody else has (implicit rejection, FIPS 203, section 6.3). The secret is the caller's to wipe.
func (d *Domain) Decapsulate(ctx context.Context, m *kms.Material, spec kms.KeySpec, ciphertext []byte) ([]byte, error) {
	k, kind, err := kemOf(spec)
	if err != nil {
		return nil, err
	}
	if len(ciphertext) != kind.answer {
		return nil, fmt.Errorf("%w: %d bytes, not %d", ErrBadCiphertext, len(ciphertext), kind.answer)
	}
	var secret []byte
	err = d.withPrivate(ctx, m, k, useDecapsulate, mlKEMAlgorithm, func(l *loaded, key object) error {
		return l.conn.do(ctx, k.lane, func(s *session) (err error) {
			secret, err = s.decapsulateSecret(key, ciphertext)
			return err
		})
	})
	return secret, err
}

// known says whether the standard library has the parameter set.
func (k mlKEMKind) known() bool { return k.lattice != mlKEM512 }

// encapsulateOutside is the standard library's. Its errors match ErrUnsupported for a parameter set
// that it does not have.
func (k mlKEMKind) encapsulateOutside(spki []byte) (secret, ciphertext []byte, err error) {
	value, err := k.value(spki)
	if err != nil {
		return nil, nil, err
	}
	switch k.lattice {
	case mlKEM768:
		key, err := mlkem.NewEncapsulationKey768(value)
		if err != nil {
			return nil, nil, errPublicForm
		}
		secret, ciphertext = key.Encapsulate()
	case mlKEM1024:
		key, err := mlkem.NewEncapsulationKey1024(value)
		if err != nil {
			return nil, nil, errPublicForm
		}
		secret, ciphertext = key.Encapsulate()
	default:
		return nil, nil, fmt.Errorf("%w: C_EncapsulateKey with %s", ErrUnsupported, mechanismName(ckmMLKEM))
	}
	return secret, ciphertext, nil
}

func (s *session) encapsulateSecret(k mlKEMKind, public object) (secret, ciphertext []byte, err error) {
	o, ciphertext, err := s.encapsulate(ckmMLKEM, public, k.answer, kemSecretKind.sized(given))
	if err != nil {
		return nil, nil, err
	}
	secret, err = s.readOut(o, secretSize)
	return secret, ciphertext, err
}

func (s *session) decapsulateSecret(private object, ciphertext []byte) ([]byte, error) {
	o, err := s.decapsulate(ckmMLKEM, private, ciphertext, kemSecretKind.sized(given))
	if err != nil {
		return nil, err
	}
	return s.readOut(o, secretSize)
}

// readOut reads a secret that was made to be handed out and destroys its object. The slice given
// here is the only copy.
func (s *session) readOut(o object, size int) (secret []byte, err error) {
	defer func() {
		if e := s.destroyObject(o); e != nil && err == nil {
			clear(secret)
			secret, err = nil, e
		}
	}()
	got, err := s.attributes(o, pkcs11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	if len(got[0]) == size {
		return got[0], nil
	}
	defer clear(got[0])
	secret = make([]byte, size)
	if err := fill(secret, got[0]); err != nil {
		return nil, err
	}
	return secret, nil
}
