package hsm_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// A residentPair is a resident key and how it signs.
type residentPair struct {
	kms.Material
	spec      kms.KeySpec
	algorithm kms.SigningAlgorithmSpec
}

// newResidentPair makes a key of a spec that the tests' token keeps.
func newResidentPair(t testing.TB, d *hsm.Domain) *residentPair {
	t.Helper()
	p := &residentPair{spec: kms.KeySpecEccNistP256, algorithm: kms.SigningAlgorithmSpecEcdsaSha256}
	if hsmtest.Has(hsmtest.WrappedEC) {
		hsmtest.Require(t, hsmtest.Resident)
		p.spec, p.algorithm = edSpec, edAlgorithm
	}
	p.Material = newPair(t, d, p.spec, kms.KeyUsageTypeSignVerify)
	if len(p.ObjectID) == 0 {
		t.Fatalf("the token wraps keys of spec %s: test resident keys with another one", p.spec)
	}
	return p
}

func (p *residentPair) sign(t testing.TB, d *hsm.Domain) error {
	t.Helper()
	message := []byte("message")
	signature, err := d.Sign(t.Context(), &p.Material, p.spec, p.algorithm, hsm.SignInput{Message: message})
	if err == nil && !goVerify(t, p.PublicKey, p.spec, p.algorithm, message, signature) {
		t.Error("the standard library refuses the signature")
	}
	return err
}

func (p *residentPair) signs(t testing.TB, d *hsm.Domain) {
	t.Helper()
	if err := p.sign(t, d); err != nil {
		t.Fatal(err)
	}
}

// gone wants a call to say that the token does not have the key.
func (p *residentPair) gone(t testing.TB, d *hsm.Domain) {
	t.Helper()
	if err := p.sign(t, d); !errors.Is(err, hsm.ErrNotFound) || errors.Is(err, hsm.ErrTokenDown) {
		t.Errorf("Sign with a key that is gone: %v", err)
	}
}

// objects are those of the key, at rest and in sessions.
func (p *residentPair) objects(t testing.TB, token *hsm.Token) (resting, copies []hsm.AnObject) {
	t.Helper()
	for _, o := range hsm.Objects(t, token) {
		switch {
		case o.ID != string(p.ObjectID):
		case o.Resting:
			resting = append(resting, o)
		default:
			copies = append(copies, o)
		}
	}
	return resting, copies
}

// has counts the key's objects.
func (p *residentPair) has(t testing.TB, token *hsm.Token, resting, copies int) {
	t.Helper()
	if r, c := p.objects(t, token); len(r) != resting || len(c) != copies {
		t.Errorf("the key has %d objects at rest and %d in sessions, not %d and %d", len(r), len(c), resting, copies)
	}
}

func TestResidentCopy(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	key := newResidentPair(t, d)
	key.has(t, token, 1, 0)
	key.signs(t, d)
	key.signs(t, d)
	_, copies := key.objects(t, token)
	if len(copies) != 1 {
		t.Fatalf("%d copies", len(copies))
	}
	if o := copies[0]; !o.Sensitive || o.Extractable || o.Public || o.ValueErr == nil || fmt.Sprint(o.Uses) != "[SIGN]" {
		t.Errorf("the copy: %s", o)
	}
	d.Forget(key.ID)
	key.has(t, token, 1, 0)
	key.signs(t, d)
	// The copy is what signs: it does so without the key, as long as nobody looks for that.
	hsm.Unwatched(t, d, &key.Material)
	hsm.DeleteResident(t, token, &key.Material)
	key.signs(t, d)
	hsm.Due(t, d, &key.Material)
	key.gone(t, d)
	key.has(t, token, 0, 0)
	if err := d.Destroy(t.Context(), &key.Material); err != nil {
		t.Errorf("Destroy of what is gone: %v", err)
	}
}

