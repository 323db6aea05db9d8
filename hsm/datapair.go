package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
)

// A KeyPair is a data key pair: an asymmetric key that is no KMS key, made to be handed out.
type KeyPair struct {
	Private []byte // DER PrivateKeyInfo (PKCS#8, RFC 5208); the caller's to wipe
	Public  []byte // DER SubjectPublicKeyInfo
}

// GenerateKeyPair makes a data key pair: generated in the token as session objects that may be
// read, read and destroyed. RSA private keys have two primes and all CRT members; those on
// Weierstrass curves name the curve and hold the public key (RFC 5915); Ed25519 is as RFC 8410,
// section 7. RSA pairs come from those generated ahead, if there are any: see Config.PairsAhead.
func (d *Domain) GenerateKeyPair(ctx context.Context, spec kms.DataKeyPairSpec) (KeyPair, error) {
	k, err := pairOf(kms.KeySpec(spec))
	if err != nil {
		return KeyPair{}, err
	}
	var pair KeyPair
	err = d.use(ctx, func(l *loaded) error {
		a := l.abilities.specs[k.spec]
		if a.err != nil {
			return unsupported(string(spec), a.err)
		}
		return l.conn.do(ctx, laneLong, func(s *session) (err error) {
			if ahead, ok := l.pairs.take(k); ok {
				// One that went with its session is made again below.
				if pair, err = s.handOut(k, ahead); classOf(err) != classHandleLost {
					return err
				}
			}
			made, err := s.dataPair(k, a)
			if err != nil {
				return err
			}
			pair, err = s.handOut(k, made)
			return err
		})
	})
	if err != nil {
		return KeyPair{}, fmt.Errorf("make data key pair: %w", err)
	}
	return pair, nil
}

// A dataPair is a data key pair that is still in the token.
type dataPair struct{ public, private object }

// dataPair generates a pair that may be read.
func (s *session) dataPair(k *keySpec, a *specAbility) (dataPair, error) {
	u := useSign
	if _, ok := k.pair.(mlKEMKind); ok {
		u = useDecapsulate
	}
	public, private, err := s.generatePair(k.pair, a.name, given, u)
	return dataPair{public, private}, err
}

// newDataPair and dropDataPair are dataPair and its end for the pool.
func (l *loaded) newDataPair(ctx context.Context, k *keySpec) (pair dataPair, err error) {
	err = l.conn.do(ctx, laneLong, func(s *session) (err error) {
		pair, err = s.dataPair(k, l.abilities.specs[k.spec])
		return err
	})
	return pair, err
}

func (l *loaded) dropDataPair(p dataPair) {
	_ = l.conn.do(context.Background(), laneLong, func(s *session) error { // gone with its session, if not so
		_ = s.destroyObject(p.public)
		return s.destroyObject(p.private)
	})
}

// handOut reads a pair and destroys it.
func (s *session) handOut(k *keySpec, p dataPair) (pair KeyPair, err error) {
	defer func() {
		if e := errors.Join(s.destroyObject(p.private), s.destroyObject(p.public)); e != nil && err == nil {
			clear(pair.Private)
			pair, err = KeyPair{}, e
		}
	}()
	if pair.Public, err = k.pair.spki(s, p.public); err != nil {
		return KeyPair{}, err
	}
	if pair.Private, err = k.pair.pkcs8(s, p.private, pair.Public); err != nil {
		return KeyPair{}, err
	}
	return pair, nil
}
