package hsm

import (
	"testing"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// The functions here run known keys through a token as the package would, for test vectors.

func onToken(t testing.TB, token *Token, fn func(p *prober) error) error {
	t.Helper()
	return token.do(t.Context(), laneHold, func(s *session) error {
		p := &prober{session: s}
		defer p.release(0)
		return fn(p)
	})
}

// SealGCM encrypts with a known AES key.
func SealGCM(t testing.TB, token *Token, key, iv, aad, text []byte) (out []byte, err error) {
	err = onToken(t, token, func(p *prober) error {
		o, err := p.keep(p.createObject(messageKeyKind.known(inUse, key)))
		if err == nil {
			out, err = p.sealGCM(o, iv, aad, text)
		}
		return err
	})
	return out, err
}

// OpenGCM decrypts with a known AES key.
func OpenGCM(t testing.TB, token *Token, key, iv, aad, text []byte) (out []byte, err error) {
	err = onToken(t, token, func(p *prober) error {
		o, err := p.keep(p.createObject(messageKeyKind.known(inUse, key)))
		if err == nil {
			out, err = p.openGCM(o, iv, aad, text)
		}
		return err
	})
	return out, err
}

// Wrap wraps a known key under a known key.
func Wrap(t testing.TB, token *Token, algorithm kms.WrapAlgorithm, kek, key []byte) (blob []byte, err error) {
	err = onToken(t, token, func(p *prober) error {
		w, err := findWraps(p.session)
		if err != nil {
			t.Fatal(err)
		}
		outer, err := p.keep(p.createObject(wrapKeyKind.known(inUse, kek)))
		if err != nil {
			return err
		}
		inner, err := p.keep(p.createObject(macKind.known(leaving, key)))
		if err == nil {
			blob, err = p.wrapKey(w[algorithm], nil, outer, inner)
		}
		return err
	})
	return blob, err
}

// Unwrap unwraps a key under a known key, so that it can be read.
func Unwrap(t testing.TB, token *Token, algorithm kms.WrapAlgorithm, kek, blob []byte) (key []byte, err error) {
	err = onToken(t, token, func(p *prober) error {
		w, err := findWraps(p.session)
		if err != nil {
			t.Fatal(err)
		}
		outer, err := p.keep(p.createObject(wrapKeyKind.known(inUse, kek)))
		if err != nil {
			return err
		}
		inner, err := p.keep(p.unwrapKey(w[algorithm], nil, outer, blob, macKind.template(given)))
		if err != nil {
			return err
		}
		got, err := p.attributes(inner, pkcs11.CKA_VALUE)
		if err == nil {
			key = got[0]
		}
		return err
	})
	return key, err
}

// VerifyAny is Verify for pairs of spec and algorithm that KMS does not have.
func VerifyAny(t testing.TB, d *Domain, m *kms.Material, spec kms.KeySpec, algorithm kms.SigningAlgorithmSpec, message, signature []byte) error {
	t.Helper()
	k, err := pairOf(spec)
	if err != nil {
		t.Fatal(err)
	}
	g, err := signingOf(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	data, err := g.input(k.pair, m.PublicKey, SignInput{Message: message})
	if err != nil {
		t.Fatal(err)
	}
	return d.verify(t.Context(), m, k, g, data, signature)
}
