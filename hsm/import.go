package hsm

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// A wrapping is how key material is wrapped for an import: RSAES-OAEP of the material, or of an
// AES key under which the material is wrapped by RFC 5649 (PKCS#11 3.0, section 2.1.21,
// CKM_RSA_AES_KEY_WRAP).
type wrapping struct {
	algorithm kms.AlgorithmSpec
	oaep      *encryption
	twoSteps  bool
}

var wrappings = []wrapping{
	{kms.AlgorithmSpecRsaesOaepSha1, &encryptions[0], false},
	{kms.AlgorithmSpecRsaesOaepSha256, &encryptions[1], false},
	{kms.AlgorithmSpecRsaAesKeyWrapSha1, &encryptions[0], true},
	{kms.AlgorithmSpecRsaAesKeyWrapSha256, &encryptions[1], true},
}

func wrappingOf(algorithm kms.AlgorithmSpec) (*wrapping, error) {
	for i := range wrappings {
		if wrappings[i].algorithm == algorithm {
			return &wrappings[i], nil
		}
	}
	return nil, fmt.Errorf("%w: wrapping algorithm %s", ErrUnsupported, algorithm)
}

// An ImportRequest is key material on its way into the domain.
type ImportRequest struct {
	KeyRequest
	// Pair is what ImportPair gave, of the size WrappingKey. Its blob must not come from outside
	// unless it is authenticated: Seal it.
	Pair        *kms.Material
	WrappingKey kms.WrappingKeySpec
	Algorithm   kms.AlgorithmSpec
	// Wrapped is the bytes of a secret key or the PKCS#8 DER of a private key, wrapped by Algorithm
	// to the public half of Pair.
	Wrapped []byte
}

// ImportPair makes an RSA pair to wrap key material with. The private half is wrapped under the
// domain key, so that any token of the domain can unwrap with it at any time; the answer has Wrap,
// DomainKey, Blob and PublicKey. Pairs come from those generated ahead, if there are any: see
// Config.PairsAhead.
func (d *Domain) ImportPair(ctx context.Context, spec kms.WrappingKeySpec) (kms.Material, error) {
	k, err := pairOf(kms.KeySpec(spec))
	if err != nil {
		return kms.Material{}, err
	}
	if !isRSA(k.pair) {
		return kms.Material{}, fmt.Errorf("%w: wrapping key of spec %s", ErrUnsupported, spec)
	}
	var pair kms.Material
	err = d.use(ctx, func(l *loaded) (err error) {
		for ahead, ok := l.imports.take(k); ok; ahead, ok = l.imports.take(k) {
			if ahead.DomainKey == d.newest(kms.RoleWrap) { // else it is from before a rotation
				pair = ahead
				return nil
			}
		}
		pair, err = l.newImportPair(ctx, k)
		return err
	})
	if err != nil {
		return kms.Material{}, fmt.Errorf("make import pair: %w", err)
	}
	return pair, nil
}

func (l *loaded) newImportPair(ctx context.Context, k *keySpec) (pair kms.Material, err error) {
	a := l.abilities.specs[k.spec]
	switch {
	case a.err != nil:
		return pair, unsupported(string(k.spec), a.err)
	case a.resident:
		return pair, fmt.Errorf("%w: wrapping of private keys of spec %s", ErrUnsupported, k.spec)
	}
	version := l.member.domain.newest(kms.RoleWrap)
	key, err := l.key(kms.RoleWrap, version)
	if err != nil {
		return pair, err
	}
	err = l.conn.do(ctx, laneLong, func(s *session) (err error) {
		private, spki, err := k.generated(s, a, leaving, useUnwrap)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.destroyObject(private)) }()
		pair = kms.Material{Wrap: kms.AESKeyWrapPad, DomainKey: version, PublicKey: spki}
		pair.Blob, err = s.wrapKey(l.wraps[pair.Wrap], nil, key.object, private)
		return err
	})
	return pair, err
}

