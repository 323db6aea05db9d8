package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
)

// withPrivate runs fn with the private key m in a token, fit for u alone, if the token does the
// algorithm.
func (d *Domain) withPrivate(ctx context.Context, m *kms.Material, k *keySpec, u use, algorithm string, fn func(*loaded, object) error) error {
	if len(m.PublicKey) == 0 {
		return errors.New("the material is not that of a key pair")
	}
	if len(m.ObjectID) != 0 {
		return d.withResident(ctx, m, k, u, algorithm, fn)
	}
	return d.use(ctx, func(l *loaded) error {
		if err := l.abilities.can(k.spec, algorithm); err != nil {
			return err
		}
		key, _, err := l.cache.get(ctx, handleKey{material: m.ID, use: u}, func(*entry) (object, error) {
			return l.unwrapPrivate(ctx, m, k.pair, u)
		})
		if err != nil {
			return err
		}
		defer l.cache.release(key)
		return fn(l, key.handle)
	})
}

// unwrapPrivate brings a private key into the token, fit for u alone.
func (l *loaded) unwrapPrivate(ctx context.Context, m *kms.Material, k pairKind, u use) (object, error) {
	return l.unwrapAs(ctx, m, privateTemplate(k, inUse, u), func(s *session, o object) (object, error) { return s.hardenPrivate(k, o, u) })
}

// makePair makes the material of a key pair. create gives the private key as a session object
// that may leave, or as the resident one if where says so, and the public half as an SPKI.
func (d *Domain) makePair(ctx context.Context, k *keySpec, r KeyRequest, create func(s *session, a *specAbility, where placement, u use) (object, []byte, error)) (kms.Material, error) {
	u, ok := k.useOf(r.Usage)
	if !ok {
		return kms.Material{}, fmt.Errorf("%w: key usage %q with key spec %s", ErrUnsupported, r.Usage, r.Spec)
	}
	var m kms.Material
	err := d.use(ctx, func(l *loaded) error {
		a := l.abilities.specs[k.spec]
		if a.err != nil {
			return unsupported(string(k.spec), a.err)
		}
		if err := a.serves(k.spec, r.Usage); err != nil {
			return err
		}
		version := d.newest(kms.RoleWrap)
		key, err := l.key(kms.RoleWrap, version)
		if err != nil {
			return err
		}
		m = kms.Material{Domain: d.description().ID}
		where, resident := leaving, d.keeps(k.spec)
		if resident {
			if where, err = d.newResident(ctx, l, r.KeyID); err != nil {
				return err
			}
			m.ObjectID = where.id
		}
		err = l.conn.do(ctx, laneLong, func(s *session) (err error) {
			if m.ID, err = s.materialID(); err != nil {
				return err
			}
			if resident {
				l.conn.resting.Lock()
				defer l.conn.resting.Unlock()
				// What an earlier run of this, cut short by a lost session, left behind.
				if _, err := s.removeResident(where.id); err != nil {
					return err
				}
			}
			private, spki, err := create(s, a, where, u)
			if err != nil {
				return err
			}
			m.PublicKey = spki
			if resident {
				_, err := s.hardenPrivate(k.pair, private, u)
				return err
			}
			defer func() { err = errors.Join(err, s.destroyObject(private)) }()
			m.Wrap, m.DomainKey = kms.AESKeyWrapPad, version
			m.Blob, err = s.wrapKey(l.wraps[m.Wrap], nil, key.object, private)
			return err
		})
		if err == nil && resident {
			d.homes.Store(string(where.id), l.member)
		}
		return err
	})
	if err != nil {
		return kms.Material{}, fmt.Errorf("make key pair: %w", err)
	}
	return m, nil
}

// keeps says whether private keys of a spec live in a token: one that wraps them is of no use to
// the domain if another cannot unwrap them.
func (d *Domain) keeps(spec kms.KeySpec) bool {
	for _, m := range d.members() {
		if a := m.token.abilities.Load(); a != nil && a.specs[spec].resident {
			return true
		}
	}
	return false
}

// generated generates a pair for makePair. The public object is destroyed.
func (k *keySpec) generated(s *session, a *specAbility, where placement, u use) (private object, spki []byte, err error) {
	public, private, err := s.generatePair(k.pair, a.name, where, u)
	if err != nil {
		return 0, nil, err
	}
	spki, err = k.pair.spki(s, public)
	if err = errors.Join(err, s.destroyObject(public)); err != nil {
		_ = s.destroyObject(private) // the error that led here is the one to report
		return 0, nil, err
	}
	return private, spki, nil
}
