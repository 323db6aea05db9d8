package hsm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/kms11/kms11/kms"
)

// A Vault is the token of one custom key store. It holds the store's keys as objects of their own,
// and none of a domain's. Its methods may be called by several goroutines at once.
//
// A vanished token comes back as those of a domain do. A key object that somebody deletes with
// another tool is missed within presence, and looked for in the token before ErrKeyGone says so.
type Vault struct {
	token  *Token
	config VaultConfig
	direct directCounts
	// anchored says that the token has had the anchor, so that it must be found again.
	anchored atomic.Bool
	scheme   atomic.Pointer[scheme] // of new keys; nil until the first conn is loaded
}

// VaultConfig says which token, and what proves that its storage is there.
type VaultConfig struct {
	// Config is the token's. The URI's own PIN is not used.
	Config
	PIN PIN
	// Anchor and AnchorLabel are the CKA_ID and CKA_LABEL of an object that the vault keeps in the
	// token: a key that can do nothing. A token that lost its storage answers searches with success
	// and nothing, and the anchor tells that from a key that was deleted.
	Anchor      []byte
	AnchorLabel string
	// Anchored says that the anchor was made earlier: a token without it gives ErrWrongToken.
	// Otherwise it is made where it is missing.
	Anchored bool
}

// OpenVault logs in to the token, once, and finds or makes the anchor. The errors are those of
// OpenToken, ErrLoggedIn where the process uses the token already, ErrWrongToken without the anchor,
// and ErrUnsupported where the token can do none of the schemes.
func OpenVault(ctx context.Context, c VaultConfig) (*Vault, error) {
	c.URI.PINSource, c.URI.pinValue = "", c.PIN
	c.exclusive = true
	token, err := OpenToken(ctx, c.Config)
	if err != nil {
		return nil, err
	}
	v := &Vault{token: token, config: c}
	v.anchored.Store(c.Anchored)
	err = token.join(ctx, v)
	if errors.Is(err, ErrWrongToken) && token.quirks.Reinitialise && token.module.reinitialise() == nil {
		// Its storage may have come back unseen by a library that others kept open.
		err = token.join(ctx, v)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("token %s: %w", c.URI, err), token.Close())
	}
	return v, nil
}

// TokenPresent says why the token that a URI names is not there: ErrNotFound, or an error of its
// library. It does not log in.
func TokenPresent(ctx context.Context, uri URI) (err error) {
	m, err := loadModule(uri.ModulePath, uri.Init)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.release()) }()
	if err := m.gate.enter(ctx); err != nil {
		return err
	}
	defer m.gate.leave()
	_, _, err = m.findSlot(uri)
	return err
}

// Close closes the sessions, and with them the login. The keys stay in the token.
func (v *Vault) Close() error {
	v.token.part(v)
	return v.token.Close()
}

// Down says why the token is down, nil if it is up. A refused PIN is among the reasons: it matches
// ErrPIN and stays.
func (v *Vault) Down() error {
	_, err := v.token.current()
	return err
}

// GenerateKey makes a key in the token. objectID and label become its CKA_ID and CKA_LABEL; an
// object that has both already is what a call that was cut short left, and goes. The caller sets
// Ordinal and Created.
func (v *Vault) GenerateKey(ctx context.Context, objectID []byte, label string) (kms.Material, error) {
	var m kms.Material
	err := v.on(ctx, func(h *shelf) error {
		sc := v.scheme.Load()
		m = kms.Material{Scheme: sc.name, ObjectID: objectID}
		return h.conn.do(ctx, laneHold, func(s *session) (err error) {
			h.conn.resting.Lock()
			defer h.conn.resting.Unlock()
			where := placement{resting: true, id: objectID, label: label}
			if err := s.removeSecrets(where); err != nil {
				return err
			}
			if m.ID, err = s.materialID(); err != nil {
				return err
			}
			o, err := s.generateKey(sc.material.generate, sc.material.sized(where))
			if err != nil {
				return err
			}
			if o, err = s.harden(o); err != nil {
				return err
			}
			h.keep(objectID, o)
			return nil
		})
	})
	if err != nil {
		return kms.Material{}, fmt.Errorf("make a key in %s: %w", v.config.URI, err)
	}
	return m, nil
}

