package hsm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kms11/kms11/kms"
)

// A Domain is the set of tokens that hold the same domain key, record key and sealing key. Its
// methods may be called by several goroutines at once. A call goes to one of the tokens that are
// up; one that finds its token down goes on to the next.
type Domain struct {
	state    atomic.Pointer[domainState] // never nil
	changing sync.Mutex                  // held to replace state
	turn     atomic.Uint32
	direct   directCounts
	transfer atomic.Pointer[kms.Material] // the transfer key; nil until it is made
	homes    sync.Map                     // CKA_ID of a resident key to the *member that has it
	names    tokenNames
}

// A domainState is what a rotation changes of a domain. It is never changed itself: another takes its place.
type domainState struct {
	description kms.Domain
	newest      map[kms.DomainKeyRole]uint32 // the versions by which new things are made
	members     []*member
}

func (d *Domain) description() *kms.Domain             { return &d.state.Load().description }
func (d *Domain) newest(role kms.DomainKeyRole) uint32 { return d.state.Load().newest[role] }
func (d *Domain) members() []*member                   { return d.state.Load().members }

// A member is the domain on one token.
type member struct {
	domain *Domain
	token  *Token
	// lacks are the domain's keys that the token is not to have, while a rotation adds it to the domain
	// or takes it out; nil until its keys were looked for once. It is never changed, only replaced.
	lacks atomic.Pointer[map[keyRef]bool]
}

