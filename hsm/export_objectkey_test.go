package hsm

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
)

// PutKey makes a key object with a known value, as its owner would who brings it from elsewhere.
func PutKey(t testing.TB, token *Token, label, id string, value []byte, extractable bool, uses ...uint) {
	t.Helper()
	if len(uses) == 0 {
		uses = []uint{pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT}
	}
	err := token.do(t.Context(), laneHold, func(s *session) error {
		template := []*attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, !extractable),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, extractable),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
			pkcs11.NewAttribute(pkcs11.CKA_ID, id),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE, value),
		}
		for _, u := range useAttributes {
			template = append(template, pkcs11.NewAttribute(u.attribute, slices.Contains(uses, u.attribute)))
		}
		_, err := s.createObject(template)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// DropKeys destroys the key objects with a label.
func DropKeys(t testing.TB, token *Token, label string) (n int) {
	t.Helper()
	err := token.do(t.Context(), laneHold, func(s *session) error {
		found, err := s.find(16, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, label), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true)})
		for _, o := range found {
			if err := s.destroyObject(o); err != nil {
				return err
			}
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Age makes the key's handle due for another look at the original.
func (k *ObjectKey) Age() {
	if h := k.held.Load(); h != nil {
		h.checked.Store(time.Now().Add(-objectRecheck).UnixNano())
	}
}

// Copied says whether a session object stands for the key.
func (k *ObjectKey) Copied() bool {
	h := k.held.Load()
	return h != nil && h.object != h.resting
}

// Spend leaves the key n messages.
func (k *ObjectKey) Spend(n uint64) { k.used.Store(directLimit - n) }
