package hsm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/kms11/kms11/kms"
)

// A domain's keys are rotated in steps, between which its caller keeps a record of what was done (in the
// description: kms.DomainRotation). Each step can be repeated.
//
//	Renew      makes the next version of each key in the tokens that are to hold the domain
//	Introduce  has the domain know the new versions, which it goes on not to use
//	Switch     makes everything new by the new versions
//	Rewrap     brings one wrapped key from the old domain key to the new one, in a token
//	Drop       forgets the old versions
//	Erase      destroys them in the tokens
//
// A token that leaves the domain does not get the new versions, and one that joins it does not get
// the old ones. At least one token has both: it does the re-wrapping.

// A Renewal says for which tokens the next keys are.
type Renewal struct {
	// Tokens hold the domain from now on. One of them at least held it before.
	Tokens []*Token
	// Fingerprints are those, confirmed by people, of the pairs that Enroll made in the tokens that join.
	Fingerprints map[*Token]string
}

// Renew makes the next versions of the domain's keys, in one token in place, for several as CreateDomain
// does, and gives the description with them added. The domain does not know them yet. What an earlier run
// left under these versions, which nothing names, is removed.
func (d *Domain) Renew(ctx context.Context, r Renewal) (kms.Domain, error) {
	state := d.state.Load()
	holders := 0
	for _, t := range r.Tokens {
		if state.member(t) != nil {
			holders++
		} else if _, ok := r.Fingerprints[t]; !ok {
			return kms.Domain{}, fmt.Errorf("%w: no fingerprint was confirmed for %s", ErrEnrolment, t.config.URI)
		}
	}
	if holders == 0 {
		return kms.Domain{}, errors.New("none of the tokens holds the domain now: take the old ones out in a rotation of their own, afterwards")
	}
	id, err := hex.DecodeString(state.description.ID)
	if err != nil {
		return kms.Domain{}, err
	}
	next := versions{}
	var keys []kms.DomainKey
	for _, role := range domainRoles {
		v := newestOf(&state.description)[role.role] + 1
		next[role.role] = v
		keys = append(keys, kms.DomainKey{Role: role.role, Version: v, ObjectID: role.objectID(id, v)})
	}
	if len(r.Tokens) == 1 {
		err = r.Tokens[0].do(ctx, laneHold, func(s *session) error { return generateInPlace(s, id, next) })
	} else {
		err = enrol(ctx, r.Tokens, r.Fingerprints, id, next)
	}
	if err == nil {
		err = r.Tokens[0].do(ctx, laneHold, func(s *session) error { return makeChecks(s, keys) })
	}
	if err != nil {
		clean := context.WithoutCancel(ctx) // what was made is removed even if ctx ended meanwhile
		for _, t := range r.Tokens {
			err = errors.Join(err, t.do(clean, laneHold, func(s *session) error { return removeKeys(s, id, next) }))
		}
		return kms.Domain{}, fmt.Errorf("renew the keys of domain %s: %w", d.ID(), err)
	}
	description := d.Describe()
	description.Keys = append(description.Keys, keys...)
	return description, nil
}