// OpenDomain finds the domain's objects on every token by CKA_ID, makes sure that they can
// neither leave the token nor do more than they should, and verifies each key's check value. The
// error matches ErrWrongToken and names the token if one does not hold the domain. The tokens
// stay the caller's to close, after the domain.
func OpenDomain(ctx context.Context, tokens []*Token, description kms.Domain) (*Domain, error) {
	if len(tokens) == 0 {
		return nil, errors.New("a domain needs a token")
	}
	state := &domainState{description: cloneDomain(description), newest: newestOf(&description)}
	if _, err := schemeOf(description.Scheme); err != nil {
		return nil, err
	}
	if id, err := hex.DecodeString(description.ID); err != nil || len(id) != domainIDSize {
		return nil, fmt.Errorf("domain id %q is not %d hexadecimal digits", description.ID, 2*domainIDSize)
	}
	for _, r := range domainRoles {
		if state.newest[r.role] == 0 {
			return nil, fmt.Errorf("domain %s has no %s key", description.ID, r.role)
		}
	}
	d := &Domain{}
	d.transfer.Store(state.description.Transfer)
	d.state.Store(state)
	var members []*member
	for _, t := range tokens {
		m := &member{domain: d, token: t}
		if err := t.join(ctx, m); err != nil {
			if state.leavingAlready(t) && errors.Is(err, ErrWrongToken) {
				continue // a rotation that only has to destroy what it left there
			}
			d.state.Store(&domainState{description: state.description, newest: state.newest, members: members})
			return nil, errors.Join(err, d.Close())
		}
		members = append(members, m)
	}
	d.state.Store(&domainState{description: state.description, newest: state.newest, members: members})
	if err := d.complete(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func newestOf(d *kms.Domain) map[kms.DomainKeyRole]uint32 {
	newest := map[kms.DomainKeyRole]uint32{}
	for _, k := range d.Keys {
		newest[k.Role] = max(newest[k.Role], k.Version)
	}
	return newest
}

// complete says which key no token has: each token may lack some during a rotation.
func (d *Domain) complete() error {
	s := d.state.Load()
	for _, k := range s.description.Keys {
		if !slices.ContainsFunc(s.members, func(m *member) bool { return m.has(keyRef{k.Role, k.Version}) }) {
			return fmt.Errorf("domain %s, %s key %d: %w: none of the tokens has it", s.description.ID, k.Role, k.Version, ErrWrongToken)
		}
	}
	return nil
}

func cloneDomain(d kms.Domain) kms.Domain {
	d.Keys = slices.Clone(d.Keys)
	for i := range d.Keys {
		d.Keys[i].ObjectID = slices.Clone(d.Keys[i].ObjectID)
		d.Keys[i].Check = slices.Clone(d.Keys[i].Check)
	}
	if d.Transfer != nil {
		m := *d.Transfer
		m.Blob, m.ObjectID, m.PublicKey = slices.Clone(m.Blob), slices.Clone(m.ObjectID), slices.Clone(m.PublicKey)
		d.Transfer = &m
	}
	if d.Rotation != nil {
		r := *d.Rotation
		r.Old, r.Joining, r.Leaving = slices.Clone(r.Old), slices.Clone(r.Joining), slices.Clone(r.Leaving)
		d.Rotation = &r
	}
	return d
}

// Describe gives what OpenDomain needs to find the domain again. It holds nothing secret.
func (d *Domain) Describe() kms.Domain {
	description := *d.description()
	description.Transfer = d.transfer.Load()
	return cloneDomain(description)
}

// ID is the id of the domain: 32 hexadecimal digits.
func (d *Domain) ID() string { return d.description().ID }

// owns refuses material of another domain, which the domain key would not unwrap anyway.
func (d *Domain) owns(m *kms.Material) error {
	if m.Domain != "" && m.Domain != d.ID() {
		return fmt.Errorf("%w: the material is that of domain %s, not of %s", ErrWrongToken, m.Domain, d.ID())
	}
	return nil
}

// RecordKeyVersion is the version of the record key to make new MACs with.
func (d *Domain) RecordKeyVersion() uint32 { return d.newest(kms.RoleRecord) }

// Close destroys the domain's session objects. Its tokens stay open and their persistent objects
// untouched. Nothing may use the domain any more.
func (d *Domain) Close() error {
	for _, m := range d.members() {
		m.token.part(m)
	}
	return nil
}

// Forget drops the cached objects of a material, on every token: its key was deleted. A call
// that uses one of them now still ends well.
func (d *Domain) Forget(materialID string) {
	for _, m := range d.members() {
		if c := m.token.conn.Load(); c != nil {
			c.forget(materialID)
		}
	}
}

// forget drops the cached objects of a material, whichever domain of this process made them.
func (c *conn) forget(materialID string) {
	c.loaded.Range(func(_, tenant any) bool {
		if l, ok := tenant.(*loaded); ok {
			l.cache.drop(func(k handleKey) bool { return k.material == materialID })
		}
		return true
	})
}

// use runs fn on one of the domain's tokens, and on the next if that one is down or, during a rotation,
// lacks a key that fn asks for. Only when none can do it at once it waits for them, as member.use does.
func (d *Domain) use(ctx context.Context, fn func(*loaded) error) error {
	members := d.members()
	if len(members) == 1 {
		return members[0].use(ctx, fn)
	}
	first := int(d.turn.Add(1))
	var err error
	for _, try := range []func(*member) error{
		func(m *member) error { return m.token.once(m.with(fn)) },
		func(m *member) error { return m.use(ctx, fn) },
	} {
		err = nil
		for i := range members {
			failed := try(members[(first+i)%len(members)])
			switch {
			case errors.Is(failed, errLacks):
				// One that is down may have it: that is the better reason.
				if err == nil {
					err = failed
				}
			case errors.Is(failed, ErrTokenDown), errors.Is(failed, errStale):
				err = failed
			default:
				return failed
			}
		}
		if errors.Is(err, errLacks) {
			return err
		}
	}
	return err
}

// use runs fn with the domain's objects on this token, again if they were lost and found anew.
func (m *member) use(ctx context.Context, fn func(*loaded) error) error {
	return m.token.with(ctx, m.with(fn))
}

// with gives fn the domain's objects on a conn.
func (m *member) with(fn func(*loaded) error) func(*conn) error {
	return func(c *conn) error {
		l := m.on(c)
		if l == nil {
			return errors.New("the domain is closed")
		}
		err := fn(l)
		if classOf(err) == classHandleLost {
			return c.objectsLost(err)
		}
		return err
	}
}

// on gives the domain's objects on c.
func (m *member) on(c *conn) *loaded {
	if l, ok := c.loaded.Load(m); ok {
		return l.(*loaded)
	}
	return nil
}

// A tenant has objects on each conn of a token: a domain or a vault.
type tenant interface {
	// load finds the objects on c, whose holder session is s, and puts them into c.loaded.
	load(c *conn, s *session) error
}

// join adds m to the token, so that every conn finds the tenant's objects, beginning with the
// present one.
func (t *Token) join(ctx context.Context, m tenant) error {
	t.mu.Lock()
	t.members = append(t.members, m)
	t.mu.Unlock()
	err := t.with(ctx, func(c *conn) error {
		return c.do(ctx, laneHold, func(s *session) error {
			if _, ok := c.loaded.Load(m); ok {
				return nil // the conn is newer than the membership
			}
			return m.load(c, s)
		})
	})
	if err != nil {
		t.part(m)
	}
	return err
}

// part takes m off the token again.
func (t *Token) part(m tenant) {
	t.mu.Lock()
	t.members = slices.DeleteFunc(t.members, func(o tenant) bool { return o == m })
	t.mu.Unlock()
	if c := t.conn.Load(); c != nil {
		if l, ok := c.loaded.LoadAndDelete(m); ok {
			l.(interface{ unload() }).unload()
		}
	}
}
