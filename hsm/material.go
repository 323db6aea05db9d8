package hsm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
)

const materialIDSize = 32 // bytes; KeyMaterialId is their hexadecimal digits

// GenerateKey makes the material of a new key in the token, wraps it under the domain key and
// destroys the object. The caller sets Ordinal and Created. A spec the tokens cannot do gives an
// error that matches ErrUnsupported.
func (d *Domain) GenerateKey(ctx context.Context, spec kms.KeySpec) (kms.Material, error) {
	return d.make(ctx, spec, func(s *session, kind secretKind) (object, error) {
		return s.generateKey(kind.generate, kind.sized(leaving))
	})
}

// WrapKey puts known material, an import, under the domain key: an object in the token, wrapped
// and destroyed. material is wiped, whatever the outcome. The ID is random as with GenerateKey.
func (d *Domain) WrapKey(ctx context.Context, spec kms.KeySpec, material []byte) (kms.Material, error) {
	defer clear(material)
	return d.make(ctx, spec, func(s *session, kind secretKind) (object, error) {
		if len(material) != kind.length {
			return 0, fmt.Errorf("material of %s has %d bytes, not %d", spec, kind.length, len(material))
		}
		return s.createObject(kind.known(leaving, material))
	})
}

// make wraps the object that create makes, which may leave the token until it is destroyed here.
func (d *Domain) make(ctx context.Context, spec kms.KeySpec, create func(*session, secretKind) (object, error)) (kms.Material, error) {
	sc, err := schemeOf(d.description.Scheme)
	if err != nil {
		return kms.Material{}, err
	}
	kind, scheme, err := kindOf(spec, sc)
	if err != nil {
		return kms.Material{}, err
	}
	m := kms.Material{Scheme: scheme, DomainKey: d.newest[kms.RoleWrap], Length: kind.length}
	err = d.use(ctx, func(l *loaded) error {
		key, err := l.key(kms.RoleWrap, m.DomainKey)
		if err != nil {
			return err
		}
		if m.Wrap, err = l.wraps.choose(kind.length); err != nil {
			return err
		}
		return l.conn.do(ctx, laneShort, func(s *session) (err error) {
			id, err := s.random(materialIDSize)
			if err != nil {
				return err
			}
			m.ID = hex.EncodeToString(id)
			o, err := create(s, kind)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.destroyObject(o)) }()
			m.Blob, err = s.wrapKey(l.wraps[m.Wrap], nil, key.object, o)
			return err
		})
	})
	if err != nil {
		return kms.Material{}, fmt.Errorf("make key material: %w", err)
	}
	return m, nil
}

// unwrap brings a material into the token, as an object that is fit for kind's use alone.
func (l *loaded) unwrap(ctx context.Context, m *kms.Material, kind secretKind) (o object, err error) {
	key, err := l.key(kms.RoleWrap, m.DomainKey)
	if err != nil {
		return 0, err
	}
	mech, err := l.wraps.mechanism(m.Wrap)
	if err != nil {
		return 0, err
	}
	err = l.conn.do(ctx, laneHold, func(s *session) error {
		if o, err = s.unwrapKey(mech, nil, key.object, m.Blob, kind.template(inUse)); err != nil {
			return err
		}
		o, err = s.harden(o)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("unwrap key material: %w", err)
	}
	return o, nil
}

// destroy ends a cached object. One that is gone with its conn needs nothing.
func (l *loaded) destroy(o object) {
	err := l.conn.do(context.Background(), laneHold, func(s *session) error { return s.destroyObject(o) })
	if err != nil && !errors.Is(err, errStale) {
		l.conn.token.log.Warn("a session object could not be destroyed", "error", err)
	}
}

// unload destroys the domain's session objects.
func (l *loaded) unload() {
	l.cache.drop(func(handleKey) bool { return true })
	for _, k := range l.keys {
		if k.copied {
			l.destroy(k.object)
		}
	}
}