// Fits says why a token cannot join the domain, which has keys of these specs and schemes: the error
// matches ErrUnsupported. Finding out takes seconds.
func (d *Domain) Fits(ctx context.Context, t *Token, specs []kms.KeySpec, schemes []kms.DerivationScheme) error {
	var a *abilities
	err := t.do(ctx, laneHold, func(s *session) error {
		w, err := t.wrapsOf(s)
		if err != nil {
			return err
		}
		a, err = t.able(s, w)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range append(slices.Clone(schemes), d.description().Scheme) {
		if err := a.derives(name); err != nil {
			return fmt.Errorf("token %s cannot join: %w", t.config.URI, err)
		}
	}
	for _, spec := range specs {
		s, ok := a.specs[spec]
		switch {
		case !ok:
			return fmt.Errorf("token %s cannot join: %w: keys of spec %s", t.config.URI, ErrUnsupported, spec)
		case s.err != nil:
			return fmt.Errorf("token %s cannot join: %w", t.config.URI, unsupported(string(spec), s.err))
		case s.resident && !d.keeps(spec):
			return fmt.Errorf("token %s cannot join: %w: wrapping of private keys of spec %s", t.config.URI, ErrUnsupported, spec)
		}
	}
	return nil
}

func (s *domainState) member(t *Token) *member {
	for _, m := range s.members {
		if m.token == t {
			return m
		}
	}
	return nil
}

// Holders are the tokens of the domain.
func (d *Domain) Holders() []*Token {
	var tokens []*Token
	for _, m := range d.members() {
		tokens = append(tokens, m.token)
	}
	return tokens
}

// URI names the token; its text has no PIN.
func (t *Token) URI() URI { return t.config.URI }

// Introduce has the domain know what description adds to its keys, on these tokens, and checks each
// key; new things go on to be made by the versions of before. A token that does not hold the domain yet joins it.
func (d *Domain) Introduce(ctx context.Context, tokens []*Token, description kms.Domain) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	before := d.state.Load()
	next := &domainState{description: cloneDomain(description), newest: before.newest, members: before.members}
	old, added := map[keyRef]bool{}, map[keyRef]bool{}
	for _, k := range next.description.Keys {
		if ref := (keyRef{k.Role, k.Version}); next.description.Rotation.Retires(k.Role, k.Version) {
			old[ref] = true
		} else {
			added[ref] = true
		}
	}
	for _, m := range before.members {
		if !slices.Contains(tokens, m.token) {
			m.lacks.Store(&added)
		}
	}
	d.state.Store(next)
	members, err := d.bring(ctx, tokens, &old)
	if err != nil {
		d.state.Store(before)
		for _, m := range members[len(before.members):] {
			m.token.part(m)
		}
		return fmt.Errorf("introduce the new keys of domain %s: %w", d.ID(), err)
	}
	d.state.Store(&domainState{description: next.description, newest: before.newest, members: members})
	return nil
}

// bring loads the keys that the members do not have yet and joins the tokens that are none.
func (d *Domain) bring(ctx context.Context, tokens []*Token, old *map[keyRef]bool) ([]*member, error) {
	state := d.state.Load()
	members := slices.Clone(state.members)
	for _, m := range state.members {
		err := m.use(ctx, func(l *loaded) error { return l.conn.do(ctx, laneHold, l.loadKeys) })
		if err != nil {
			return members, err
		}
	}
	for _, t := range tokens {
		if state.member(t) != nil {
			continue
		}
		m := &member{domain: d, token: t}
		m.lacks.Store(old)
		if err := t.join(ctx, m); err != nil {
			return members, err
		}
		members = append(members, m)
	}
	return members, nil
}

// Switch makes everything new by the newest versions that the domain knows.
func (d *Domain) Switch() {
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.state.Load()
	d.state.Store(&domainState{description: s.description, newest: newestOf(&s.description), members: s.members})
}

// Follow takes over what a description says of the rotation; its keys are those that the domain knows.
func (d *Domain) Follow(description kms.Domain) {
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.state.Load()
	next := s.description
	next.Rotation = cloneDomain(description).Rotation
	d.state.Store(&domainState{description: next, newest: s.newest, members: s.members})
}

// RenewTransferKey makes a new transfer key, if the domain has one that is wrapped under an old domain key;
// Describe has it from then on. Offers and consignments on their way become worthless, which Transfer
// makes up for.
func (d *Domain) RenewTransferKey(ctx context.Context) error {
	old := d.transfer.Load()
	if old == nil || old.DomainKey == d.newest(kms.RoleWrap) {
		return nil
	}
	made, err := d.newTransferKey(ctx)
	if err == nil {
		d.transfer.CompareAndSwap(old, made)
	}
	return err
}

// Rewrap gives a material wrapped under the newest domain key instead of an old one, in every other
// respect the same. The key passes from one to the other in a token, as a session object that can do nothing
// but be wrapped, and what comes out is unwrapped and compared before it is given. A resident key is given back as
// it is.
func (d *Domain) Rewrap(ctx context.Context, spec kms.KeySpec, keyID string, m kms.Material) (kms.Material, error) {
	k, err := rowOf(spec)
	if err != nil {
		return kms.Material{}, err
	}
	if err := d.owns(&m); err != nil {
		return kms.Material{}, err
	}
	version := d.newest(kms.RoleWrap)
	if len(m.Blob) == 0 || m.DomainKey == version {
		return m, nil
	}
	moved := m
	err = d.use(ctx, func(l *loaded) error {
		if _, err := l.key(kms.RoleWrap, m.DomainKey); err != nil {
			return err
		}
		key, err := l.key(kms.RoleWrap, version)
		if err != nil {
			return err
		}
		return l.conn.do(ctx, laneLong, func(s *session) error {
			c := &Consignment{Spec: spec, KeyID: keyID}
			item, err := (&sending{session: s, loaded: l, row: k, consignment: c, transport: key.object}).consign(&m)
			if err != nil {
				return err
			}
			moved.DomainKey, moved.Wrap, moved.Blob = version, item.Material.Wrap, item.Material.Blob
			mech, err := l.wraps.mechanism(moved.Wrap)
			if err != nil {
				return err
			}
			return (&receiving{session: s, loaded: l, row: k, consignment: c}).same(&moved, item.Check, func(template []*attribute) (object, error) {
				return s.unwrapKey(mech, nil, key.object, moved.Blob, template)
			})
		})
	})
	if err != nil {
		return kms.Material{}, fmt.Errorf("wrap key material anew: %w", err)
	}
	return moved, nil
}

// SealVersion is the version of the sealing key that sealed a message; 0 if that is none.
func SealVersion(sealed []byte) uint32 {
	if len(sealed) < sealOverhead || sealed[0] != sealFormat {
		return 0
	}
	return sealedVersion(sealed)
}

// SealingVersion is the version that Seal seals with.
func (d *Domain) SealingVersion() uint32 { return d.newest(kms.RoleSeal) }

// WrappingVersion is the version of the domain key that new blobs are wrapped under.
func (d *Domain) WrappingVersion() uint32 { return d.newest(kms.RoleWrap) }
