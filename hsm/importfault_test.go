package hsm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"hash"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// TestImportFaultsLookAlike sends what Manger's attack (CRYPTO 2001) sends, and other faults of the
// wrapping: all of them give the very same error, whether the token takes the padding off or this
// program.
func TestImportFaultsLookAlike(t *testing.T) {
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), PairsAhead: -1})
	d := hsmtest.Domain(t, token)
	i := newImporter(t, d, kms.WrappingKeySpecRsa2048)
	parsed, err := x509.ParsePKIXPublicKey(i.pair.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := parsed.(*rsa.PublicKey)
	objects := len(hsm.Objects(t, token))
	raw := func(encoded []byte) []byte {
		c := new(big.Int).Exp(new(big.Int).SetBytes(encoded), big.NewInt(int64(public.E)), public.N)
		return c.FillBytes(make([]byte, public.Size()))
	}
	for algorithm, newHash := range map[kms.AlgorithmSpec]func() hash.Hash{kms.AlgorithmSpecRsaesOaepSha1: sha1.New, kms.AlgorithmSpecRsaesOaepSha256: sha256.New} {
		twoSteps := map[kms.AlgorithmSpec]kms.AlgorithmSpec{
			kms.AlgorithmSpecRsaesOaepSha1:   kms.AlgorithmSpecRsaAesKeyWrapSha1,
			kms.AlgorithmSpecRsaesOaepSha256: kms.AlgorithmSpecRsaAesKeyWrapSha256,
		}[algorithm]
		oaep := func(message, label []byte) []byte {
			out, err := rsa.EncryptOAEP(newHash(), rand.Reader, public, message, label)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		ephemeral, material := make([]byte, 32), make([]byte, 32)
		wrapped := keyWrapPad(t, ephemeral, material)
		tail := bytes.Clone(wrapped)
		tail[len(tail)-1] ^= 1
		high := append([]byte{1}, make([]byte, public.Size()-1)...)
		faults := map[string][]byte{
			"first byte not zero": raw(high),
			"no padding":          raw(high[1:]),
			"zero":                make([]byte, public.Size()),
			"as large as can be":  new(big.Int).Sub(public.N, big.NewInt(1)).Bytes(),
			"too large":           public.N.Bytes(),
			"label":               oaep(material, []byte("label")),
			"short":               oaep(material, nil)[1:],
			"empty":               nil,
		}
		for name, b := range faults {
			for _, spec := range []kms.KeySpec{kms.KeySpecSymmetricDefault, kms.KeySpecHmac256, kms.KeySpecEccNistP256, edSpec} {
				if !hasSpec(spec) {
					continue
				}
				row, _ := kms.SpecOf(spec)
				if _, err := i.raw(spec, row.Uses[0].Usage, algorithm, b); err != hsm.ErrBadCiphertext {
					t.Errorf("%s by %s, %s: %v", spec, algorithm, name, err)
				}
			}
		}
		for name, b := range faults {
			faults[name] = append(slices.Clip(b), wrapped...)
		}
		faults["long"] = append(oaep(material, nil), 0)
		faults["AES key too short"] = append(oaep(make([]byte, 31), nil), wrapped...)
		faults["AES key too long"] = append(oaep(make([]byte, 33), nil), wrapped...)
		faults["AES key empty"] = append(oaep(nil, nil), wrapped...)
		faults["another AES key"] = append(oaep(bytes.Repeat([]byte{1}, 32), nil), wrapped...)
		faults["damaged"] = append(oaep(ephemeral, nil), tail...)
		faults["no second step"] = oaep(ephemeral, nil)
		faults["cut"] = append(oaep(ephemeral, nil), wrapped[:8]...)
		faults["odd"] = append(oaep(ephemeral, nil), wrapped[:31]...)
		for name, b := range faults {
			for _, spec := range []kms.KeySpec{kms.KeySpecRsa2048, kms.KeySpecEccNistP256, edSpec} {
				if !hasSpec(spec) {
					continue
				}
				_, err := i.raw(spec, kms.KeyUsageTypeSignVerify, twoSteps, b)
				if !hsmtest.Has(hsmtest.ForeignKWP) && errors.Is(err, hsm.ErrUnsupported) && errors.Is(d.CanImport(spec, twoSteps), hsm.ErrUnsupported) {
					continue // nothing may be tried on such a token
				}
				if err != hsm.ErrBadCiphertext {
					t.Errorf("%s by %s, %s: %v", spec, twoSteps, name, err)
				}
			}
		}
	}
	if n := len(hsm.Objects(t, token)); n != objects {
		t.Errorf("%d objects, %d before", n, objects)
	}
}

// broken is an RSA-2048 key whose exponents are wrong. No library writes one, so this does.
func broken(t testing.TB) []byte {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var parts struct {
		Version                      int
		N                            *big.Int
		E                            int
		D, P, Q, DP, DQ, Coefficient *big.Int
	}
	if _, err := asn1.Unmarshal(x509.MarshalPKCS1PrivateKey(k), &parts); err != nil {
		t.Fatal(err)
	}
	for _, exponent := range []*big.Int{parts.D, parts.DP, parts.DQ} {
		exponent.Sub(exponent, big.NewInt(2))
	}
	inner, err := asn1.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue}, inner})
	if err != nil {
		t.Fatal(err)
	}
	return outer
}

