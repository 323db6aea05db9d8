package hsm

import (
	"context"
	"fmt"

	"github.com/kms11/kms11/kms"
)

// Sealed is one encrypted message.
type Sealed struct {
	Nonce      []byte // names the message key; its length is the scheme's: 15, 16 or 0. Read only
	IV         []byte // 12 bytes
	Ciphertext []byte // ends in the 16-byte tag
}

// Encrypt encrypts plaintext under m with AES-256-GCM in the token, under the message key of m's
// present run.
func (d *Domain) Encrypt(ctx context.Context, m *kms.Material, aad, plaintext []byte) (Sealed, error) {
	return d.EncryptBound(ctx, m, func([]byte) []byte { return aad }, plaintext)
}

// EncryptBound is Encrypt with additional authenticated data that depend on the nonce. bind may be
// called more than once; it must not keep the nonce.
func (d *Domain) EncryptBound(ctx context.Context, m *kms.Material, bind func(nonce []byte) []byte, plaintext []byte) (Sealed, error) {
	return d.encrypt(ctx, m, bind, known(plaintext))
}

// EncryptRandom is Encrypt of n bytes, 1 to 65536, from the token's generator, which it gives: a data key.
// Both calls are made in one turn of a session. On an error nothing of the bytes is left.
func (d *Domain) EncryptRandom(ctx context.Context, m *kms.Material, aad []byte, n int) (plaintext []byte, sealed Sealed, err error) {
	if n < 1 || n > maxRandom {
		return nil, Sealed{}, fmt.Errorf("%d random bytes: not 1 to %d", n, maxRandom)
	}
	sealed, err = d.encrypt(ctx, m, func([]byte) []byte { return aad }, drawn(&plaintext, n))
	if err != nil {
		clear(plaintext)
		return nil, Sealed{}, err
	}
	return plaintext, sealed, nil
}

// drawn is a text of n bytes from the token's generator. When it is asked for again it is the same: a repeated
// encryption has the same key and IV, under which AES-GCM must not see two texts.
func drawn(plaintext *[]byte, n int) func(*session) ([]byte, error) {
	return func(s *session) (_ []byte, err error) {
		if *plaintext == nil {
			if *plaintext, err = s.random(n); err == nil {
				s.again()
			}
		}
		return *plaintext, err
	}
}

// encrypt encrypts the text of a message: see keyring.seal.
func (d *Domain) encrypt(ctx context.Context, m *kms.Material, bind func(nonce []byte) []byte, text func(*session) ([]byte, error)) (sealed Sealed, err error) {
	sc, err := schemeOf(m.Scheme)
	if err != nil {
		return Sealed{}, err
	}
	err = d.use(ctx, func(l *loaded) (err error) {
		sealed, err = l.seal(ctx, m, sc, bind, text)
		return err
	})
	return sealed, err
}

// Decrypt opens what Encrypt made under m with the same aad. A ciphertext that was not made so,
// or cannot have been, gives an error that matches ErrBadCiphertext.
func (d *Domain) Decrypt(ctx context.Context, m *kms.Material, sealed Sealed, aad []byte) ([]byte, error) {
	sc, err := schemeOf(m.Scheme)
	if err != nil {
		return nil, err
	}
	if err := sealed.fits(sc); err != nil {
		return nil, err
	}
	var plaintext []byte
	err = d.use(ctx, func(l *loaded) (err error) {
		plaintext, err = l.open(ctx, m, sc, sealed, aad)
		return err
	})
	return plaintext, err
}

// fits refuses what a scheme cannot have made.
func (s Sealed) fits(sc *scheme) error {
	if len(s.Nonce) != sc.nonce || len(s.IV) != ivSize || len(s.Ciphertext) < tagSize {
		return fmt.Errorf("%w: impossible length", ErrBadCiphertext)
	}
	return nil
}
