package hsm_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

const (
	edSpec      = kms.KeySpecEccNistEdwards25519
	edAlgorithm = kms.SigningAlgorithmSpecEd25519Sha512
)

// signs makes sure that a resident key works, by a signature that the standard library verifies.
func signs(t testing.TB, d *hsm.Domain, m *kms.Material) {
	t.Helper()
	message := []byte("message")
	signature, err := d.Sign(t.Context(), m, edSpec, edAlgorithm, hsm.SignInput{Message: message})
	if err != nil {
		t.Fatal(err)
	}
	if !goVerify(t, m.PublicKey, edSpec, edAlgorithm, message, signature) {
		t.Error("the standard library refuses the signature")
	}
}

func newResident(t testing.TB, d *hsm.Domain) kms.Material {
	t.Helper()
	m := newPair(t, d, edSpec, kms.KeyUsageTypeSignVerify)
	if len(m.ObjectID) == 0 {
		t.Fatal("SoftHSM2 wraps Ed25519 keys: test resident keys with another spec")
	}
	return m
}

func TestResidentKey(t *testing.T) {
	hsmtest.Require(t, hsmtest.Resident)
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	before := hsm.Objects(t, token)
	m := newResident(t, d)
	if len(m.ObjectID) != 33 || m.ObjectID[16] != 'K' || m.Blob != nil || m.Wrap != "" || m.DomainKey != 0 || m.Length != 0 || len(m.ID) != 64 {
		t.Errorf("material: %+v", m)
	}
	after := hsm.Objects(t, token)
	if len(after) != len(before)+1 {
		t.Fatalf("%d objects before, %d after", len(before), len(after))
	}
	found := false
	for _, o := range after {
		if o.ID != string(m.ObjectID) {
			continue
		}
		found = true
		if !o.Resting || !o.Sensitive || o.Extractable || o.Public || o.ValueErr == nil || o.Label != "test key "+string(edSpec) || strings.Join(o.Uses, "+") != "SIGN" {
			t.Errorf("the resident key: %s, label %q", o, o.Label)
		}
	}
	if !found {
		t.Error("no object has the CKA_ID")
	}
	signs(t, d, &m)
	// It rests: another domain object finds it, and so does the same one after a reconnect.
	again, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, d.Describe())
	if err != nil {
		t.Fatal(err)
	}
	signs(t, again, &m)
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	hsm.LoseHolder(t, token)
	signs(t, d, &m)
	d.Forget(m.ID)
	signs(t, d, &m)
}

func TestDestroy(t *testing.T) {
	hsmtest.Require(t, hsmtest.Resident)
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	fixed := len(hsm.Objects(t, token))
	m, kept := newResident(t, d), newResident(t, d)
	second, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, d.Describe())
	if err != nil {
		t.Fatal(err)
	}
	signs(t, second, &m)
	for range 2 { // gone already is success
		if err := d.Destroy(t.Context(), &m); err != nil {
			t.Fatal(err)
		}
	}
	for _, by := range []*hsm.Domain{d, second} { // the second has a handle that means nothing any more
		_, err := by.Sign(t.Context(), &m, edSpec, edAlgorithm, hsm.SignInput{Message: []byte("m")})
		if !errors.Is(err, hsm.ErrNotFound) || errors.Is(err, hsm.ErrTokenDown) {
			t.Errorf("Sign with a key that was destroyed: %v", err)
		}
		signs(t, by, &kept)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	wrapped := newPair(t, d, kms.KeySpecEccNistP256, kms.KeyUsageTypeSignVerify)
	in := hsm.SignInput{Message: []byte("m")}
	if _, err := d.Sign(t.Context(), &wrapped, kms.KeySpecEccNistP256, kms.SigningAlgorithmSpecEcdsaSha256, in); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*kms.Material{&wrapped, &kept} {
		if err := d.Destroy(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
	if n := len(hsm.Objects(t, token)); n != fixed {
		t.Errorf("%d objects at first, %d after all keys were destroyed", fixed, n)
	}
}

// TestDestroyWithoutStorage takes the token's directory away: its searches then succeed and find
// nothing, which does not mean that the key is gone.
func TestDestroyWithoutStorage(t *testing.T) {
	hsmtest.Require(t, hsmtest.GoneStorage, hsmtest.Resident)
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	m, unknown := newResident(t, d), newResident(t, d)
	signs(t, d, &m)
	second, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, d.Describe())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	back := hide(t, token)
	if _, err := second.Sign(t.Context(), &unknown, edSpec, edAlgorithm, hsm.SignInput{Message: []byte("m")}); !errors.Is(err, hsm.ErrTokenDown) {
		t.Errorf("Sign: %v", err)
	}
	if err := d.Destroy(t.Context(), &m); !errors.Is(err, hsm.ErrTokenDown) {
		t.Errorf("Destroy: %v", err)
	}
	back()
	if !hsm.Settled(t, token) {
		t.Fatal("the token does not come back")
	}
	signs(t, d, &m)
	signs(t, d, &unknown)
}

// TestResidentOnTwoTokens has keys that only one of the domain's tokens holds.
func TestResidentOnTwoTokens(t *testing.T) {
	hsmtest.Require(t, hsmtest.Resident)
	tokens := []*hsm.Token{hsmtest.Token(t), hsmtest.Token(t)}
	d := hsmtest.Domain(t, tokens...)
	var keys []kms.Material
	for range 4 {
		keys = append(keys, newResident(t, d))
	}
	// A fresh domain does not know who has which.
	second, err := hsm.OpenDomain(t.Context(), tokens, d.Describe())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() { signs(t, second, &keys[i%len(keys)]) })
	}
	group.Wait()
	homes := map[int]int{}
	for i, token := range tokens {
		for _, o := range hsm.Objects(t, token) {
			for _, k := range keys {
				if o.Resting && o.ID == string(k.ObjectID) {
					homes[i]++
				}
			}
		}
	}
	if homes[0]+homes[1] != len(keys) {
		t.Errorf("resident keys by token: %v", homes)
	}
	if err := d.Destroy(t.Context(), &keys[0]); err != nil {
		t.Error(err)
	}
	if err := tokens[1].Close(); err != nil {
		t.Fatal(err)
	}
	served := 0
	for i := range keys[1:] {
		_, err := second.Sign(t.Context(), &keys[1+i], edSpec, edAlgorithm, hsm.SignInput{Message: []byte("m")})
		if err == nil {
			served++
		} else if !errors.Is(err, hsm.ErrTokenDown) {
			t.Errorf("with its token closed: %v", err)
		}
	}
	if served == 0 || served == len(keys)-1 {
		t.Errorf("%d of %d keys are served by the other token", served, len(keys)-1)
	}
	// Nobody can say that a key is gone while one token is down.
	if err := second.Destroy(t.Context(), &keys[0]); !errors.Is(err, hsm.ErrTokenDown) {
		t.Errorf("Destroy of what is gone, with a token down: %v", err)
	}
}