// TestResidentKeyHasOneUse asks a key that was made to sign for something else.
func TestResidentKeyHasOneUse(t *testing.T) {
	d := hsmtest.Domain(t)
	key := newResidentPair(t, d)
	peer, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(peer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		key.signs(t, d)
		// It is refused before the token is asked, which would agree on NSS.
		_, err := d.DeriveSharedSecret(t.Context(), &key.Material, kms.KeySpecEccNistP256, spki)
		if err == nil || !strings.Contains(err.Error(), "the token holds a private key with SIGN=true") {
			t.Errorf("agreement with a key that signs: %v", err)
		}
	}
}

// TestResidentKeyDeleted deletes a key behind the domain's back.
func TestResidentKeyDeleted(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	key, other := newResidentPair(t, d), newResidentPair(t, d)
	key.signs(t, d)
	other.signs(t, d)
	hsm.DeleteResident(t, token, &key.Material)
	// It is missed within a second; a clock that stands still would wait for ever, so this one ends.
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := key.sign(t, d)
		if errors.Is(err, hsm.ErrNotFound) {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("after the deletion: %v", err)
		}
	}
	key.has(t, token, 0, 0)
	other.signs(t, d)
}

// TestResidentCopyEnds destroys keys while they sign: no copy of them may be left.
func TestResidentCopyEnds(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	for range 16 {
		key := newResidentPair(t, d)
		key.signs(t, d)
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				var err error
				for range 32 {
					if err = key.sign(t, d); err != nil {
						break
					}
				}
				if err != nil && !errors.Is(err, hsm.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		if err := d.Destroy(t.Context(), &key.Material); err != nil {
			t.Error(err)
		}
		group.Wait()
		key.has(t, token, 0, 0)
		key.gone(t, d)
	}
	if n := hsm.Cached(t, d); n != 0 {
		t.Errorf("%d handles are cached", n)
	}
}

// TestResidentCopiesAreBounded signs with more keys than there may be copies.
func TestResidentCopiesAreBounded(t *testing.T) {
	const bound = 3
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), Handles: bound})
	d := hsmtest.Domain(t, token)
	var keys []*residentPair
	for range 2 * bound {
		keys = append(keys, newResidentPair(t, d))
	}
	var group sync.WaitGroup
	for i := range 4 * len(keys) {
		group.Go(func() { keys[i%len(keys)].signs(t, d) })
	}
	group.Wait()
	copies := 0
	for _, key := range keys {
		r, c := key.objects(t, token)
		if copies += len(c); len(r) != 1 {
			t.Errorf("%d objects at rest", len(r))
		}
	}
	if n := hsm.Cached(t, d); copies > bound || n != copies {
		t.Errorf("%d copies and %d cached handles, bound %d", copies, n, bound)
	}
	lost := token.State().Library.Leaked
	d.Forget(keys[len(keys)-1].ID)
	keys[len(keys)-1].signs(t, d)
	d.Forget(keys[len(keys)-1].ID)
	if hsmtest.Kind() == "softhsm" && token.State().Library.Leaked <= lost {
		t.Error("what the library loses with a copy is not counted")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		key.has(t, token, 1, 0)
	}
}

// TestResidentKeyThatIsNotCopied is used itself, and outlives the cache.
func TestResidentKeyThatIsNotCopied(t *testing.T) {
	hsmtest.Require(t, hsmtest.Resident)
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), Handles: 1})
	d := hsmtest.Domain(t, token)
	key, other := newResidentPair(t, d), newResidentPair(t, d)
	for _, k := range []*residentPair{key, other} {
		hsm.ForbidCopies(t, token, &k.Material)
	}
	for range 3 { // the two push each other out of the cache
		key.signs(t, d)
		other.signs(t, d)
	}
	d.Forget(other.ID)
	key.has(t, token, 1, 0)
	other.has(t, token, 1, 0)
	hsm.DeleteResident(t, token, &key.Material)
	key.gone(t, d)
	other.signs(t, d)
	if err := d.Destroy(t.Context(), &other.Material); err != nil {
		t.Fatal(err)
	}
	other.gone(t, d)
	other.has(t, token, 0, 0)
}
