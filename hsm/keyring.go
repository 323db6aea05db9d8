package hsm

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kms11/kms11/kms"
)

// A keyring is the symmetric encryption keys of a domain, or of a vault, on one conn: their handles
// and the runs of their message keys.
type keyring struct {
	conn   *conn
	cache  *cache
	direct *directCounts
	// bring gives the object of a material for its entry. It is fit for kind's use alone and cannot leave.
	bring func(ctx context.Context, e *entry, m *kms.Material, kind secretKind) (object, error)
}

// seal encrypts one message under m. bind gives the additional authenticated data for its nonce, and text
// the message: it may run several times, and must give the same each time, since the IV is the same.
func (r *keyring) seal(ctx context.Context, m *kms.Material, sc *scheme, bind func(nonce []byte) []byte, text func(*session) ([]byte, error)) (sealed Sealed, err error) {
	t, err := r.ticket(ctx, m, sc)
	if err != nil {
		return Sealed{}, err
	}
	defer r.cache.release(t.key)
	aad := bind(t.nonce)
	err = r.conn.do(ctx, laneShort, func(s *session) error {
		plaintext, err := text(s)
		if err != nil {
			return err
		}
		both := make([]byte, ivSize+len(plaintext)+tagSize)
		iv, out := both[:ivSize:ivSize], both[ivSize:]
		copy(iv, t.iv[:])
		if out, err = s.gcm(&opEncrypt, t.key.handle, iv, aad, plaintext, out); err == nil {
			sealed = Sealed{Nonce: t.nonce, IV: iv, Ciphertext: out}
		}
		return err
	})
	return sealed, err
}

// known is the text of a message that is there already.
func known(plaintext []byte) func(*session) ([]byte, error) {
	return func(*session) ([]byte, error) { return plaintext, nil }
}

// open decrypts what seal made, and what fits the scheme.
func (r *keyring) open(ctx context.Context, m *kms.Material, sc *scheme, sealed Sealed, aad []byte) (plaintext []byte, err error) {
	key, fresh, err := r.messageKey(ctx, m, sc, sealed.Nonce)
	if err != nil {
		return nil, err
	}
	defer r.cache.release(key)
	err = r.conn.do(ctx, laneShort, func(s *session) (err error) {
		plaintext, err = s.openGCM(key.handle, sealed.IV, aad, sealed.Ciphertext)
		return err
	})
	if fresh && sc.derive != nil && errors.Is(err, ErrBadCiphertext) {
		// A forger must not fill the cache with keys of nonces that nobody made.
		r.cache.drop(func(k handleKey) bool { return k == key.key })
	}
	return plaintext, err
}

// ticket gives a message key of m and an IV for one message.
func (r *keyring) ticket(ctx context.Context, m *kms.Material, sc *scheme) (ticket, error) {
	token := r.conn.token
	limit := uint64(token.config.RunMessages)
	switch {
	case sc.derive == nil:
		return r.directTicket(ctx, m, sc)
	case limit == 1:
		return r.singleTicket(ctx, m, sc)
	}
	if t, ok := r.cache.next(m.ID, limit, token.since()); ok {
		return t, nil
	}
	done, err := r.cache.start(ctx)
	if err != nil {
		return ticket{}, err
	}
	defer done()
	for {
		if t, ok := r.cache.next(m.ID, limit, token.since()); ok {
			return t, nil
		}
		if t, ok, err := r.renew(ctx, m, sc, limit); ok || err != nil {
			return t, err
		}
	}
}

// renew begins a run of m, or derives the key of the present one again, and takes its next
// message. ok is false if others took all of them meanwhile.
func (r *keyring) renew(ctx context.Context, m *kms.Material, sc *scheme, limit uint64) (t ticket, ok bool, err error) {
	base, err := r.material(ctx, m, sc)
	if err != nil {
		return ticket{}, false, err
	}
	defer r.cache.release(base)
	token := r.conn.token
	nonce := r.cache.pending(base, limit, token.since())
	if nonce == nil {
		if nonce, err = r.random(ctx, sc.nonce); err != nil {
			return ticket{}, false, err
		}
		r.cache.begin(base, nonce, token.since()+int64(time.Duration(token.config.RunSeconds)*time.Second))
	}
	key, _, err := r.messageKey(ctx, m, sc, nonce)
	if err != nil {
		return ticket{}, false, err
	}
	defer r.cache.release(key)
	t, ok = r.cache.join(base, key, nonce, limit)
	return t, ok, nil
}

// singleTicket derives a key for one message, destroyed after it.
func (r *keyring) singleTicket(ctx context.Context, m *kms.Material, sc *scheme) (ticket, error) {
	base, err := r.material(ctx, m, sc)
	if err != nil {
		return ticket{}, err
	}
	defer r.cache.release(base)
	nonce, err := r.random(ctx, sc.nonce)
	if err != nil {
		return ticket{}, err
	}
	o, err := r.derive(ctx, base, sc, nonce)
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

func (r *keyring) directTicket(ctx context.Context, m *kms.Material, sc *scheme) (ticket, error) {
	if err := r.direct.take(m.ID); err != nil {
		return ticket{}, err
	}
	key, err := r.material(ctx, m, sc)
	if err != nil {
		return ticket{}, err
	}
	t := ticket{key: key}
	_, _ = rand.Read(t.iv[:]) // crypto/rand never fails
	return t, nil
}

// material gives m's object, with a reference.
func (r *keyring) material(ctx context.Context, m *kms.Material, sc *scheme) (*entry, error) {
	e, _, err := r.cache.get(ctx, handleKey{material: m.ID}, func(e *entry) (object, error) {
		return r.bring(ctx, e, m, sc.material)
	})
	return e, err
}

// messageKey gives the key that nonce names, with a reference.
func (r *keyring) messageKey(ctx context.Context, m *kms.Material, sc *scheme, nonce []byte) (e *entry, fresh bool, err error) {
	if sc.derive == nil {
		e, err = r.material(ctx, m, sc)
		return e, false, err
	}
	key := handleKey{material: m.ID, derived: true}
	copy(key.nonce[:], nonce)
	return r.cache.get(ctx, key, func(*entry) (object, error) {
		base, err := r.material(ctx, m, sc)
		if err != nil {
			return 0, err
		}
		defer r.cache.release(base)
		return r.derive(ctx, base, sc, nonce)
	})
}

func (r *keyring) derive(ctx context.Context, base *entry, sc *scheme, nonce []byte) (o object, err error) {
	err = r.conn.do(ctx, laneHold, func(s *session) error {
		if o, err = sc.derive(s, base.handle, nonce, messageKeyKind); err != nil {
			return err
		}
		o, err = s.harden(o)
		return err
	})
	return o, err
}

func (r *keyring) random(ctx context.Context, n int) (b []byte, err error) {
	err = r.conn.do(ctx, laneShort, func(s *session) error {
		b, err = s.random(n)
		return err
	})
	return b, err
}
