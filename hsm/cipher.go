package hsm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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
	sc, err := schemeOf(m.Scheme)
	if err != nil {
		return Sealed{}, err
	}
	var sealed Sealed
	err = d.use(ctx, func(l *loaded) error {
		t, err := l.ticket(ctx, m, sc)
		if err != nil {
			return err
		}
		defer l.cache.release(t.key)
		iv, aad := t.iv[:], bind(t.nonce)
		return l.conn.do(ctx, laneShort, func(s *session) error {
			out, err := s.sealGCM(t.key.handle, iv, aad, plaintext)
			if err == nil {
				sealed = Sealed{Nonce: t.nonce, IV: iv, Ciphertext: out}
			}
			return err
		})
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
	if len(sealed.Nonce) != sc.nonce || len(sealed.IV) != ivSize || len(sealed.Ciphertext) < tagSize {
		return nil, fmt.Errorf("%w: impossible length", ErrBadCiphertext)
	}
	var plaintext []byte
	err = d.use(ctx, func(l *loaded) error {
		key, fresh, err := l.messageKey(ctx, m, sc, sealed.Nonce)
		if err != nil {
			return err
		}
		defer l.cache.release(key)
		err = l.conn.do(ctx, laneShort, func(s *session) (err error) {
			plaintext, err = s.openGCM(key.handle, sealed.IV, aad, sealed.Ciphertext)
			return err
		})
		if fresh && sc.derive != nil && errors.Is(err, ErrBadCiphertext) {
			// A forger must not fill the cache with keys of nonces that nobody made.
			l.cache.drop(func(k handleKey) bool { return k == key.key })
		}
		return err
	})
	return plaintext, err
}

// ticket gives a message key of m and an IV for one message.
func (l *loaded) ticket(ctx context.Context, m *kms.Material, sc *scheme) (ticket, error) {
	limit := uint64(l.conn.token.config.RunMessages)
	switch {
	case sc.derive == nil:
		return l.directTicket(ctx, m, sc)
	case limit == 1:
		return l.singleTicket(ctx, m, sc)
	}
	if t, ok := l.cache.next(m.ID, limit, time.Now()); ok {
		return t, nil
	}
	done, err := l.cache.start(ctx)
	if err != nil {
		return ticket{}, err
	}
	defer done()
	for {
		if t, ok := l.cache.next(m.ID, limit, time.Now()); ok {
			return t, nil
		}
		if t, ok, err := l.renew(ctx, m, sc, limit); ok || err != nil {
			return t, err
		}
	}
}

// renew begins a run of m, or derives the key of the present one again, and takes its next
// message. ok is false if others took all of them meanwhile.
func (l *loaded) renew(ctx context.Context, m *kms.Material, sc *scheme, limit uint64) (t ticket, ok bool, err error) {
	base, err := l.material(ctx, m, sc)
	if err != nil {
		return ticket{}, false, err
	}
	defer l.cache.release(base)
	nonce := l.cache.pending(base, limit, time.Now())
	if nonce == nil {
		if nonce, err = l.random(ctx, sc.nonce); err != nil {
			return ticket{}, false, err
		}
		l.cache.begin(base, nonce, time.Now().Add(time.Duration(l.conn.token.config.RunSeconds)*time.Second))
	}
	key, _, err := l.messageKey(ctx, m, sc, nonce)
	if err != nil {
		return ticket{}, false, err
	}
	defer l.cache.release(key)
	t, ok = l.cache.join(base, key, nonce, limit)
	return t, ok, nil
}

// singleTicket derives a key for one message, destroyed after it.
func (l *loaded) singleTicket(ctx context.Context, m *kms.Material, sc *scheme) (ticket, error) {
	base, err := l.material(ctx, m, sc)
	if err != nil {
		return ticket{}, err
	}
	defer l.cache.release(base)
	nonce, err := l.random(ctx, sc.nonce)
	if err != nil {
		return ticket{}, err
	}
	o, err := l.derive(ctx, base, sc, nonce)
	if err != nil {
		return ticket{}, err
	}
	t := ticket{key: &entry{handle: o, made: true, gone: true, refs: 1}, nonce: nonce}
	_, _ = rand.Read(t.iv[:]) // crypto/rand never fails
	return t, nil
}

// directLimit is how many messages with random IVs one key may encrypt (SP 800-38D, section 8.3).
const directLimit = 1 << 32

var errExhausted = errors.New("this key has encrypted 2^32 messages in this process, which is the limit of its scheme")

// directCounts counts messages per material of the scheme without derivation, for as long as the
// process lives.
type directCounts struct{ byMaterial sync.Map } // material ID to *atomic.Uint64

func (c *directCounts) take(material string) error {
	n, ok := c.byMaterial.Load(material)
	if !ok {
		n, _ = c.byMaterial.LoadOrStore(material, new(atomic.Uint64))
	}
	if n.(*atomic.Uint64).Add(1) > directLimit {
		return errExhausted
	}
	return nil
}

func (l *loaded) directTicket(ctx context.Context, m *kms.Material, sc *scheme) (ticket, error) {
	if err := l.member.domain.direct.take(m.ID); err != nil {
		return ticket{}, err
	}
	key, err := l.material(ctx, m, sc)
	if err != nil {
		return ticket{}, err
	}
	t := ticket{key: key}
	_, _ = rand.Read(t.iv[:]) // crypto/rand never fails
	return t, nil
}

// material gives m's object, with a reference.
func (l *loaded) material(ctx context.Context, m *kms.Material, sc *scheme) (*entry, error) {
	e, _, err := l.cache.get(ctx, handleKey{material: m.ID}, func() (object, error) {
		return l.unwrap(ctx, m, sc.material)
	})
	return e, err
}

// messageKey gives the key that nonce names, with a reference.
func (l *loaded) messageKey(ctx context.Context, m *kms.Material, sc *scheme, nonce []byte) (e *entry, fresh bool, err error) {
	if sc.derive == nil {
		e, err = l.material(ctx, m, sc)
		return e, false, err
	}
	key := handleKey{material: m.ID, derived: true}
	copy(key.nonce[:], nonce)
	return l.cache.get(ctx, key, func() (object, error) {
		base, err := l.material(ctx, m, sc)
		if err != nil {
			return 0, err
		}
		defer l.cache.release(base)
		return l.derive(ctx, base, sc, nonce)
	})
}

func (l *loaded) derive(ctx context.Context, base *entry, sc *scheme, nonce []byte) (o object, err error) {
	err = l.conn.do(ctx, laneHold, func(s *session) error {
		if o, err = sc.derive(s, base.handle, nonce, messageKeyKind); err != nil {
			return err
		}
		o, err = s.harden(o)
		return err
	})
	return o, err
}

func (l *loaded) random(ctx context.Context, n int) (b []byte, err error) {
	err = l.conn.do(ctx, laneShort, func(s *session) error {
		b, err = s.random(n)
		return err
	})
	return b, err
}