// Encrypt is Domain.Encrypt with a key of the vault. ErrKeyGone: the token does not have it.
func (v *Vault) Encrypt(ctx context.Context, m *kms.Material, aad, plaintext []byte) (sealed Sealed, err error) {
	sc, err := schemeOf(m.Scheme)
	if err != nil {
		return Sealed{}, err
	}
	err = v.use(ctx, m, sc, func(h *shelf) (err error) {
		sealed, err = h.seal(ctx, m, sc, func([]byte) []byte { return aad }, known(plaintext))
		return err
	})
	return sealed, err
}

// Decrypt is Domain.Decrypt with a key of the vault. ErrKeyGone: the token does not have it.
func (v *Vault) Decrypt(ctx context.Context, m *kms.Material, sealed Sealed, aad []byte) (plaintext []byte, err error) {
	sc, err := schemeOf(m.Scheme)
	if err != nil {
		return nil, err
	}
	if err := sealed.fits(sc); err != nil {
		return nil, err
	}
	err = v.use(ctx, m, sc, func(h *shelf) (err error) {
		plaintext, err = h.open(ctx, m, sc, sealed, aad)
		return err
	})
	return plaintext, err
}

// Random gives n bytes, 1 to 65536, from the token's generator.
func (v *Vault) Random(ctx context.Context, n int) (b []byte, err error) {
	if n < 1 || n > maxRandom {
		return nil, fmt.Errorf("%d random bytes: not 1 to %d", n, maxRandom)
	}
	err = v.on(ctx, func(h *shelf) (err error) {
		b, err = h.random(ctx, n)
		return err
	})
	return b, err
}

// Forget drops the cached objects of a key. A call that uses one of them now still ends well.
func (v *Vault) Forget(m *kms.Material) {
	if c := v.token.conn.Load(); c != nil {
		if h := v.shelf(c); h != nil {
			h.forget(m)
		}
	}
}

// Destroy ends a key and its object. That it is gone already is success, if the token is there to
// say so.
func (v *Vault) Destroy(ctx context.Context, m *kms.Material) error {
	return v.on(ctx, func(h *shelf) error {
		h.forget(m)
		return h.conn.do(ctx, laneHold, func(s *session) error {
			h.conn.resting.Lock()
			defer h.conn.resting.Unlock()
			found, err := s.findSecrets(m.ObjectID)
			for _, o := range found {
				err = errors.Join(err, s.destroyObject(o))
			}
			if err != nil || len(found) > 0 {
				return err
			}
			if err := h.absent(s); !errors.Is(err, ErrKeyGone) {
				return err
			}
			return nil
		})
	})
}

// on runs fn with the vault's objects on the present conn, again if they were lost and found anew.
func (v *Vault) on(ctx context.Context, fn func(*shelf) error) error {
	return v.token.with(ctx, func(c *conn) error {
		h := v.shelf(c)
		if h == nil {
			return errors.New("the vault is closed")
		}
		return fn(h)
	})
}

// use runs fn while the token has the object of m.
func (v *Vault) use(ctx context.Context, m *kms.Material, sc *scheme, fn func(*shelf) error) error {
	return v.on(ctx, func(h *shelf) error {
		err := h.check(ctx, m, sc)
		if err == nil {
			err = fn(h)
		}
		if classOf(err) != classHandleLost {
			return err
		}
		// The object went, or something that was made of it: look again, once.
		h.forget(m)
		if err := h.check(ctx, m, sc); err != nil {
			return err
		}
		if err = fn(h); classOf(err) == classHandleLost {
			return h.conn.objectsLost(err)
		}
		return err
	})
}

// shelf gives the vault's objects on c.
func (v *Vault) shelf(c *conn) *shelf {
	if h, ok := c.loaded.Load(v); ok {
		return h.(*shelf)
	}
	return nil
}

// Has says whether the token has the object of a key.
func (v *Vault) Has(ctx context.Context, objectID []byte) (has bool, err error) {
	err = v.on(ctx, func(h *shelf) error {
		return h.conn.do(ctx, laneHold, func(s *session) error {
			h.conn.resting.Lock()
			defer h.conn.resting.Unlock()
			found, err := s.findSecrets(objectID)
			if has = len(found) > 0; has || err != nil {
				return err
			}
			if err := h.absent(s); !errors.Is(err, ErrKeyGone) {
				return err
			}
			return nil
		})
	})
	return has, err
}
