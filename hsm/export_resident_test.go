package hsm

import (
	"crypto/ed25519"
	"crypto/x509"
	"math"
	"testing"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// residentObject runs fn with the token object of a resident key, in the one token that has it.
func residentObject(t testing.TB, token *Token, m *kms.Material, fn func(*session, object) error) {
	t.Helper()
	err := token.do(t.Context(), laneHold, func(s *session) error {
		found, err := s.findResident(m.ObjectID)
		if err != nil {
			return err
		}
		if len(found) != 1 {
			t.Fatalf("%d token objects have the CKA_ID of one", len(found))
		}
		return fn(s, found[0])
	})
	if err != nil {
		t.Fatal(err)
	}
}

// DeleteResident deletes a resident key, as another program does.
func DeleteResident(t testing.TB, token *Token, m *kms.Material) {
	t.Helper()
	residentObject(t, token, m, (*session).destroyObject)
}

// ForbidCopies puts another Ed25519 key, which the token does not copy, in the place of a resident one.
func ForbidCopies(t testing.TB, token *Token, m *kms.Material) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	components, _, err := edKind{}.private(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	if m.PublicKey, err = x509.MarshalPKIXPublicKey(public); err != nil {
		t.Fatal(err)
	}
	template := append(privateTemplate(edKind{}, placement{resting: true, id: m.ObjectID, label: "not copied"}, useSign), components...)
	residentObject(t, token, m, func(s *session, o object) error {
		if err := s.destroyObject(o); err != nil {
			return err
		}
		made, err := s.createObject(append(template, pkcs11.NewAttribute(pkcs11.CKA_COPYABLE, false)))
		if err != nil {
			return err
		}
		_, err = s.copyObject(made, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)})
		if err == nil {
			t.Error("the token copies the key")
		}
		return nil
	})
}

// Unwatched has nobody look whether the token still has a resident key that was used, and Due has the
// next call look.
func Unwatched(t testing.TB, d *Domain, m *kms.Material) { seen(t, d, m, math.MaxInt64) }

func Due(t testing.TB, d *Domain, m *kms.Material) { seen(t, d, m, -int64(presence)) }

func seen(t testing.TB, d *Domain, m *kms.Material, at int64) {
	t.Helper()
	c, err := d.members()[0].token.current()
	if err != nil {
		t.Fatal(err)
	}
	held := d.members()[0].on(c).cache
	held.mu.Lock()
	defer held.mu.Unlock()
	e := held.entries[handleKey{material: m.ID, use: useSign}]
	if e == nil {
		t.Fatal("the key is not cached")
	}
	e.seen.at.Store(at)
}
