package hsm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// hashOf reads the hash out of the name of an algorithm.
func hashOf(a kms.SigningAlgorithmSpec) crypto.Hash {
	for suffix, h := range map[string]crypto.Hash{"SHA_256": crypto.SHA256, "SHA_384": crypto.SHA384, "SHA_512": crypto.SHA512} {
		if strings.HasSuffix(string(a), suffix) {
			return h
		}
	}
	return 0
}

func digestOf(a kms.SigningAlgorithmSpec, message []byte) []byte {
	h := hashOf(a).New()
	h.Write(message)
	return h.Sum(nil)
}

// goVerify verifies a signature with nothing of the package.
func goVerify(t testing.TB, spki []byte, spec kms.KeySpec, a kms.SigningAlgorithmSpec, message, signature []byte) bool {
	t.Helper()
	if spec == kms.KeySpecEccSecgP256k1 {
		return verifySecp256k1(t, spki, message, signature)
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if strings.Contains(string(a), "PSS") {
			return rsa.VerifyPSS(key, hashOf(a), digestOf(a, message), signature, &rsa.PSSOptions{SaltLength: hashOf(a).Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(key, hashOf(a), digestOf(a, message), signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digestOf(a, message), signature)
	case ed25519.PublicKey:
		if a == kms.SigningAlgorithmSpecEd25519PhSha512 {
			digest := sha512.Sum512(message)
			return ed25519.VerifyWithOptions(key, digest[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
		}
		return ed25519.Verify(key, message, signature)
	}
	t.Fatalf("a key of type %T", key)
	return false
}

func TestSign(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	outside := sameDomain(t, d, hsm.Config{PublicOutside: true})
	for _, spec := range kms.Specs() {
		use, ok := spec.Use(kms.KeyUsageTypeSignVerify)
		// TestMLDSA is about the family that the standard library does not have.
		if !ok || spec.Family == kms.FamilyMLDSA || !d.Supports(spec.KeySpec, string(use.Signing[0])) {
			continue
		}
		t.Run(string(spec.KeySpec), func(t *testing.T) {
			m := newPair(t, d, spec.KeySpec, kms.KeyUsageTypeSignVerify)
			for _, a := range use.Signing {
				testSigning(t, d, outside, &m, spec.KeySpec, a)
			}
		})
	}
}

// sameDomain opens the domain of d a second time, with another configuration of the same token.
func sameDomain(t testing.TB, d *hsm.Domain, c hsm.Config) *hsm.Domain {
	t.Helper()
	c.URI = hsm.URIOf(d)
	second, err := hsm.OpenDomain(t.Context(), []*hsm.Token{hsmtest.Open(t, c)}, d.Describe())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	return second
}

func testSigning(t *testing.T, d, outside *hsm.Domain, m *kms.Material, spec kms.KeySpec, a kms.SigningAlgorithmSpec) {
	message := []byte("a message that is longer than any digest: " + strings.Repeat("x", 100))
	raw := hsm.SignInput{Message: message}
	if a == kms.SigningAlgorithmSpecEd25519PhSha512 && !d.Supports(spec, string(a)) {
		if _, err := d.Sign(t.Context(), m, spec, a, raw); !errors.Is(err, hsm.ErrUnsupported) || !strings.Contains(err.Error(), "CKM_EDDSA") {
			t.Errorf("%s: %v", a, err)
		}
		return
	}
	inputs := []hsm.SignInput{raw}
	if spec != kms.KeySpecEccNistEdwards25519 {
		inputs = append(inputs, hsm.SignInput{Message: digestOf(a, message), Digest: true})
	}
	var last []byte
	for _, in := range inputs {
		signature, err := d.Sign(t.Context(), m, spec, a, in)
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		last = signature
		if !goVerify(t, m.PublicKey, spec, a, message, signature) {
			t.Errorf("%s: the standard library refuses the signature", a)
		}
		for _, in := range inputs {
			for _, by := range []*hsm.Domain{d, outside} {
				if err := by.Verify(t.Context(), m, spec, a, in, signature); err != nil {
					t.Errorf("%s: %v", a, err)
				}
			}
		}
	}
	for name, bad := range malformed(last) {
		for _, by := range []*hsm.Domain{d, outside} {
			if err := by.Verify(t.Context(), m, spec, a, raw, bad); !errors.Is(err, hsm.ErrBadSignature) {
				t.Errorf("%s, signature %s: %v", a, name, err)
			}
		}
	}
	other := hsm.SignInput{Message: []byte("another message")}
	for _, by := range []*hsm.Domain{d, outside} {
		if err := by.Verify(t.Context(), m, spec, a, other, last); !errors.Is(err, hsm.ErrBadSignature) {
			t.Errorf("%s of another message: %v", a, err)
		}
	}
	if in := (hsm.SignInput{Message: []byte("short"), Digest: true}); a != kms.SigningAlgorithmSpecEd25519Sha512 {
		if _, err := d.Sign(t.Context(), m, spec, a, in); err == nil {
			t.Errorf("%s takes a digest of 5 bytes", a)
		}
	}
}

// malformed are bad versions of a good signature.
func malformed(good []byte) map[string][]byte {
	flip := func(i int) []byte {
		b := bytes.Clone(good)
		b[(i+len(b))%len(b)] ^= 1
		return b
	}
	return map[string][]byte{
		"empty":              {},
		"one byte":           {0x30},
		"cut":                good[:len(good)-1],
		"longer":             append(bytes.Clone(good), 0),
		"with a zero before": append([]byte{0}, good...),
		"of zeros":           make([]byte, len(good)),
		"of ones":            bytes.Repeat([]byte{0xff}, len(good)),
		"of 6144 bytes":      bytes.Repeat([]byte{0x30}, 6144),
		"first byte":         flip(0),
		"middle":             flip(len(good) / 2),
		"last byte":          flip(-1),
	}
}

func TestSignRefuses(t *testing.T) {
	d := hsmtest.Domain(t)
	m := newPair(t, d, kms.KeySpecEccNistP256, kms.KeyUsageTypeSignVerify)
	in := hsm.SignInput{Message: []byte("m")}
	for _, c := range []struct {
		spec      kms.KeySpec
		algorithm kms.SigningAlgorithmSpec
	}{
		{kms.KeySpecEccNistP256, kms.SigningAlgorithmSpecEcdsaSha384},
		{kms.KeySpecEccNistP256, kms.SigningAlgorithmSpecRsassaPssSha256},
		{kms.KeySpecHmac256, kms.SigningAlgorithmSpecEcdsaSha256},
		{"NO_SUCH_SPEC", kms.SigningAlgorithmSpecEcdsaSha256},
	} {
		if _, err := d.Sign(t.Context(), &m, c.spec, c.algorithm, in); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("Sign, %s with %s: %v", c.algorithm, c.spec, err)
		}
		if err := d.Verify(t.Context(), &m, c.spec, c.algorithm, in, []byte("s")); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("Verify, %s with %s: %v", c.algorithm, c.spec, err)
		}
	}
	symmetric := newKey(t, d)
	if _, err := d.Sign(t.Context(), &symmetric, kms.KeySpecEccNistP256, kms.SigningAlgorithmSpecEcdsaSha256, in); err == nil {
		t.Error("symmetric material signs")
	}
	// The public key of another kind in the material.
	mixed := m
	mixed.ID, mixed.PublicKey = strings.Repeat("0", 64), newPair(t, d, kms.KeySpecRsa2048, kms.KeyUsageTypeSignVerify).PublicKey
	if err := d.Verify(t.Context(), &mixed, kms.KeySpecEccNistP256, kms.SigningAlgorithmSpecEcdsaSha256, in, nil); err == nil {
		t.Error("a key of another kind verifies")
	}
}

// verifySecp256k1 verifies ECDSA with SHA-256 as SEC 1, section 4.1.4, has it, in affine
// coordinates on y² = x³ + 7.
func verifySecp256k1(t testing.TB, spki, message, signature []byte) bool {
	t.Helper()
	number := func(s string) *big.Int { n, _ := new(big.Int).SetString(s, 16); return n }
	p := number("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")
	n := number("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	type point struct{ x, y *big.Int } // nil is infinity
	g := point{number("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
		number("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")}
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil || len(info.Key.Bytes) != 65 {
		t.Fatalf("SPKI: %v", err)
	}
	q := point{new(big.Int).SetBytes(info.Key.Bytes[1:33]), new(big.Int).SetBytes(info.Key.Bytes[33:])}
	add := func(a, b point) point {
		if a.x == nil {
			return b
		}
		if b.x == nil {
			return a
		}
		var slope *big.Int
		if a.x.Cmp(b.x) == 0 {
			if a.y.Cmp(b.y) != 0 {
				return point{}
			}
			slope = new(big.Int).Mul(big.NewInt(3), new(big.Int).Mul(a.x, a.x))
			slope.Mul(slope, new(big.Int).ModInverse(new(big.Int).Lsh(a.y, 1), p))
		} else {
			run := new(big.Int).Sub(b.x, a.x)
			slope = new(big.Int).Mul(new(big.Int).Sub(b.y, a.y), new(big.Int).ModInverse(run.Mod(run, p), p))
		}
		slope.Mod(slope, p)
		x := new(big.Int).Mul(slope, slope)
		x.Sub(x, a.x).Sub(x, b.x).Mod(x, p)
		y := new(big.Int).Sub(a.x, x)
		y.Mul(y, slope).Sub(y, a.y).Mod(y, p)
		return point{x, y}
	}
	times := func(k *big.Int, a point) point {
		var sum point
		for i := k.BitLen() - 1; i >= 0; i-- {
			sum = add(sum, sum)
			if k.Bit(i) == 1 {
				sum = add(sum, a)
			}
		}
		return sum
	}
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &sig); err != nil || len(rest) != 0 {
		return false
	}
	digest := sha256.Sum256(message)
	w := new(big.Int).ModInverse(sig.S, n)
	u1 := new(big.Int).Mul(new(big.Int).SetBytes(digest[:]), w)
	u2 := new(big.Int).Mul(sig.R, w)
	sum := add(times(u1.Mod(u1, n), g), times(u2.Mod(u2, n), q))
	return sum.x != nil && new(big.Int).Mod(sum.x, n).Cmp(sig.R) == 0
}
