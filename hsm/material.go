package hsm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

const materialIDSize = 32 // bytes; KeyMaterialId is their hexadecimal digits

// A KeyRequest says what a new key is for.
type KeyRequest struct {
	Spec kms.KeySpec
	// Usage is needed for key pairs, whose private halves can do one thing.
	Usage kms.KeyUsageType
	// KeyID is the KMS key id, which becomes the CKA_LABEL of a resident key.
	KeyID string
	// Scheme is how a symmetric encryption key derives message keys; empty is the domain's way. All
	// material of a key that is in several domains has to have one that all of them know.
	Scheme kms.DerivationScheme
}

// GenerateKey makes the material of a new key in the token, wraps it under the domain key and
// destroys the object. A private key that the token does not wrap becomes a resident object. The
// caller sets Ordinal and Created. A spec the tokens cannot do gives an error that matches
// ErrUnsupported.
func (d *Domain) GenerateKey(ctx context.Context, r KeyRequest) (kms.Material, error) {
	k, err := rowOf(r.Spec)
	if err != nil {
		return kms.Material{}, err
	}
	if k.pair != nil {
		return d.makePair(ctx, k, r, k.generated)
	}
	return d.make(ctx, k, r.Scheme, 0, func(s *session, kind secretKind) (object, error) {
		return s.generateKey(kind.generate, kind.sized(leaving))
	})
}

// WrapKey puts known material under the domain key: an object in the token, wrapped
// and destroyed. material is the bytes of a secret key or the PKCS#8 DER of a private key; it is
// wiped, whatever the outcome. The ID is random as with GenerateKey.
func (d *Domain) WrapKey(ctx context.Context, r KeyRequest, material []byte) (kms.Material, error) {
	defer clear(material)
	k, err := rowOf(r.Spec)
	if err != nil {
		return kms.Material{}, err
	}
	if k.pair != nil {
		return d.makePair(ctx, k, r, func(s *session, a *specAbility, where placement, u use) (object, []byte, error) {
			return s.importPair(k.pair, a, where, u, material)
		})
	}
	fits, most := material, len(material)
	if row, ok := kms.SpecOf(r.Spec); ok {
		most = row.ImportMax
	}
	if a, ok := macOf(func(a *macAlgorithm) bool { return a.spec == r.Spec }); ok && len(material) <= most {
		fits = a.hmacMaterial(material)
		defer clear(fits)
	}
	return d.make(ctx, k, r.Scheme, len(fits), func(s *session, kind secretKind) (object, error) {
		if len(fits) < kind.length || len(material) > most {
			return 0, fmt.Errorf("material of %s has %d bytes, not %d", r.Spec, len(material), kind.length)
		}
		return s.createObject(kind.known(leaving, fits))
	})
}

// importPair creates a known private key.
func (s *session) importPair(k pairKind, a *specAbility, where placement, u use, pkcs8 []byte) (object, []byte, error) {
	components, spki, err := k.private(pkcs8)
	if err != nil {
		return 0, nil, err
	}
	defer wipe(k, components)
	o, err := s.createObject(append(privateTemplate(k, where, u), components...))
	if err != nil {
		return 0, nil, err
	}
	if err := s.matches(k, o, spki, a.bare); err != nil {
		return 0, nil, errors.Join(err, s.destroyObject(o))
	}
	return o, spki, nil
}

// wipe clears the secret ones of a private key's attributes: the rest is public, and shared.
func wipe(k pairKind, components []*attribute) {
	for _, c := range components {
		if slices.Contains(k.secrets(), c.Type) {
			clear(c.Value)
		}
	}
}

// matches compares an imported private key with the public key that came along, by a signature,
// if nothing else did: the standard library computes that of the curves it has.
func (s *session) matches(k pairKind, private object, spki []byte, bare bool) (err error) {
	if ec, ok := k.(ecKind); !ok || ec.goCurve != nil {
		return nil
	}
	template, err := publicTemplate(k, useVerify, spki, bare)
	if err != nil {
		return err
	}
	public, err := s.createObject(template)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.destroyObject(public)) }()
	digest := sha256.Sum256(checkLabel)
	signature, err := s.sign(pkcs11.CKM_ECDSA, nil, private, digest[:])
	if err != nil {
		return err
	}
	if err = s.verify(pkcs11.CKM_ECDSA, nil, public, digest[:], signature); errors.Is(err, ErrBadSignature) {
		return errPrivateForm
	}
	return err
}

// materialID is a new KeyMaterialId.
func (s *session) materialID() (string, error) {
	id, err := s.random(materialIDSize)
	return hex.EncodeToString(id), err
}

// make wraps the object that create makes, which may leave the token until it is destroyed here.
// length is the object's; 0 is that of its kind.
func (d *Domain) make(ctx context.Context, spec *keySpec, name kms.DerivationScheme, length int, create func(*session, secretKind) (object, error)) (kms.Material, error) {
	sc, err := schemeOf(cmp.Or(name, d.description().Scheme))
	if err != nil {
		return kms.Material{}, err
	}
	kind := spec.secret(sc)
	m := kms.Material{Domain: d.description().ID, DomainKey: d.newest(kms.RoleWrap), Length: kind.length}
	if spec.derives {
		m.Scheme = sc.name
	}
	if length != 0 {
		m.Length = length
	}
	err = d.use(ctx, func(l *loaded) error {
		if a := l.abilities.specs[spec.spec]; a.err != nil {
			return unsupported(string(spec.spec), a.err)
		}
		if err := l.abilities.derives(m.Scheme); err != nil {
			return err
		}
		key, err := l.key(kms.RoleWrap, m.DomainKey)
		if err != nil {
			return err
		}
		if m.Wrap, err = l.wraps.choose(m.Length); err != nil {
			return err
		}
		return l.conn.do(ctx, laneShort, func(s *session) (err error) {
			if m.ID, err = s.materialID(); err != nil {
				return err
			}
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

// bring is unwrap for the keyring.
func (l *loaded) bring(ctx context.Context, _ *entry, m *kms.Material, kind secretKind) (object, error) {
	return l.unwrap(ctx, m, kind)
}

// unwrap brings a material into the token, as an object that is fit for kind's use alone.
func (l *loaded) unwrap(ctx context.Context, m *kms.Material, kind secretKind) (object, error) {
	return l.unwrapAs(ctx, m, kind.template(inUse), func(s *session, o object) (object, error) { return s.harden(o) })
}

// unwrapAs brings a material into the token as a template says, and hardens it.
func (l *loaded) unwrapAs(ctx context.Context, m *kms.Material, template []*attribute, harden func(*session, object) (object, error)) (o object, err error) {
	if err := l.member.domain.owns(m); err != nil {
		return 0, err
	}
	key, err := l.key(kms.RoleWrap, m.DomainKey)
	if err != nil {
		return 0, err
	}
	mech, err := l.wraps.mechanism(m.Wrap)
	if err != nil {
		return 0, err
	}
	err = l.conn.do(ctx, laneHold, func(s *session) error {
		if o, err = s.unwrapKey(mech, nil, key.object, m.Blob, template); err != nil {
			return err
		}
		o, err = harden(s, o)
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
	if err != nil && !errors.Is(err, errStale) && classOf(err) != classHandleLost {
		l.conn.token.log.Warn("a session object could not be destroyed", "error", err)
	}
}

// unload destroys the domain's session objects.
func (l *loaded) unload() {
	l.pairs.close()
	l.imports.close()
	l.cache.drop(func(handleKey) bool { return true })
	for _, k := range *l.keys.Load() {
		if k.copied {
			l.destroy(k.object)
		}
	}
}
