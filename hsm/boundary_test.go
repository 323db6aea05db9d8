package hsm_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// TestBoundaryOfPairs looks at every object there is while private and HMAC keys of every spec
// and usage are in use: none can leave or be read, each can do one thing, and the public halves
// can do no more than theirs.
func TestBoundaryOfPairs(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC, hsmtest.Resident)
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	domain := len(hsm.Objects(t, token))
	want := map[string]int{}
	for _, spec := range kms.Specs() {
		for _, use := range spec.Uses {
			if spec.Family == kms.FamilySymmetric || !d.Supports(spec.KeySpec, algorithms(use)[0]) {
				continue
			}
			m, err := d.GenerateKey(t.Context(), hsm.KeyRequest{Spec: spec.KeySpec, Usage: use.Usage, KeyID: "id"})
			if err != nil {
				t.Fatal(err)
			}
			useKey(t, d, &m, spec.KeySpec, use)
			if spec.Family == kms.FamilySM2 {
				want["DERIVE"] += 2 // SM2PKE is ECDH to a token; the key is resident, and has a copy
				continue
			}
			want[map[kms.KeyUsageType]string{
				kms.KeyUsageTypeSignVerify: "SIGN", kms.KeyUsageTypeGenerateVerifyMac: "SIGN",
				kms.KeyUsageTypeEncryptDecrypt: "DECRYPT", kms.KeyUsageTypeKeyAgreement: "DERIVE",
			}[use.Usage]]++
		}
	}
	want["WRAP+UNWRAP"], want["ENCRYPT+DECRYPT"] = 2, 2
	want["SIGN"] += 3 // the record key and its copy, and the copy of the Ed25519 key
	got, public, resting := map[string]int{}, 0, 0
	for _, o := range hsm.Objects(t, token) {
		if o.Class == pkcs11.CKO_PUBLIC_KEY {
			if o.Resting {
				t.Errorf("a public key rests: %s", o)
			}
			public++
			continue
		}
		if !o.Sensitive || o.Extractable || o.Public {
			t.Errorf("%s", o)
		}
		var e *hsm.Error
		if !errors.As(o.ValueErr, &e) || e.Name() != "CKR_ATTRIBUTE_SENSITIVE" {
			t.Errorf("%s: its secret gives %v", o, o.ValueErr)
		}
		if o.Resting {
			resting++
		}
		got[strings.Join(o.Uses, "+")]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("objects by use: %v, want %v", got, want)
	}
	// Verifying keys: three of RSA, four of Weierstrass curves, one of Ed25519; and three that
	// encrypt. The resting objects are the domain's three, the Ed25519 key and the two SM2 keys.
	if public != 11 || resting != 6 || domain != 6 {
		t.Errorf("%d public keys, %d resting objects, %d at first", public, resting, domain)
	}
}

// useKey does everything with a key that its usage allows.
func useKey(t *testing.T, d *hsm.Domain, m *kms.Material, spec kms.KeySpec, use kms.Use) {
	t.Helper()
	in := hsm.SignInput{Message: []byte("m")}
	for _, a := range use.Signing {
		if !d.Supports(spec, string(a)) {
			continue
		}
		signature, err := d.Sign(t.Context(), m, spec, a, in)
		if err == nil {
			err = d.Verify(t.Context(), m, spec, a, in, signature)
		}
		if err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range use.Encryption {
		if a == kms.EncryptionAlgorithmSpecSm2pke {
			c, err := d.EncryptSM2(t.Context(), m, []byte("text"))
			if err == nil {
				_, err = d.DecryptSM2(t.Context(), m, c)
			}
			if err != nil {
				t.Errorf("%s: %v", a, err)
			}
			continue
		}
		c, err := d.EncryptRSA(t.Context(), m, spec, a, []byte("text"))
		if err == nil {
			_, err = d.DecryptRSA(t.Context(), m, spec, a, c)
		}
		if err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range use.Mac {
		if _, err := d.GenerateMac(t.Context(), m, a, []byte("m")); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if len(use.KeyAgreement) > 0 {
		if _, err := d.DeriveSharedSecret(t.Context(), m, spec, m.PublicKey); err != nil {
			t.Errorf("ECDH with itself: %v", err)
		}
	}
}

// TestOneUse has a private key that was imported for one thing asked for another: each use has an
// object of its own, so neither gets in the way of the other.
func TestOneUse(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC)
	d := hsmtest.Domain(t)
	m := newPair(t, d, kms.KeySpecEccNistP256, kms.KeyUsageTypeSignVerify)
	for range 2 {
		spec, _ := kms.SpecOf(kms.KeySpecEccNistP256)
		for _, use := range spec.Uses {
			useKey(t, d, &m, kms.KeySpecEccNistP256, use)
		}
	}
}

// TestPairsAfterLoss closes sessions behind the token's back while pairs are in use.
func TestPairsAfterLoss(t *testing.T) {
	hsmtest.Require(t, hsmtest.Ed25519)
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	keys := map[kms.KeySpec]kms.Material{
		kms.KeySpecEccNistP256: newPair(t, d, kms.KeySpecEccNistP256, kms.KeyUsageTypeSignVerify),
		kms.KeySpecRsa2048:     newPair(t, d, kms.KeySpecRsa2048, kms.KeyUsageTypeSignVerify),
		edSpec:                 newPair(t, d, edSpec, kms.KeyUsageTypeSignVerify),
		kms.KeySpecHmac384:     newSecret(t, d, kms.KeySpecHmac384),
	}
	check := func() {
		t.Helper()
		for spec, m := range keys {
			row, _ := kms.SpecOf(spec)
			for _, use := range row.Uses {
				if use.Usage == kms.KeyUsageTypeSignVerify || use.Usage == kms.KeyUsageTypeGenerateVerifyMac {
					useKey(t, d, &m, spec, use)
				}
			}
		}
	}
	check()
	for _, lose := range []func(testing.TB, *hsm.Token){hsm.LoseLong, hsm.LoseShort, hsm.LoseHolder, hsm.LoseAll} {
		lose(t, token)
		check()
	}
	hsm.MarkDown(t, token)
	if !hsm.Settled(t, token) {
		t.Fatal("the token stays down")
	}
	check()
}
