package hsm

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // RSAES_OAEP_SHA_1; OAEP needs no collision resistance of its hash
	"errors"
	"fmt"
	"math/big"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// An encryption is RSAES-OAEP (RFC 8017, section 7.1) with one hash, the same for MGF1, and an
// empty label.
type encryption struct {
	algorithm kms.EncryptionAlgorithmSpec
	hash      crypto.Hash
	ckm, mgf  uint
}

var encryptions = []encryption{
	{kms.EncryptionAlgorithmSpecRsaesOaepSha1, crypto.SHA1, pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1},
	{kms.EncryptionAlgorithmSpecRsaesOaepSha256, crypto.SHA256, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256},
}

func (e *encryption) params() *pkcs11.OAEPParams {
	return pkcs11.NewOAEPParams(e.ckm, e.mgf, pkcs11.CKZ_DATA_SPECIFIED, nil)
}

func encryptionOf(spec kms.KeySpec, algorithm kms.EncryptionAlgorithmSpec) (*keySpec, rsaKind, *encryption, error) {
	k, err := pairOf(spec)
	if err != nil {
		return nil, rsaKind{}, nil, err
	}
	kind, ok := k.pair.(rsaKind)
	for i := range encryptions {
		if ok && encryptions[i].algorithm == algorithm {
			return k, kind, &encryptions[i], nil
		}
	}
	return nil, rsaKind{}, nil, fmt.Errorf("%w: %s with a key of spec %s", ErrUnsupported, algorithm, spec)
}

// EncryptRSA encrypts for the holder of m. plaintext has at most the modulus' size less twice the
// hash's and two bytes. The token does it if it can, unless Config.PublicOutside is set; else the
// standard library does.
func (d *Domain) EncryptRSA(ctx context.Context, m *kms.Material, spec kms.KeySpec, algorithm kms.EncryptionAlgorithmSpec, plaintext []byte) ([]byte, error) {
	k, kind, e, err := encryptionOf(spec, algorithm)
	if err != nil {
		return nil, err
	}
	public, err := kind.parse(m.PublicKey)
	if err != nil {
		return nil, err
	}
	if most := kind.size() - 2*e.hash.Size() - 2; len(plaintext) > most {
		return nil, fmt.Errorf("%s with %s encrypts at most %d bytes, not %d", algorithm, spec, most, len(plaintext))
	}
	outside := func() ([]byte, error) {
		return rsa.EncryptOAEP(e.hash.New(), rand.Reader, public, plaintext, nil)
	}
	if d.publicOutside() {
		return outside()
	}
	var ciphertext []byte
	err = d.use(ctx, func(l *loaded) (err error) {
		if !l.abilities.public(spec, string(algorithm)) {
			ciphertext, err = outside()
			return err
		}
		key, err := l.publicKey(ctx, m, k, useEncrypt)
		if err != nil {
			return err
		}
		defer l.cache.release(key)
		return l.conn.do(ctx, k.lane, func(s *session) (err error) {
			ciphertext, err = s.encrypt(pkcs11.CKM_RSA_PKCS_OAEP, e.params(), key.handle, plaintext)
			return err
		})
	})
	return ciphertext, err
}

// DecryptRSA opens what was encrypted for m. A ciphertext that was not, for whatever reason, gives
// an error that matches ErrBadCiphertext. Where the token does not have the algorithm's hash it
// does the RSA step, and the padding is taken off outside, unless Config.ForbidPaddingOutside is
// set: then the error matches ErrUnsupported.
func (d *Domain) DecryptRSA(ctx context.Context, m *kms.Material, spec kms.KeySpec, algorithm kms.EncryptionAlgorithmSpec, ciphertext []byte) ([]byte, error) {
	k, kind, e, err := encryptionOf(spec, algorithm)
	if err != nil {
		return nil, err
	}
	public, err := kind.parse(m.PublicKey)
	if err != nil {
		return nil, err
	}
	if len(ciphertext) != kind.size() || new(big.Int).SetBytes(ciphertext).Cmp(public.N) >= 0 {
		return nil, fmt.Errorf("%w: impossible length or value", ErrBadCiphertext)
	}
	var plaintext []byte
	err = d.withPrivate(ctx, m, k, useDecrypt, string(algorithm), func(l *loaded, key object) error {
		outside := l.abilities.outside(spec, string(algorithm))
		return l.conn.do(ctx, k.lane, func(s *session) (err error) {
			if outside {
				plaintext, err = e.decryptOutside(s, kind, key, ciphertext)
			} else {
				plaintext, err = s.decrypt(pkcs11.CKM_RSA_PKCS_OAEP, e.params(), key, ciphertext)
			}
			return err
		})
	})
	if errors.Is(err, ErrBadCiphertext) {
		return nil, ErrBadCiphertext // one error for every fault of the padding
	}
	return plaintext, err
}

// decryptOutside has the token do the RSA step and takes the padding off here, which is the
// exception to the rule that nothing secret leaves a token: what leaves is the encoded message,
// whose content the API hands out, and it is wiped.
func (e *encryption) decryptOutside(s *session, kind rsaKind, key object, ciphertext []byte) ([]byte, error) {
	got, err := s.decrypt(pkcs11.CKM_RSA_X_509, nil, key, ciphertext)
	if err != nil {
		return nil, err
	}
	defer clear(got)
	encoded := make([]byte, kind.size())
	if err := fill(encoded, got); err != nil {
		return nil, err
	}
	plaintext, err := decodeOAEP(e.hash, encoded)
	if err != nil {
		return nil, ErrBadCiphertext
	}
	return plaintext, nil
}