// TestImportOfOtherKeys wraps well what is not material of the spec.
func TestImportOfOtherKeys(t *testing.T) {
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), PairsAhead: -1})
	d := hsmtest.Domain(t, token)
	i := newImporter(t, d, kms.WrappingKeySpecRsa3072)
	objects := len(hsm.Objects(t, token))
	keys := knownPairs(t)
	other, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	strangers := map[string][]byte{
		"bytes":  make([]byte, 48),
		"P-224":  pkcs8(t, other),
		"broken": broken(t),
		"PKCS#1": x509.MarshalPKCS1PrivateKey(own),
	}
	for _, k := range keys {
		strangers[string(k.spec)] = k.secret
	}
	for _, spec := range []kms.KeySpec{kms.KeySpecRsa2048, kms.KeySpecRsa3072, kms.KeySpecEccNistP256, kms.KeySpecEccNistP384, kms.KeySpecEccSecgP256k1, edSpec} {
		for name, secret := range strangers {
			if name == string(spec) || !hasSpec(spec) {
				continue
			}
			for _, algorithm := range ownWrappings() {
				if len(secret) > 300 && (algorithm == kms.AlgorithmSpecRsaesOaepSha1 || algorithm == kms.AlgorithmSpecRsaesOaepSha256) {
					continue // too long for RSA
				}
				_, err := i.bring(spec, kms.KeyUsageTypeSignVerify, algorithm, secret)
				// A token that takes no secret so long cannot tell that the wrapping was in order.
				if len(secret) > 256 && !hsmtest.Has(hsmtest.LongSecrets) && errors.Is(err, hsm.ErrBadCiphertext) {
					continue
				}
				if !errors.Is(err, hsm.ErrBadMaterial) {
					t.Errorf("%s as %s by %s: %v", name, spec, algorithm, err)
				}
			}
		}
	}
	if n := len(hsm.Objects(t, token)); n != objects {
		t.Errorf("%d objects, %d before", n, objects)
	}
}

// TestImportUnseenOnly: with Config.ForbidPaddingOutside a token takes in what it can take in
// unseen, and nothing else.
func TestImportUnseenOnly(t *testing.T) {
	hsmtest.Require(t, hsmtest.WithoutSHA256)
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), ForbidPaddingOutside: true})
	d := hsmtest.Domain(t, token)
	i := newImporter(t, d, kms.WrappingKeySpecRsa2048)
	keys := knownPairs(t)
	p256 := keys[0]
	for _, c := range []struct {
		spec      kms.KeySpec
		usage     kms.KeyUsageType
		algorithm kms.AlgorithmSpec
		material  []byte
		can, do   bool
	}{
		{kms.KeySpecSymmetricDefault, kms.KeyUsageTypeEncryptDecrypt, kms.AlgorithmSpecRsaesOaepSha1, make([]byte, 32), true, true},
		{kms.KeySpecSymmetricDefault, kms.KeyUsageTypeEncryptDecrypt, kms.AlgorithmSpecRsaesOaepSha256, make([]byte, 32), false, false},
		{kms.KeySpecHmac256, kms.KeyUsageTypeGenerateVerifyMac, kms.AlgorithmSpecRsaesOaepSha1, make([]byte, 64), true, true},
		{kms.KeySpecHmac512, kms.KeyUsageTypeGenerateVerifyMac, kms.AlgorithmSpecRsaesOaepSha1, bytes.Repeat([]byte{1}, 127), true, true},
		// SoftHSM 2.6.1 pads it with zeros, which changes a key that is longer than the hash's block.
		{kms.KeySpecHmac256, kms.KeyUsageTypeGenerateVerifyMac, kms.AlgorithmSpecRsaesOaepSha1, bytes.Repeat([]byte{1}, 65), true, false},
		{p256.spec, p256.usage, kms.AlgorithmSpecRsaesOaepSha1, p256.secret, true, true},
		{p256.spec, p256.usage, kms.AlgorithmSpecRsaAesKeyWrapSha1, p256.secret, true, true},
		{p256.spec, p256.usage, kms.AlgorithmSpecRsaAesKeyWrapSha256, p256.secret, false, false},
		{edSpec, kms.KeyUsageTypeSignVerify, kms.AlgorithmSpecRsaAesKeyWrapSha1, make([]byte, 32), false, false},
	} {
		if err := d.CanImport(c.spec, c.algorithm); c.can != (err == nil) || err != nil && !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("CanImport(%s, %s): %v", c.spec, c.algorithm, err)
		}
		_, err := i.bring(c.spec, c.usage, c.algorithm, c.material)
		if c.do != (err == nil) || err != nil && !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("%s, %d bytes by %s: %v", c.spec, len(c.material), c.algorithm, err)
		}
	}
	wantClosed(t, token)
}

