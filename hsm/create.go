package hsm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// CreateDomain makes a new domain's keys, version 1 of each, on all tokens, and opens the domain.
// On one token they are generated in place and can never leave it. On several each is born in the
// first token as a session object, wrapped once for each token to an RSA pair made in that token,
// unwrapped there for good, and destroyed; nothing that can leave a token ever rests. The
// derivation scheme is the first that all tokens do exactly. A failure removes what was made.
func CreateDomain(ctx context.Context, tokens []*Token) (*Domain, error) {
	if len(tokens) == 0 {
		return nil, errors.New("a domain needs a token")
	}
	description, id, err := newDomain(ctx, tokens)
	if err != nil {
		return nil, fmt.Errorf("create domain: %w", err)
	}
	d, err := birth(ctx, tokens, description, id)
	if err != nil {
		// What was made is removed even if ctx ended meanwhile.
		clean := context.WithoutCancel(ctx)
		for _, t := range tokens {
			err = errors.Join(err, t.do(clean, laneHold, func(s *session) error { return removeKeys(s, id, firstVersions) }))
		}
		return nil, fmt.Errorf("create domain: %w", err)
	}
	return d, nil
}

// newDomain chooses what can be chosen before a key is made.
func newDomain(ctx context.Context, tokens []*Token) (kms.Domain, []byte, error) {
	var id []byte
	err := tokens[0].do(ctx, laneHold, func(s *session) (err error) {
		id, err = s.random(domainIDSize)
		return err
	})
	if err != nil {
		return kms.Domain{}, nil, err
	}
	sc, err := commonScheme(ctx, tokens)
	if err != nil {
		return kms.Domain{}, nil, err
	}
	d := kms.Domain{ID: hex.EncodeToString(id), Scheme: sc}
	for _, r := range domainRoles {
		d.Keys = append(d.Keys, kms.DomainKey{Role: r.role, Version: 1, ObjectID: r.objectID(id, 1)})
	}
	return d, id, nil
}

// commonScheme gives the first derivation scheme that every token does as the standard library.
func commonScheme(ctx context.Context, tokens []*Token) (kms.DerivationScheme, error) {
	var why []error
	for i := range schemes {
		var failed error
		for _, t := range tokens {
			if failed = t.do(ctx, laneHold, schemes[i].try); failed != nil {
				if errors.Is(failed, ErrTokenDown) || isContext(failed) {
					return "", failed
				}
				why = append(why, fmt.Errorf("scheme %s on %s: %w", schemes[i].name, t.config.URI, failed))
				break
			}
		}
		if failed == nil {
			return schemes[i].name, nil
		}
	}
	return "", fmt.Errorf("%w: no common way to encrypt: %w", ErrUnsupported, errors.Join(why...))
}

func birth(ctx context.Context, tokens []*Token, description kms.Domain, id []byte) (*Domain, error) {
	var err error
	if len(tokens) == 1 {
		err = tokens[0].do(ctx, laneHold, func(s *session) error { return generateInPlace(s, id, firstVersions) })
	} else {
		err = enrol(ctx, tokens, nil, id, firstVersions)
	}
	if err != nil {
		return nil, err
	}
	err = tokens[0].do(ctx, laneHold, func(s *session) error { return makeChecks(s, description.Keys) })
	if err != nil {
		return nil, err
	}
	return OpenDomain(ctx, tokens, description)
}

// generateInPlace makes the keys as resting objects. It begins by removing what an earlier run of
// it, cut short by a lost session, left under this random id.
func generateInPlace(s *session, id []byte, v versions) error {
	if err := removeKeys(s, id, v); err != nil {
		return err
	}
	for _, r := range domainRoles {
		o, err := s.generateKey(r.kind.generate, r.kind.sized(r.resting(id, v[r.role])))
		if err != nil {
			return err
		}
		if _, err := s.harden(o); err != nil {
			return err
		}
	}
	return nil
}

// makeChecks sets the check values of keys that were just made.
func makeChecks(s *session, keys []kms.DomainKey) error {
	w, err := findWraps(s)
	if err != nil {
		return err
	}
	for i := range keys {
		k := &keys[i]
		role, err := roleOf(k.Role)
		if err != nil {
			return err
		}
		found, err := s.find(1, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_ID, k.ObjectID)})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("the %s key that was just made: %w", k.Role, ErrNotFound)
		}
		if k.Check, err = role.check(s, w, found[0]); err != nil {
			return err
		}
	}
	return nil
}

// versions has a version for each of the keys of a domain.
type versions map[kms.DomainKeyRole]uint32

var firstVersions = versions{kms.RoleWrap: 1, kms.RoleRecord: 1, kms.RoleSeal: 1}

// removeKeys destroys resting keys of a domain that are not in use yet or not to be.
func removeKeys(s *session, id []byte, v versions) error {
	for _, r := range domainRoles {
		found, err := s.find(maxLeftovers, []*attribute{
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_ID, r.objectID(id, v[r.role])),
		})
		if err != nil {
			return err
		}
		for _, o := range found {
			if err := s.destroyObject(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxLeftovers bounds a search for the remains of one key.
const maxLeftovers = 16
