package hsm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// A resident key is a persistent private key with CKA_PRIVATE and CKA_SENSITIVE, without
// CKA_EXTRACTABLE, that can do one thing. It exists in one token, for specs whose private keys the
// token does not wrap. Its CKA_LABEL is the KMS key id, and its CKA_ID is
//
//	domain id  16 bytes
//	'K'         1 byte
//	random     16 bytes
//
// There is no object for the public half. What signs, decrypts or agrees is a copy as a session object,
// because a call on that is several times cheaper. The key itself is looked at every second (see
// presence): one that somebody destroyed with another tool is missed then.
const (
	residentCode     = 'K'
	residentRandom   = 16
	residentObjectID = domainIDSize + 1 + residentRandom
)

// errAbsent: a token that is in good health does not have the resident key.
var errAbsent = fmt.Errorf("resident key: %w", ErrNotFound)

// newResident is where a new resident key goes.
func (d *Domain) newResident(ctx context.Context, l *loaded, label string) (placement, error) {
	random, err := l.random(ctx, residentRandom)
	if err != nil {
		return placement{}, err
	}
	domain, err := hex.DecodeString(d.description().ID)
	if err != nil {
		return placement{}, err
	}
	id := append(append(make([]byte, 0, residentObjectID), domain...), residentCode)
	return placement{resting: true, id: append(id, random...), label: label}, nil
}

// withResident is withPrivate for a resident key, on the token that has it. The token is known
// once the key was used; otherwise all are asked.
func (d *Domain) withResident(ctx context.Context, m *kms.Material, k *keySpec, u use, algorithm string, fn func(*loaded, object) error) error {
	if err := d.owns(m); err != nil {
		return err
	}
	return d.atHome(m.ObjectID, func(at *member) error {
		return at.use(ctx, func(l *loaded) error {
			if err := l.abilities.can(k.spec, algorithm); err != nil {
				return err
			}
			var err error
			// A handle may have gone with its object; it is looked up again once.
			for range 2 {
				if err = l.withCopy(ctx, m, k.pair, u, fn); classOf(err) != classHandleLost {
					return err
				}
				l.conn.forget(m.ID)
			}
			return fmt.Errorf("resident key: %v", err) // not as a lost handle, which would cost all others
		})
	})
}

// atHome runs fn with the member that has a resident key: fn answers errAbsent for one that has
// not. If none of those that are up has it, one that is down may.
func (d *Domain) atHome(id []byte, fn func(*member) error) error {
	if home, ok := d.homes.Load(string(id)); ok {
		if err := fn(home.(*member)); !errors.Is(err, errAbsent) {
			return err
		}
		d.homes.Delete(string(id))
	}
	var down error
	for _, m := range d.members() {
		err := fn(m)
		switch {
		case errors.Is(err, ErrTokenDown):
			down = err
		case !errors.Is(err, errAbsent):
			if err == nil {
				d.homes.Store(string(id), m)
			}
			return err
		}
	}
	if down != nil {
		return down
	}
	return errAbsent
}

// withCopy runs fn with a resident key as a session object, while the token has the key itself.
func (l *loaded) withCopy(ctx context.Context, m *kms.Material, k pairKind, u use, fn func(*loaded, object) error) error {
	key, _, err := l.cache.get(ctx, handleKey{material: m.ID, use: u}, func(e *entry) (object, error) {
		return l.copyResident(ctx, e, m.ObjectID, k, u)
	})
	if err != nil {
		return err
	}
	defer l.cache.release(key)
	if err := l.conn.present(ctx, key.resting, m.ObjectID, &key.seen); err != nil {
		return err
	}
	return fn(l, key.handle)
}

// copyResident finds a resident key, makes sure that it cannot leave, and copies it to a session
// object, or gives the token's own object where the token does not.
func (l *loaded) copyResident(ctx context.Context, e *entry, id []byte, k pairKind, u use) (o object, err error) {
	err = l.conn.do(ctx, laneHold, func(s *session) error {
		l.conn.resting.Lock()
		defer l.conn.resting.Unlock()
		found, err := s.findResident(id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return l.absent(s)
		}
		if len(found) > 1 {
			return fmt.Errorf("%d private keys have the CKA_ID of one", len(found))
		}
		if err := s.settled(k, found[0], u); err != nil {
			return err
		}
		e.resting = found[0]
		e.seen.note(l.conn.token)
		o, err = s.sessionCopy(found[0], func(c object) (object, error) { return s.hardenPrivate(k, c, u) })
		return err
	})
	return o, err
}

// absent says why a search found nothing: errAbsent if the token still holds the domain key. One
// that lost its storage answers searches with success and nothing, and is marked down.
func (l *loaded) absent(s *session) error {
	if err := l.holds(s); err != nil {
		return l.conn.healthy(err)
	}
	return errAbsent
}

func (s *session) findResident(id []byte) ([]object, error) {
	return s.find(maxLeftovers, []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), // not its copies, which have the same CKA_ID
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
	})
}

// removeResident destroys a resident key, and says whether there was one.
func (s *session) removeResident(id []byte) (bool, error) {
	found, err := s.findResident(id)
	for _, o := range found {
		err = errors.Join(err, s.destroyObject(o))
	}
	return len(found) != 0, err
}

// Destroy ends key material: a resident key is destroyed in its token, and cached objects of the
// material are dropped in all of this process. That it is gone already is success, if all tokens are
// there to say so and in good health. For wrapped material the caller deletes the blob.
func (d *Domain) Destroy(ctx context.Context, m *kms.Material) error {
	if err := d.owns(m); err != nil {
		return err
	}
	defer d.Forget(m.ID) // last: until the key is gone, a call may copy it
	if len(m.ObjectID) == 0 {
		return nil
	}
	err := d.atHome(m.ObjectID, func(at *member) error {
		return at.use(ctx, func(l *loaded) error {
			return l.conn.do(ctx, laneHold, func(s *session) error {
				l.conn.resting.Lock()
				defer l.conn.resting.Unlock()
				if there, err := s.removeResident(m.ObjectID); there || err != nil {
					return err
				}
				return l.absent(s)
			})
		})
	})
	d.homes.Delete(string(m.ObjectID))
	if errors.Is(err, errAbsent) {
		return nil
	}
	return err
}
