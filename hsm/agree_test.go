package hsm_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

var agreeing = []struct {
	spec  kms.KeySpec
	curve elliptic.Curve
	ecdh  ecdh.Curve
}{
	{kms.KeySpecEccNistP256, elliptic.P256(), ecdh.P256()},
	{kms.KeySpecEccNistP384, elliptic.P384(), ecdh.P384()},
	{kms.KeySpecEccNistP521, elliptic.P521(), ecdh.P521()},
}

func marshalPublic(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestDeriveSharedSecret leaves secrets with leading zeros to the vectors of Wycheproof.
func TestDeriveSharedSecret(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	for _, c := range agreeing {
		m := newPair(t, d, c.spec, kms.KeyUsageTypeKeyAgreement)
		key, err := x509.ParsePKIXPublicKey(m.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		mine, err := key.(*ecdsa.PublicKey).ECDH()
		if err != nil {
			t.Fatal(err)
		}
		size := (c.curve.Params().BitSize + 7) / 8
		objects := 0
		for i := range 12 {
			peer, err := c.ecdh.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			want, err := peer.ECDH(mine)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.DeriveSharedSecret(t.Context(), &m, c.spec, marshalPublic(t, peer.PublicKey()))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != size || !bytes.Equal(got, want) {
				t.Fatalf("%s: a secret of %d bytes is not that of the standard library", c.spec, len(got))
			}
			if i == 0 {
				objects = len(hsm.Objects(t, token))
			}
		}
		if n := len(hsm.Objects(t, token)); n != objects {
			t.Errorf("%s: %d objects after the first secret, %d after the last", c.spec, objects, n)
		}
		for name, peer := range badPeers(t, c.curve) {
			if _, err := d.DeriveSharedSecret(t.Context(), &m, c.spec, peer); !errors.Is(err, hsm.ErrBadPublicKey) {
				t.Errorf("%s, peer's key %s: %v", c.spec, name, err)
			}
		}
	}
	rsa := newPair(t, d, kms.KeySpecRsa2048, kms.KeyUsageTypeSignVerify)
	if _, err := d.DeriveSharedSecret(t.Context(), &rsa, kms.KeySpecRsa2048, nil); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("an RSA key agrees: %v", err)
	}
}

func badPeers(t *testing.T, curve elliptic.Curve) map[string][]byte {
	t.Helper()
	other := elliptic.P256()
	if curve == other {
		other = elliptic.P384()
	}
	foreign, err := ecdsa.GenerateKey(other, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := marshalPublic(t, &own.PublicKey)
	off := bytes.Clone(good)
	off[len(off)-1] ^= 1
	size := (curve.Params().BitSize + 7) / 8
	zeros := bytes.Clone(good)
	clear(zeros[len(zeros)-2*size:])
	compressed := bytes.Clone(good)
	compressed[len(compressed)-2*size-1] = 2
	return map[string][]byte{
		"nil":                nil,
		"garbage":            []byte("not DER at all"),
		"cut":                good[:len(good)-1],
		"followed by a byte": append(bytes.Clone(good), 0),
		"of another curve":   marshalPublic(t, &foreign.PublicKey),
		"off the curve":      off,
		"of zeros":           zeros,
		"compressed":         compressed,
		// The point at infinity is one byte, 0: SEC 1, section 2.3.3.
		"infinity": infinity(good, size),
	}
}

// infinity replaces the point of a key by the point at infinity, with the lengths put right.
func infinity(good []byte, size int) []byte {
	i := bytes.LastIndexByte(good[:len(good)-2*size-1], 0x03) // BIT STRING
	algorithm := good[2:i]
	if good[1] >= 0x80 {
		algorithm = good[2+int(good[1]&0x7f) : i]
	}
	body := append(bytes.Clone(algorithm), 0x03, 2, 0, 0)
	return append([]byte{0x30, byte(len(body))}, body...)
}
