package hsm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// Drop brings the domain to a description that has no old versions any more, and takes the tokens that
// leave out of it. Nothing may need the old versions.
func (d *Domain) Drop(ctx context.Context, description kms.Domain) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	before := d.state.Load()
	next := &domainState{description: cloneDomain(description), newest: newestOf(&description)}
	keep := map[keyRef]bool{}
	for _, k := range description.Keys {
		keep[keyRef{k.Role, k.Version}] = true
	}
	var leaving []*member
	for _, m := range before.members {
		if whole(m, keep) {
			next.members = append(next.members, m)
		} else {
			leaving = append(leaving, m)
		}
	}
	if len(next.members) == 0 {
		return errors.New("no token would be left in the domain")
	}
	d.state.Store(next)
	for _, m := range leaving {
		m.token.part(m)
	}
	var errs []error
	for _, m := range next.members {
		err := m.use(ctx, func(l *loaded) error {
			return l.conn.do(ctx, laneHold, func(s *session) error { return l.dropKeys(s, keep) })
		})
		if !errors.Is(err, ErrTokenDown) { // its next conn does not load them
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// whole says whether a member has all keys that are kept.
func whole(m *member, keep map[keyRef]bool) bool {
	for ref := range keep {
		if !m.has(ref) {
			return false
		}
	}
	return true
}

// dropKeys destroys the copies of keys that are not kept.
func (l *loaded) dropKeys(s *session, keep map[keyRef]bool) error {
	kept := map[keyRef]domainKey{}
	var ends []domainKey
	for ref, k := range *l.keys.Load() {
		if keep[ref] {
			kept[ref] = k
		} else {
			ends = append(ends, k)
		}
	}
	l.keys.Store(&kept)
	var errs []error
	for _, k := range ends {
		if k.copied {
			errs = append(errs, s.destroyObject(k.object))
		}
	}
	return errors.Join(errs...)
}

// Erase destroys keys of the domain that its description does not have any more, in one token. Keys
// that are gone already are success.
func (d *Domain) Erase(ctx context.Context, t *Token, keys []kms.DomainKey) error {
	id, err := hex.DecodeString(d.ID())
	if err != nil {
		return err
	}
	for _, k := range keys {
		if d.listed(keyRef{k.Role, k.Version}) {
			return fmt.Errorf("%s key %d is still in use", k.Role, k.Version)
		}
	}
	err = t.with(ctx, func(c *conn) error {
		return c.do(ctx, laneHold, func(s *session) error {
			c.resting.Lock()
			defer c.resting.Unlock()
			if _, err := s.tokenInfo(); err != nil {
				return err
			}
			for _, k := range keys {
				role, err := roleOf(k.Role)
				if err != nil {
					return err
				}
				if err := s.removeAll(role.objectID(id, k.Version)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("destroy the old keys of domain %s on %s: %w", d.ID(), t.config.URI, err)
	}
	return nil
}

// removeAll destroys every resting object with a CKA_ID and makes sure that none is left.
func (s *session) removeAll(id []byte) error {
	search := []*attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_ID, id)}
	found, err := s.find(maxLeftovers, search)
	if err != nil {
		return err
	}
	for _, o := range found {
		if err := s.destroyObject(o); err != nil {
			return err
		}
	}
	if found, err = s.find(1, search); err == nil && len(found) != 0 {
		err = errors.New("C_DestroyObject: the object is still there")
	}
	return err
}

// mayLack says whether a token may be without these keys of a domain: all of the new versions if it leaves
// the domain, all of the old ones if it joins it.
func mayLack(d *kms.Domain, lacks map[keyRef]bool) bool {
	if len(lacks) == 0 {
		return true
	}
	if d.Rotation == nil || d.Rotation.Phase == kms.RotationDestroying {
		return false
	}
	old, added, lacksOld := 0, 0, 0
	for _, k := range d.Keys {
		if d.Rotation.Retires(k.Role, k.Version) {
			old++
			if lacks[keyRef{k.Role, k.Version}] {
				lacksOld++
			}
		} else {
			added++
		}
	}
	lacksAdded := len(lacks) - lacksOld
	return lacksOld == old && lacksAdded == 0 || lacksAdded == added && lacksOld == 0
}

// leavingAlready says whether a token was taken out by a rotation that has only to destroy what is left there.
func (s *domainState) leavingAlready(t *Token) bool {
	r := s.description.Rotation
	return r != nil && r.Phase == kms.RotationDestroying && slices.Contains(r.Leaving, t.config.URI.String())
}
