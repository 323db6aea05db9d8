package hsm_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// renew rotates a domain's keys as far as both versions are in use.
func renew(t *testing.T, d *hsm.Domain, r hsm.Renewal) {
	t.Helper()
	old := d.Describe().Keys
	description, err := d.Renew(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	description.Rotation = &kms.DomainRotation{Phase: kms.RotationWrapping, Old: old}
	if err := d.Introduce(t.Context(), r.Tokens, description); err != nil {
		t.Fatal(err)
	}
	if d.WrappingVersion() != old[0].Version || d.RecordKeyVersion() != old[1].Version || d.SealingVersion() != old[2].Version {
		t.Fatal("the new keys are used before Switch")
	}
	d.Switch()
}

// finish drops and destroys the old keys.
func finish(t *testing.T, d *hsm.Domain, tokens ...*hsm.Token) {
	t.Helper()
	description := d.Describe()
	old := description.Rotation.Old
	var keys []kms.DomainKey
	for _, k := range description.Keys {
		if !description.Rotation.Retires(k.Role, k.Version) {
			keys = append(keys, k)
		}
	}
	if err := d.Erase(t.Context(), tokens[0], old); err == nil {
		t.Error("keys in use are destroyed")
	}
	description.Keys, description.Rotation = keys, nil
	if err := d.Drop(t.Context(), description); err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		if err := d.Erase(t.Context(), token, old); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRewrapEverySpec wraps a key of every spec anew, generated and known ones of every length, and uses
// what comes out when the old domain key is gone.
func TestRewrapEverySpec(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	type made struct {
		request hsm.KeyRequest
		before  kms.Material
		sealed  hsm.Sealed
		mac     []byte
	}
	var all []made
	add := func(r hsm.KeyRequest, m kms.Material, err error) {
		if errors.Is(err, hsm.ErrUnsupported) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", r.Spec, err)
		}
		x := made{request: r, before: m}
		switch r.Usage {
		case kms.KeyUsageTypeGenerateVerifyMac:
			if x.mac, err = d.GenerateMac(t.Context(), &m, macAlgorithmOf(r.Spec), []byte("m")); err != nil {
				t.Fatal(err)
			}
		case kms.KeyUsageTypeEncryptDecrypt:
			if r.Spec == kms.KeySpecSymmetricDefault {
				x.sealed = seal(t, d, &m, "aad", "text")
			}
		}
		all = append(all, x)
	}
	for _, spec := range kms.Specs() {
		for _, usage := range []kms.KeyUsageType{kms.KeyUsageTypeEncryptDecrypt, kms.KeyUsageTypeSignVerify, kms.KeyUsageTypeGenerateVerifyMac, kms.KeyUsageTypeKeyAgreement} {
			if _, ok := spec.Use(usage); !ok || spec.KeySpec == "RSA_4096" || spec.KeySpec == "RSA_3072" {
				continue
			}
			r := hsm.KeyRequest{Spec: spec.KeySpec, Usage: usage, KeyID: "key"}
			m, err := d.GenerateKey(t.Context(), r)
			add(r, m, err)
			if usage != kms.KeyUsageTypeGenerateVerifyMac {
				continue
			}
			for _, length := range []int{spec.ImportMin, spec.ImportMax} {
				material := make([]byte, length)
				_, _ = rand.Read(material)
				m, err := d.WrapKey(t.Context(), r, material)
				add(r, m, err)
			}
		}
	}
	if len(all) < 16 {
		t.Fatalf("%d keys", len(all))
	}
	renew(t, d, hsm.Renewal{Tokens: []*hsm.Token{token}})
	objects := len(hsm.Objects(t, token))
	var after []kms.Material
	for _, x := range all {
		m, err := d.Rewrap(t.Context(), x.request.Spec, "key", x.before)
		if err != nil {
			t.Fatalf("%s: %v", x.request.Spec, err)
		}
		if len(x.before.ObjectID) > 0 {
			if !bytes.Equal(m.ObjectID, x.before.ObjectID) {
				t.Errorf("%s: a resident key has another name", x.request.Spec)
			}
		} else if m.DomainKey != 2 || bytes.Equal(m.Blob, x.before.Blob) {
			t.Errorf("%s is under domain key %d", x.request.Spec, m.DomainKey)
		}
		again, err := d.Rewrap(t.Context(), x.request.Spec, "key", m)
		if err != nil || !bytes.Equal(again.Blob, m.Blob) {
			t.Errorf("%s: a second time: %v", x.request.Spec, err)
		}
		after = append(after, m)
	}
	if now := len(hsm.Objects(t, token)); now != objects {
		t.Errorf("%d objects before, %d after", objects, now)
	}
	for _, o := range hsm.Objects(t, token) {
		if o.Extractable || !o.Sensitive {
			t.Errorf("the token is left with %s", o)
		}
	}
	forged := all[0].before
	forged.Blob = bytes.Clone(forged.Blob)
	forged.Blob[3] ^= 1
	if _, err := d.Rewrap(t.Context(), all[0].request.Spec, "key", forged); err == nil {
		t.Error("a forged blob is wrapped anew")
	}
	finish(t, d, token)
	for i, x := range all {
		m := after[i]
		d.Forget(m.ID) // no handle from before
		switch {
		case x.mac != nil:
			mac, err := d.GenerateMac(t.Context(), &m, macAlgorithmOf(x.request.Spec), []byte("m"))
			if err != nil || !bytes.Equal(mac, x.mac) {
				t.Errorf("%s of %d bytes: %v", x.request.Spec, m.Length, err)
			}
		case x.request.Spec == kms.KeySpecSymmetricDefault:
			mustOpen(t, d, &m, x.sealed, "aad", "text")
		case x.request.Usage == kms.KeyUsageTypeSignVerify:
			signsStill(t, d, x.request.Spec, &m)
		}
		if len(x.before.Blob) > 0 {
			d.Forget(m.ID)
			if _, err := d.Rewrap(t.Context(), x.request.Spec, "key", x.before); !errors.Is(err, hsm.ErrNotFound) {
				t.Errorf("%s: the old blob: %v", x.request.Spec, err)
			}
		}
	}
}

func macAlgorithmOf(spec kms.KeySpec) kms.MacAlgorithmSpec {
	return kms.MacAlgorithmSpec(strings.Replace(string(spec), "HMAC_", "HMAC_SHA_", 1))
}

func signsStill(t *testing.T, d *hsm.Domain, spec kms.KeySpec, m *kms.Material) {
	t.Helper()
	row, _ := kms.SpecOf(spec)
	use, _ := row.Use(kms.KeyUsageTypeSignVerify)
	for _, algorithm := range use.Signing {
		if !d.Supports(spec, string(algorithm)) {
			continue
		}
		in := hsm.SignInput{Message: []byte("m")}
		signature, err := d.Sign(t.Context(), m, spec, algorithm, in)
		if err == nil {
			err = d.Verify(t.Context(), m, spec, algorithm, in, signature)
		}
		if err != nil {
			t.Errorf("%s with %s: %v", algorithm, spec, err)
		}
		return
	}
}

// TestRenewForTokens: what is born for several tokens rests in each, can leave none, and opens what the
// others made; a token that joins needs the pair whose fingerprint was confirmed.
func TestRenewForTokens(t *testing.T) {
	one, two := hsmtest.Token(t), hsmtest.Token(t)
	d := hsmtest.Domain(t, one)
	m := newKey(t, d)
	sealed := seal(t, d, &m, "aad", "text")
	fingerprint, err := hsm.Enroll(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := hsm.Fingerprint(t.Context(), two); err != nil || again != fingerprint || len(fingerprint) != 64 {
		t.Fatalf("the fingerprint is %q, then %q: %v", fingerprint, again, err)
	}
	for _, o := range hsm.Objects(t, two) {
		if o.Class != pkcs11.CKO_PUBLIC_KEY && (o.Extractable || !o.Sensitive || o.ValueErr == nil) {
			t.Errorf("after Enroll the token holds %s", o)
		}
	}
	second, err := hsm.Enroll(t.Context(), two)
	if err != nil || second == fingerprint {
		t.Fatalf("another pair: %v", err)
	}
	both := []*hsm.Token{one, two}
	for name, fingerprints := range map[string]map[*hsm.Token]string{
		"none": nil, "the first pair's": {two: fingerprint}, "empty": {two: ""},
	} {
		if _, err := d.Renew(t.Context(), hsm.Renewal{Tokens: both, Fingerprints: fingerprints}); !errors.Is(err, hsm.ErrEnrolment) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Renew(t.Context(), hsm.Renewal{Tokens: []*hsm.Token{two}, Fingerprints: map[*hsm.Token]string{two: second}}); err == nil {
		t.Error("a domain moves at once")
	}
	for _, token := range both {
		wantVersions(t, token, d.ID(), map[*hsm.Token][]uint32{one: {1}}[token]...)
	}
	// A fingerprint that does not fit cost the pair nothing.
	if now, err := hsm.Fingerprint(t.Context(), two); err == nil && now != second {
		t.Errorf("the fingerprint is %q now", now)
	} else if err != nil {
		if second, err = hsm.Enroll(t.Context(), two); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Fits(t.Context(), two, []kms.KeySpec{kms.KeySpecSymmetricDefault}, []kms.DerivationScheme{ownScheme()}); err != nil {
		t.Error(err)
	}
	if err := d.Fits(t.Context(), two, nil, []kms.DerivationScheme{kms.DeriveSP800108}); errors.Is(err, hsm.ErrUnsupported) == hsmtest.Has(hsmtest.SP800108) {
		t.Errorf("a scheme that the token does not have: %v", err)
	}
	renew(t, d, hsm.Renewal{Tokens: both, Fingerprints: map[*hsm.Token]string{two: second}})
	for range 4 { // by either token
		mustOpen(t, d, &m, sealed, "aad", "text")
		d.Forget(m.ID)
		if err := d.Health(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	moved, err := d.Rewrap(t.Context(), kms.KeySpecSymmetricDefault, "key", m)
	if err != nil {
		t.Fatal(err)
	}
	finish(t, d, one, two)
	for _, token := range both {
		wantVersions(t, token, d.ID(), 2)
		alone, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, d.Describe())
		if err != nil {
			t.Fatal(err)
		}
		mustOpen(t, alone, &moved, sealed, "aad", "text")
		_ = alone.Close()
		for _, o := range hsm.Objects(t, token) {
			if o.Extractable || !o.Sensitive || o.ValueErr == nil {
				t.Errorf("the token holds %s", o)
			}
		}
	}
}

// wantVersions wants a token to hold these versions of the three keys of a domain.
func wantVersions(t *testing.T, token *hsm.Token, domain string, want ...uint32) {
	t.Helper()
	objects, err := hsm.DomainObjects(t.Context(), token, domain)
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 3*len(want) {
		t.Errorf("the token holds %d keys of the domain, not %d", len(objects), 3*len(want))
	}
	for _, o := range objects {
		found := false
		for _, v := range want {
			found = found || o.Version == v
		}
		if !found {
			t.Errorf("the token holds %s key %d", o.Role, o.Version)
		}
	}
}
