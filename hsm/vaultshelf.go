package hsm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// anchorKind is the anchor of a vault: a key that can do nothing.
var anchorKind = secretKind{pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN, 32, 0}

// A shelf is the objects of a vault on one conn.
type shelf struct {
	keyring
	vault *Vault
	keys  sync.Map // CKA_ID to *shelfKey: what was found
}

// A shelfKey is the object of a key.
type shelfKey struct {
	object object
	seen   sighting
}

// load finds or makes the anchor on c, whose holder session is s.
func (v *Vault) load(c *conn, s *session) error {
	if v.scheme.Load() == nil {
		sc, err := schemeFor(s)
		if err != nil {
			return err
		}
		v.scheme.Store(sc)
	}
	c.resting.Lock()
	defer c.resting.Unlock()
	found, err := s.findSecrets(v.config.Anchor)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		if err := v.makeAnchor(s); err != nil {
			return err
		}
	}
	v.anchored.Store(true)
	h := &shelf{vault: v}
	h.keyring = keyring{conn: c, cache: newCache(c.token.config.Handles, h.destroy), direct: &v.direct, bring: h.bring}
	c.loaded.Store(v, h)
	return nil
}

func (v *Vault) makeAnchor(s *session) error {
	if v.anchored.Load() {
		return fmt.Errorf("%w: it does not have the object %q", ErrWrongToken, v.config.AnchorLabel)
	}
	where := placement{resting: true, id: v.config.Anchor, label: v.config.AnchorLabel}
	o, err := s.generateKey(anchorKind.generate, anchorKind.sized(where))
	if err == nil {
		_, err = s.harden(o)
	}
	return err
}

// schemeFor gives the first scheme that the token does as the standard library.
func schemeFor(s *session) (*scheme, error) {
	var why []error
	for i := range schemes {
		err := schemes[i].try(s)
		if err == nil {
			return &schemes[i], nil
		}
		if lost(err) {
			return nil, err
		}
		why = append(why, fmt.Errorf("scheme %s: %w", schemes[i].name, err))
	}
	// As text: what was tried is not what failed.
	return nil, fmt.Errorf("%w: no way to encrypt: %v", ErrUnsupported, errors.Join(why...))
}

// check makes sure that the token has m's object: it was seen within presence, or is seen now.
func (h *shelf) check(ctx context.Context, m *kms.Material, sc *scheme) error {
	k, err := h.find(ctx, m.ObjectID, sc.material.use)
	if err != nil {
		return err
	}
	return h.conn.present(ctx, k.object, m.ObjectID, &k.seen)
}

// bring gives the token object of a material.
func (h *shelf) bring(ctx context.Context, e *entry, m *kms.Material, kind secretKind) (object, error) {
	k, err := h.find(ctx, m.ObjectID, kind.use)
	if err != nil {
		return 0, err
	}
	e.resting = k.object
	return k.object, nil
}

// find finds a key's object, once per conn, and makes sure that it cannot leave and does what it
// should alone.
func (h *shelf) find(ctx context.Context, id []byte, want use) (*shelfKey, error) {
	if k, ok := h.keys.Load(string(id)); ok {
		return k.(*shelfKey), nil
	}
	var k *shelfKey
	err := h.conn.do(ctx, laneHold, func(s *session) error {
		h.conn.resting.Lock()
		defer h.conn.resting.Unlock()
		found, err := s.findSecrets(id)
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return h.absent(s)
		case len(found) > 1:
			return fmt.Errorf("%d secret keys have the CKA_ID of one", len(found))
		}
		if err := s.locked(found[0]); err != nil {
			return err
		}
		if err := s.exactly(found[0], want); err != nil {
			return err
		}
		k = h.keep(id, found[0])
		return nil
	})
	return k, err
}

// keep remembers the object of a key.
func (h *shelf) keep(id []byte, o object) *shelfKey {
	k := &shelfKey{object: o}
	k.seen.note(h.conn.token)
	h.keys.Store(string(id), k)
	return k
}

// absent says why a search found nothing: ErrKeyGone if the token still holds the anchor. One that
// lost its storage is marked down.
func (h *shelf) absent(s *session) error {
	_, err := s.tokenInfo()
	if err == nil {
		var anchors []object
		if anchors, err = s.findSecrets(h.vault.config.Anchor); err == nil && len(anchors) == 0 {
			err = fmt.Errorf("%w: it does not have the object %q any more", ErrWrongToken, h.vault.config.AnchorLabel)
		}
	}
	if err != nil {
		return h.conn.healthy(err)
	}
	return ErrKeyGone
}

// forget drops what was found and made of a material.
func (h *shelf) forget(m *kms.Material) {
	h.keys.Delete(string(m.ObjectID))
	h.cache.drop(func(k handleKey) bool { return k.material == m.ID })
}

// destroy ends a session object that the cache lets go of.
func (h *shelf) destroy(o object) {
	err := h.conn.do(context.Background(), laneHold, func(s *session) error { return s.destroyObject(o) })
	if err != nil && !errors.Is(err, errStale) {
		h.conn.token.log.Debug("a message key could not be destroyed", "error", err)
	}
}

// unload destroys the vault's session objects.
func (h *shelf) unload() { h.cache.drop(func(handleKey) bool { return true }) }

// findSecrets finds token objects that are secret keys, by CKA_ID.
func (s *session) findSecrets(id []byte) ([]object, error) {
	return s.find(maxLeftovers, []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
	})
}

// removeSecrets destroys the token objects that have both the CKA_ID and the CKA_LABEL of a place.
func (s *session) removeSecrets(at placement) error {
	found, err := s.find(maxLeftovers, []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_ID, at.id),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, at.label),
	})
	for _, o := range found {
		err = errors.Join(err, s.destroyObject(o))
	}
	return err
}
