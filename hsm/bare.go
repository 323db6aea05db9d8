package hsm

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/kms11/kms11/kms"
)

// A Bare is one session of a token with one session key: the calls that a Domain makes for a
// message, with the same library, object flags and crossing into C, and nothing around them: no
// lanes, cache, derivation, retry or recovery. Benchmarks hold the rest of the program against it.
// It is not for concurrent use and lasts as long as its token stays up.
type Bare struct {
	session *session
	spec    *keySpec
	key     object
	iv      [ivSize]byte
	calls   uint64
}

// OpenBare makes a key of the spec, for signing or for AES-GCM, as a session object that cannot
// leave the token.
func OpenBare(_ context.Context, t *Token, spec kms.KeySpec) (*Bare, error) {
	row, err := rowOf(spec)
	if err != nil {
		return nil, err
	}
	c, err := t.current()
	if err != nil {
		return nil, err
	}
	b := &Bare{session: &session{conn: c}, spec: row}
	if err := b.session.open(); err != nil {
		return nil, err
	}
	if b.key, err = b.makeKey(); err != nil {
		_ = b.session.close() // the error that led here is the one to report
		return nil, fmt.Errorf("make a %s: %w", spec, err)
	}
	return b, nil
}

// Resting is a Bare of the same session with an AES key that rests in the token under a name and is used by a
// copy, as an ObjectKey is. Only one of those that share a session makes calls at a time.
func (b *Bare) Resting(name string) (*Bare, error) {
	o, err := b.session.generateObjectKey(URI{Object: name})
	if err != nil {
		return nil, err
	}
	used, err := b.session.sessionCopy(o, func(c object) (object, error) { return b.session.harden(c) })
	return &Bare{session: b.session, spec: b.spec, key: used}, err
}

func (b *Bare) makeKey() (object, error) {
	if b.spec.pair == nil {
		kind := messageKeyKind
		if !b.spec.derives {
			kind = b.spec.secret(nil)
		}
		key, err := b.session.generateKey(kind.generate, kind.sized(inUse))
		if err != nil {
			return 0, err
		}
		return b.session.harden(key)
	}
	var err error
	for _, name := range b.spec.pair.names() {
		var key object
		if _, key, err = b.session.generatePair(b.spec.pair, name, inUse, useSign); err == nil {
			return b.session.hardenPrivate(b.spec.pair, key, useSign)
		}
	}
	return 0, err
}

// Encrypt is AES-GCM with an IV of its own: the answer is IV, ciphertext and tag.
func (b *Bare) Encrypt(plaintext []byte) ([]byte, error) {
	b.calls++
	binary.BigEndian.PutUint64(b.iv[ivSize-8:], b.calls)
	sealed, err := b.session.sealGCM(b.key, b.iv[:], nil, plaintext)
	if err != nil {
		return nil, err
	}
	return append(b.iv[:len(b.iv):len(b.iv)], sealed...), nil
}

// Decrypt opens what Encrypt made.
func (b *Bare) Decrypt(sealed []byte) ([]byte, error) {
	if len(sealed) < ivSize+tagSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrBadCiphertext, len(sealed))
	}
	return b.session.openGCM(b.key, sealed[:ivSize], nil, sealed[ivSize:])
}

// Random gives n random bytes of the token.
func (b *Bare) Random(n int) ([]byte, error) { return b.session.random(n) }

// Sign signs a message, as Domain.Sign does.
func (b *Bare) Sign(algorithm kms.SigningAlgorithmSpec, message []byte) ([]byte, error) {
	k, g, data, err := signed(nil, b.spec.spec, algorithm, SignInput{Message: message})
	if err != nil {
		return nil, err
	}
	return g.sign(b.session, k.pair, b.key, data)
}

// MAC makes an HMAC, as Domain.GenerateMac does.
func (b *Bare) MAC(algorithm kms.MacAlgorithmSpec, message []byte) ([]byte, error) {
	a, ok := macOf(func(a *macAlgorithm) bool { return a.algorithm == algorithm })
	if !ok {
		return nil, fmt.Errorf("%w: MAC algorithm %s", ErrUnsupported, algorithm)
	}
	return b.session.sign(a.mechanism, nil, b.key, message)
}
