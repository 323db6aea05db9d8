package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
)

// SignInput is what a signature is for.
type SignInput struct {
	Message []byte
	// Digest says that Message is the digest of the message by the algorithm's hash. Ed25519
	// takes none: ED25519_PH_SHA_512 hashes the Message, whatever it is.
	Digest bool
	// ExternalMu says that Message is the message representative mu of ML-DSA, 64 bytes (FIPS 204,
	// algorithm 7, line 6). Not every token that has ML-DSA takes it: ask Supports for ExternalMu.
	ExternalMu bool
}

// Sign signs with the private key m in the token. Signatures are those of the API: DER for ECDSA,
// the modulus' size for RSA, 64 bytes for Ed25519. An algorithm that the token cannot do gives an
// error that matches ErrUnsupported.
func (d *Domain) Sign(ctx context.Context, m *kms.Material, spec kms.KeySpec, algorithm kms.SigningAlgorithmSpec, in SignInput) ([]byte, error) {
	k, g, data, err := signed(m.PublicKey, spec, algorithm, in)
	if err != nil {
		return nil, err
	}
	var signature []byte
	err = d.withPrivate(ctx, m, k, useSign, g.name(), func(l *loaded, key object) error {
		return l.conn.do(ctx, k.lane, func(s *session) (err error) {
			signature, err = g.sign(s, k.pair, key, data)
			return err
		})
	})
	return signature, err
}

func signed(spki []byte, spec kms.KeySpec, algorithm kms.SigningAlgorithmSpec, in SignInput) (*keySpec, *signing, []byte, error) {
	k, err := pairOf(spec)
	if err != nil {
		return nil, nil, nil, err
	}
	if row, ok := kms.SpecOf(spec); !ok || row.CheckAlgorithm(kms.KeyUsageTypeSignVerify, string(algorithm)) != nil {
		return nil, nil, nil, fmt.Errorf("%w: %s with a key of spec %s", ErrUnsupported, algorithm, spec)
	}
	g, err := signingOf(algorithm)
	if err != nil {
		return nil, nil, nil, err
	}
	if in.ExternalMu {
		if g, err = g.externalMu(); err != nil {
			return nil, nil, nil, err
		}
	}
	data, err := g.input(k.pair, spki, in)
	return k, g, data, err
}

// Verify verifies what Sign made. A signature that is wrong, for whatever reason, gives an error
// that matches ErrBadSignature. The token does it if it can, with the public half as a session
// object, unless Config.PublicOutside is set; else the standard library does.
func (d *Domain) Verify(ctx context.Context, m *kms.Material, spec kms.KeySpec, algorithm kms.SigningAlgorithmSpec, in SignInput, signature []byte) error {
	k, g, data, err := signed(m.PublicKey, spec, algorithm, in)
	if err != nil {
		return err
	}
	return d.verify(ctx, m, k, g, data, signature)
}

func (d *Domain) verify(ctx context.Context, m *kms.Material, k *keySpec, g *signing, data, signature []byte) error {
	raw, err := g.check(k.pair, m.PublicKey, signature)
	if errors.Is(err, errPublicForm) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	if d.publicOutside() {
		good, known, err := g.outside(k.pair, m.PublicKey, data, signature)
		if known || err != nil {
			return verdict(good, err)
		}
	}
	return d.use(ctx, func(l *loaded) error {
		if !l.abilities.public(k.spec, g.name()) {
			good, known, err := g.outside(k.pair, m.PublicKey, data, signature)
			if !known {
				return fmt.Errorf("%w: verifying %s with a key of spec %s", ErrUnsupported, g.name(), k.spec)
			}
			return verdict(good, err)
		}
		key, err := l.publicKey(ctx, m, k, useVerify)
		if err != nil {
			return err
		}
		defer l.cache.release(key)
		return l.conn.do(ctx, k.lane, func(s *session) error {
			return s.verify(g.mechanismOn(s), g.parameters(), key.handle, data, raw)
		})
	})
}

func verdict(good bool, err error) error {
	if err == nil && !good {
		return ErrBadSignature
	}
	return err
}

// publicOutside says whether the standard library does the public-key operations it can.
func (d *Domain) publicOutside() bool {
	for _, m := range d.members() {
		if m.token.config.PublicOutside {
			return true
		}
	}
	return false
}

// publicKey gives the public half of m as an object, with a reference.
func (l *loaded) publicKey(ctx context.Context, m *kms.Material, k *keySpec, u use) (*entry, error) {
	e, _, err := l.cache.get(ctx, handleKey{material: m.ID, use: u}, func(*entry) (o object, err error) {
		template, err := publicTemplate(k.pair, u, m.PublicKey, l.abilities.bare(k.spec))
		if err != nil {
			return 0, err
		}
		err = l.conn.do(ctx, laneHold, func(s *session) error {
			o, err = s.createObject(template)
			return err
		})
		return o, err
	})
	return e, err
}