// TestImportPairs: pairs are made ahead, and outlive sessions and the domain's closing.
func TestImportPairs(t *testing.T) {
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), Sessions: 2, PairsAhead: 2})
	d, err := hsm.CreateDomain(t.Context(), []*hsm.Token{token})
	if err != nil {
		t.Fatal(err)
	}
	objects := len(hsm.Objects(t, token))
	i := newImporter(t, d, kms.WrappingKeySpecRsa2048)
	full := func() {
		t.Helper()
		for end := time.Now().Add(time.Minute); hsm.ImportPairsReady(t, d) < 2; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no pair is made ahead")
			}
		}
	}
	full()
	if n := len(hsm.Objects(t, token)); n != objects {
		t.Errorf("pairs that wait are %d objects in the token", n-objects)
	}
	ahead := newImporter(t, d, kms.WrappingKeySpecRsa2048)
	if bytes.Equal(ahead.pair.PublicKey, i.pair.PublicKey) {
		t.Error("a pair is given twice")
	}
	full() // the sessions are free now
	material := bytes.Repeat([]byte{7}, 32)
	first, err := i.bring(kms.KeySpecHmac256, kms.KeyUsageTypeGenerateVerifyMac, kms.AlgorithmSpecRsaesOaepSha1, material)
	if err != nil {
		t.Fatal(err)
	}
	same := func() {
		t.Helper()
		for _, from := range []*importer{i, ahead} {
			m, err := from.bring(kms.KeySpecHmac256, kms.KeyUsageTypeGenerateVerifyMac, kms.AlgorithmSpecRsaesOaepSha256, material)
			if err != nil || m.ID != first.ID {
				t.Errorf("%s, then %s: %v", first.ID, m.ID, err)
			}
		}
	}
	for _, lose := range []func(testing.TB, *hsm.Token){hsm.LoseLong, hsm.LoseShort, hsm.LoseHolder, hsm.LoseAll} {
		lose(t, token)
		same()
	}
	description := d.Describe()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = hsm.OpenDomain(t.Context(), []*hsm.Token{token}, description); err != nil {
		t.Fatal(err)
	}
	i.d, ahead.d = d, d
	same()
	// The private half is of use to its domain only.
	foreign := *i
	foreign.d = hsmtest.Domain(t)
	if !hsmtest.Has(hsmtest.ForeignKWP) {
		// The pair would end the process; ops seals what it hands out of pairs, for one domain.
	} else if _, err := foreign.bring(kms.KeySpecHmac256, kms.KeyUsageTypeGenerateVerifyMac, kms.AlgorithmSpecRsaesOaepSha1, material); err == nil {
		t.Error("another domain unwraps with the pair")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ImportPair(t.Context(), "SM2"); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("a pair on SM2: %v", err)
	}
}

// TestImportOnTwoTokens: what one token of a domain wrapped the other unwraps, and the id is the
// same.
func TestImportOnTwoTokens(t *testing.T) {
	tokens := []*hsm.Token{hsmtest.Token(t), hsmtest.Token(t)}
	i := newImporter(t, hsmtest.Domain(t, tokens...), kms.WrappingKeySpecRsa2048)
	k, wrappings := knownPairs(t)[0], ownWrappings()
	ids := map[string]bool{}
	for range 2 {
		m, err := i.bring(k.spec, k.usage, wrappings[len(wrappings)-1], k.secret)
		if err != nil {
			t.Fatal(err)
		}
		ids[m.ID] = true
		for range 2 {
			signature, err := i.d.Sign(t.Context(), &m, k.spec, kms.SigningAlgorithmSpecEcdsaSha256, hsm.SignInput{Message: []byte("m")})
			if err != nil {
				t.Fatal(err)
			}
			public, err := x509.ParsePKIXPublicKey(k.public)
			if err != nil {
				t.Fatal(err)
			}
			digest := sha256.Sum256([]byte("m"))
			if !ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest[:], signature) {
				t.Error("another key signs")
			}
		}
	}
	if len(ids) != 1 {
		t.Errorf("ids %v", ids)
	}
	for _, token := range tokens {
		wantClosed(t, token)
	}
}
