package hsm_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

var oaeps = []struct {
	algorithm kms.EncryptionAlgorithmSpec
	hash      crypto.Hash
}{
	{kms.EncryptionAlgorithmSpecRsaesOaepSha1, crypto.SHA1},
	{kms.EncryptionAlgorithmSpecRsaesOaepSha256, crypto.SHA256},
}

func TestRSAEncryption(t *testing.T) {
	d := hsmtest.Domain(t)
	outside := sameDomain(t, d, hsm.Config{PublicOutside: true})
	for spec, size := range map[kms.KeySpec]int{kms.KeySpecRsa2048: 256, kms.KeySpecRsa3072: 384, kms.KeySpecRsa4096: 512} {
		m := newPair(t, d, spec, kms.KeyUsageTypeEncryptDecrypt)
		key, err := x509.ParsePKIXPublicKey(m.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		public := key.(*rsa.PublicKey)
		if public.E != 65537 || public.Size() != size {
			t.Errorf("%s: exponent %d, %d bytes", spec, public.E, public.Size())
		}
		for _, o := range oaeps {
			most := size - 2*o.hash.Size() - 2
			for _, n := range []int{0, 1, 32, most} {
				text := bytes.Repeat([]byte{7}, n)
				byGo, err := rsa.EncryptOAEP(o.hash.New(), rand.Reader, public, text, nil)
				if err != nil {
					t.Fatal(err)
				}
				ciphertexts := [][]byte{byGo}
				for _, by := range []*hsm.Domain{d, outside} {
					c, err := by.EncryptRSA(t.Context(), &m, spec, o.algorithm, text)
					if err != nil {
						t.Fatalf("%s, %d bytes: %v", o.algorithm, n, err)
					}
					ciphertexts = append(ciphertexts, c)
				}
				for i, c := range ciphertexts {
					got, err := d.DecryptRSA(t.Context(), &m, spec, o.algorithm, c)
					if err != nil || !bytes.Equal(got, text) {
						t.Errorf("%s with %s, %d bytes, way %d: %d bytes, %v", o.algorithm, spec, n, i, len(got), err)
					}
				}
			}
			for _, by := range []*hsm.Domain{d, outside} {
				if _, err := by.EncryptRSA(t.Context(), &m, spec, o.algorithm, make([]byte, most+1)); err == nil {
					t.Errorf("%s encrypts %d bytes", o.algorithm, most+1)
				}
			}
		}
	}
}

func TestBadRSACiphertext(t *testing.T) {
	d := hsmtest.Domain(t)
	const spec = kms.KeySpecRsa2048
	m := newPair(t, d, spec, kms.KeyUsageTypeEncryptDecrypt)
	key, err := x509.ParsePKIXPublicKey(m.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := key.(*rsa.PublicKey)
	power := func(encoded []byte) []byte { // the RSA step, without padding
		c := new(big.Int).Exp(new(big.Int).SetBytes(encoded), big.NewInt(int64(public.E)), public.N)
		return c.FillBytes(make([]byte, public.Size()))
	}
	for _, o := range oaeps {
		other := oaeps[0].hash
		if other == o.hash {
			other = oaeps[1].hash
		}
		good, err := d.EncryptRSA(t.Context(), &m, spec, o.algorithm, []byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		wrongHash, err := rsa.EncryptOAEP(other.New(), rand.Reader, public, []byte("text"), nil)
		if err != nil {
			t.Fatal(err)
		}
		labelled, err := rsa.EncryptOAEP(o.hash.New(), rand.Reader, public, []byte("text"), []byte("label"))
		if err != nil {
			t.Fatal(err)
		}
		//lint:ignore SA1019 a ciphertext with the wrong padding is what is wanted
		pkcs1, err := rsa.EncryptPKCS1v15(rand.Reader, public, []byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		larger := new(big.Int).Add(new(big.Int).SetBytes(good), public.N)
		bad := malformed(good)
		for name, c := range map[string][]byte{
			"the modulus":           public.N.Bytes(),
			"one":                   append(make([]byte, 255), 1),
			"itself and n":          larger.Bytes(),
			"of another hash":       wrongHash,
			"with a label":          labelled,
			"of PKCS#1 v1.5":        pkcs1,
			"first byte not zero":   power(append([]byte{0x70}, make([]byte, 255)...)),
			"padding of zeros only": power(make([]byte, 256)),
		} {
			bad[name] = c
		}
		texts := map[string]bool{}
		for name, c := range bad {
			_, err := d.DecryptRSA(t.Context(), &m, spec, o.algorithm, c)
			if !errors.Is(err, hsm.ErrBadCiphertext) || errors.Is(err, hsm.ErrTokenDown) {
				t.Errorf("%s, ciphertext %s: %v", o.algorithm, name, err)
				continue
			}
			if len(c) == public.Size() && new(big.Int).SetBytes(c).Cmp(public.N) < 0 {
				texts[err.Error()] = true
			}
		}
		if len(texts) != 1 {
			t.Errorf("%s: faults of the padding can be told apart: %v", o.algorithm, texts)
		}
		if got, err := d.DecryptRSA(t.Context(), &m, spec, o.algorithm, good); err != nil || string(got) != "text" {
			t.Errorf("%s after the bad ones: %v", o.algorithm, err)
		}
	}
}

// TestForbidPaddingOutside takes the one algorithm away for which SoftHSM2 needs the padding
// taken off outside.
func TestForbidPaddingOutside(t *testing.T) {
	hsmtest.Require(t, hsmtest.WithoutSHA256)
	d := hsmtest.Domain(t)
	strict := sameDomain(t, d, hsm.Config{ForbidPaddingOutside: true})
	const spec = kms.KeySpecRsa2048
	m := newPair(t, d, spec, kms.KeyUsageTypeEncryptDecrypt)
	for _, o := range oaeps {
		c, err := strict.EncryptRSA(t.Context(), &m, spec, o.algorithm, []byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = strict.DecryptRSA(t.Context(), &m, spec, o.algorithm, c)
		inside := o.hash == crypto.SHA1
		if strict.Supports(spec, string(o.algorithm)) != inside || !d.Supports(spec, string(o.algorithm)) {
			t.Errorf("%s: supported %t with the switch", o.algorithm, !inside)
		}
		if inside != (err == nil) || !inside && (!errors.Is(err, hsm.ErrUnsupported) || errors.Is(err, hsm.ErrBadCiphertext)) {
			t.Errorf("%s: %v", o.algorithm, err)
		}
	}
}
