package hsm

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
)

// AnObject is what an object of a token says of itself.
type AnObject struct {
	Class, KeyType                          uint
	Resting, Sensitive, Extractable, Public bool
	ID, Label                               string
	Uses                                    []string
	// ValueErr is why the token does not give the value, or nil if it does.
	ValueErr error
}

// Objects lists every key object of the token that the login can see, of all sessions.
func Objects(t testing.TB, token *Token) []AnObject {
	t.Helper()
	var list []AnObject
	err := token.do(context.Background(), laneHold, func(s *session) error {
		list = nil
		for _, class := range []uint{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY} {
			found, err := s.find(1<<20, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)})
			if err != nil {
				return err
			}
			for _, o := range found {
				a, err := look(s, o)
				if classOf(err) == classHandleLost {
					continue // it went meanwhile
				}
				if err != nil {
					return err
				}
				list = append(list, a)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func look(s *session, o object) (AnObject, error) {
	got, err := s.attributes(o, pkcs11.CKA_CLASS, pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE, pkcs11.CKA_KEY_TYPE)
	if err != nil {
		return AnObject{}, err
	}
	a := AnObject{Class: uint(got[0][0]), Resting: isTrue(got[1]), Public: !isTrue(got[2]), KeyType: uint(got[3][0])}
	// Session objects need not have these.
	if got, err = s.attributes(o, pkcs11.CKA_ID, pkcs11.CKA_LABEL); err == nil {
		a.ID, a.Label = string(got[0]), string(got[1])
	}
	if a.Class == pkcs11.CKO_PUBLIC_KEY {
		return a, nil
	}
	if got, err = s.attributes(o, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE); err != nil {
		return AnObject{}, err
	}
	a.Sensitive, a.Extractable = isTrue(got[0]), isTrue(got[1])
	for _, u := range useAttributes {
		if got, err := s.attributes(o, u.attribute); err == nil && isTrue(got[0]) {
			a.Uses = append(a.Uses, u.name)
		}
	}
	secrets := []uint{pkcs11.CKA_VALUE}
	if a.Class == pkcs11.CKO_PRIVATE_KEY && a.KeyType == pkcs11.CKK_RSA {
		secrets = rsaKind{}.secrets()
	}
	for _, secret := range secrets {
		if _, a.ValueErr = s.attributes(o, secret); a.ValueErr == nil {
			break
		}
	}
	return a, nil
}

// LoseShort, LoseHolder and LoseAll close sessions behind the token's back.
func LoseShort(t testing.TB, token *Token) { lose(t, token, laneShort) }

func LoseLong(t testing.TB, token *Token) { lose(t, token, laneLong) }

// LoseHolder takes everything where handles are given out again: nobody could tell then that the holder's
// objects are gone and others have their handles. Sessions are not lost one by one in earnest.
func LoseHolder(t testing.TB, token *Token) {
	if token.quirks.ReusesHandles {
		LoseAll(t, token)
		return
	}
	lose(t, token, laneHold)
}

func lose(t testing.TB, token *Token, l lane) {
	t.Helper()
	c, err := token.current()
	if err != nil {
		t.Fatal(err)
	}
	for range cap(c.lanes[l]) {
		s := <-c.lanes[l]
		if err := s.close(); err != nil && classOf(err) != classSessionLost {
			t.Fatal(err)
		}
		c.lanes[l] <- s
	}
}

func LoseAll(t testing.TB, token *Token) {
	t.Helper()
	c, err := token.current()
	if err != nil {
		t.Fatal(err)
	}
	if err := token.module.ctx.CloseAllSessions(c.slot); err != nil {
		t.Fatal(err)
	}
}

// MarkDown does what an error of the token's device does.
func MarkDown(t testing.TB, token *Token) {
	t.Helper()
	c, err := token.current()
	if err != nil {
		t.Fatal(err)
	}
	token.markDown(c, &Error{Function: "C_Encrypt", Code: pkcs11.CKR_DEVICE_ERROR, class: classTokenLost})
}

// Settled waits until the token stopped recovering, and says whether it is up.
func Settled(t testing.TB, token *Token) bool {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		token.mu.Lock()
		done := !token.recovering
		token.mu.Unlock()
		if done {
			return token.up()
		}
	}
	t.Fatal("the token is still recovering after a minute")
	return false
}

// Cached is the number of cached handles of the domain on its first token.
func Cached(t testing.TB, d *Domain) int {
	t.Helper()
	c, err := d.members()[0].token.current()
	if err != nil {
		t.Fatal(err)
	}
	return d.members()[0].on(c).cache.size()
}

// RawEncrypt encrypts n times as Encrypt does in the end, with a message key of m and without
// anything around the calls of the binding.
func RawEncrypt(b *testing.B, d *Domain, key func() (iv []byte, handle uint), aad, plaintext []byte) {
	b.Helper()
	c, err := d.members()[0].token.current()
	if err != nil {
		b.Fatal(err)
	}
	s := <-c.lanes[laneShort]
	defer func() { c.lanes[laneShort] <- s }()
	for b.Loop() {
		iv, handle := key()
		if _, err := s.sealGCM(object(handle), iv, aad, plaintext); err != nil {
			b.Fatal(err)
		}
	}
}

// MessageKey gives the handle of a cached message key of d's first token.
func MessageKey(t testing.TB, d *Domain) uint {
	t.Helper()
	c, err := d.members()[0].token.current()
	if err != nil {
		t.Fatal(err)
	}
	for key, e := range d.members()[0].on(c).cache.entries {
		if key.derived {
			return uint(e.handle)
		}
	}
	t.Fatal("no message key is cached")
	return 0
}

// ErrorOf makes the error of a C_ function as a token without quirks would give it.
func ErrorOf(function string, code uint) error {
	return &Error{Function: function, Code: code, class: (&Quirks{}).classify(function, code)}
}

func (a AnObject) String() string {
	return fmt.Sprintf("class %d type 0x%X resting=%t sensitive=%t extractable=%t uses=%v", a.Class, a.KeyType, a.Resting, a.Sensitive, a.Extractable, a.Uses)
}

// HardenLeaving makes a key that may leave the token, as a token would that ignores the template
// of C_UnwrapKey, and hardens it. fixed forbids C_SetAttributeValue.
func HardenLeaving(t testing.TB, token *Token, fixed bool) error {
	t.Helper()
	return token.do(t.Context(), laneHold, func(s *session) error {
		o, err := s.generateKey(macKind.generate, append(macKind.sized(leaving), pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, !fixed)))
		if err != nil {
			t.Fatal(err)
		}
		if s.locked(o) == nil {
			t.Error("a key that may leave counts as locked")
		}
		if o, err = s.harden(o); err != nil {
			return err
		}
		return s.locked(o)
	})
}