// CanImport says why material of a spec that is wrapped by an algorithm cannot be imported on some
// token of the domain: the error matches ErrUnsupported. Some tokens do not have the mechanism, and
// with Config.ForbidPaddingOutside there is no other way.
func (d *Domain) CanImport(spec kms.KeySpec, algorithm kms.AlgorithmSpec) error {
	w, err := wrappingOf(algorithm)
	if err != nil {
		return err
	}
	k, err := rowOf(spec)
	if err != nil {
		return err
	}
	for _, m := range d.members() {
		if a := m.token.abilities.Load(); a != nil {
			if err := a.canImport(k, w, m.token.config.ForbidPaddingOutside); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *abilities) canImport(k *keySpec, w *wrapping, forbidOutside bool) error {
	if err := a.specs[k.spec].err; err != nil {
		return unsupported(string(k.spec), err)
	}
	if err := a.imports[w.oaep].err; err != nil {
		return unsupported(string(w.algorithm), err)
	}
	if w.twoSteps && a.frailKWP {
		return unsupported(string(w.algorithm), errFrailKWP)
	}
	if forbidOutside && a.outsideOnly(k, w) {
		return fmt.Errorf("%w: C_UnwrapKey of a private key of spec %s by %s", ErrUnsupported, k.spec, w.algorithm)
	}
	return nil
}

var errFrailKWP = errors.New("C_UnwrapKey(" + mechanismName(ckmAESKeyWrapKWP) + ") of a blob that is not sound damages the memory of the process")

// outsideOnly says that a private key cannot go from its wrapping into the token without being seen.
func (a *abilities) outsideOnly(k *keySpec, w *wrapping) bool {
	if _, ok := k.pair.(edKind); ok {
		return true // no token tells the public half of one that it unwrapped
	}
	return k.pair != nil && (a.specs[k.spec].resident || !w.twoSteps && !a.imports[w.oaep].private)
}

// ImportKey unwraps key material in a token and wraps it under the domain key; private keys that
// the token does not wrap become resident. The caller sets Ordinal and Created. The ID depends on
// the material and the key id, and on nothing else.
//
// Something that was not wrapped to this pair by this algorithm gives an error that matches
// ErrBadCiphertext, the same whatever the fault. Something that was, but is not material of the
// spec, gives one that matches ErrBadMaterial.
func (d *Domain) ImportKey(ctx context.Context, r ImportRequest) (kms.Material, error) {
	k, err := rowOf(r.Spec)
	if err != nil {
		return kms.Material{}, err
	}
	w, err := wrappingOf(r.Algorithm)
	if err != nil {
		return kms.Material{}, err
	}
	p := parcel{request: &r, row: k, wrapping: w}
	if err := p.split(); err != nil {
		return kms.Material{}, err
	}
	var m kms.Material
	err = d.use(ctx, func(l *loaded) (err error) {
		if err := l.abilities.canImport(k, w, l.conn.token.config.ForbidPaddingOutside); err != nil {
			return err
		}
		if k.derives {
			if err := l.abilities.derives(r.Scheme); err != nil {
				return err
			}
		}
		version := d.newest(kms.RoleWrap)
		if _, err := l.key(kms.RoleWrap, version); err != nil {
			return err
		}
		where := leaving
		if k.pair != nil && d.keeps(k.spec) {
			if where, err = d.newResident(ctx, l, r.KeyID); err != nil {
				return err
			}
		}
		err = l.conn.do(ctx, laneLong, func(s *session) (err error) {
			m, err = (&importing{session: s, parcel: p, loaded: l, where: where, version: version}).run()
			return err
		})
		if err == nil && where.resting {
			d.homes.Store(string(where.id), l.member)
		}
		return err
	})
	switch {
	case errors.Is(err, ErrBadCiphertext):
		return kms.Material{}, ErrBadCiphertext // one error for every fault of the wrapping
	case err != nil:
		return kms.Material{}, fmt.Errorf("import key material: %w", err)
	}
	return m, nil
}

// A parcel is wrapped material, with its parts told apart.
type parcel struct {
	request  *ImportRequest
	row      *keySpec // of the key
	wrapping *wrapping
	pairKind rsaKind
	oaep     []byte // what RSAES-OAEP made
	rest     []byte // with twoSteps: what RFC 5649 made
}

// split refuses what is no ciphertext by its length and value, which are public.
func (p *parcel) split() error {
	k, err := pairOf(kms.KeySpec(p.request.WrappingKey))
	if err != nil {
		return err
	}
	kind, ok := k.pair.(rsaKind)
	if !ok {
		return fmt.Errorf("%w: wrapping key of spec %s", ErrUnsupported, p.request.WrappingKey)
	}
	public, err := kind.parse(p.request.Pair.PublicKey)
	if err != nil {
		return err
	}
	p.pairKind = kind
	b := p.request.Wrapped
	if len(b) < kind.size() {
		return ErrBadCiphertext
	}
	p.oaep, p.rest = b[:kind.size()], b[kind.size():]
	// RFC 5649 gives two or more blocks of 8 bytes.
	if p.wrapping.twoSteps != (len(p.rest) >= 16 && len(p.rest)%8 == 0) || !p.wrapping.twoSteps && len(p.rest) != 0 ||
		new(big.Int).SetBytes(p.oaep).Cmp(public.N) >= 0 {
		return ErrBadCiphertext
	}
	return nil
}

// ephemeralKind is the AES key between RSA and the material.
var ephemeralKind = secretKind{pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN, 32, useUnwrap}

// openKind is a secret key that is read and destroyed.
var openKind = secretKind{keyType: pkcs11.CKK_GENERIC_SECRET}
