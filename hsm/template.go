package hsm

import (
	"fmt"

	"github.com/miekg/pkcs11"
)

// A use is what a key may do. Every flag is stated in every template, because tokens have
// defaults of their own (SoftHSM2 lets an AES key sign).
type use uint

const (
	useEncrypt use = 1 << iota
	useDecrypt
	useSign
	useVerify
	useWrap
	useUnwrap
	useDerive
	useEncapsulate
	useDecapsulate
)

// lateUses are the flags of PKCS#11 3.2. They are stated only where they are set: older tokens do not
// know them.
var lateUses = map[use]uint{useEncapsulate: ckaEncapsulate, useDecapsulate: ckaDecapsulate}

var useAttributes = []struct {
	use       use
	attribute uint
	name      string
}{
	{useEncrypt, pkcs11.CKA_ENCRYPT, "ENCRYPT"},
	{useDecrypt, pkcs11.CKA_DECRYPT, "DECRYPT"},
	{useSign, pkcs11.CKA_SIGN, "SIGN"},
	{useVerify, pkcs11.CKA_VERIFY, "VERIFY"},
	{useWrap, pkcs11.CKA_WRAP, "WRAP"},
	{useUnwrap, pkcs11.CKA_UNWRAP, "UNWRAP"},
	{useDerive, pkcs11.CKA_DERIVE, "DERIVE"},
}

// A secretKind is a sort of secret key.
type secretKind struct {
	keyType  uint // CKK
	generate uint // CKM
	length   int  // bytes
	use      use
}

// A placement is where a key goes and whether it may leave.
type placement struct {
	resting     bool // a token object, else a session object
	extractable bool
	readable    bool // made to be handed out: what a caller gets anyway may be read
	id          []byte
	label       string
}

var (
	inUse   = placement{}                                  // session object that never leaves
	leaving = placement{extractable: true}                 // session object that is about to be wrapped
	given   = placement{extractable: true, readable: true} // session object that is read and handed out
)

// template describes a key of this kind to C_UnwrapKey. It holds no CKA_VALUE_LEN, which unwrap
// refuses on SoftHSM2.
func (k secretKind) template(p placement) []*attribute {
	t := []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, k.keyType),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, p.resting),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, !p.readable),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, p.extractable),
	}
	for _, u := range useAttributes {
		t = append(t, pkcs11.NewAttribute(u.attribute, k.use&u.use != 0))
	}
	if p.id != nil {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_ID, p.id), pkcs11.NewAttribute(pkcs11.CKA_LABEL, p.label))
	}
	return t
}

// sized is template with the length, for C_GenerateKey and C_DeriveKey.
func (k secretKind) sized(p placement) []*attribute {
	return append(k.template(p), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, k.length))
}

// known is template with the key's value, for C_CreateObject.
func (k secretKind) known(p placement, value []byte) []*attribute {
	return append(k.template(p), pkcs11.NewAttribute(pkcs11.CKA_VALUE, value))
}

// harden makes sure that a key that was just unwrapped, derived or generated for use cannot
// leave the token, whatever its template said: openCryptoki ignores CKA_SENSITIVE and
// CKA_EXTRACTABLE there. A token that ignored them gets one C_SetAttributeValue; a key that can
// still leave is destroyed and refused. secrets are the attributes that nobody may read; without
// any it is CKA_VALUE.
func (s *session) harden(o object, secrets ...uint) (object, error) {
	err := s.locked(o, secrets...)
	if err != nil && s.lock(o) == nil {
		err = s.locked(o, secrets...)
	}
	if err != nil {
		_ = s.destroyObject(o) // the key is refused either way
		return 0, err
	}
	return o, nil
}

// lock sets what is not set. Attributes that are right already are left out, because SoftHSM2
// takes no CKA_SENSITIVE for a key that has it.
func (s *session) lock(o object) error {
	got, err := s.attributes(o, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE)
	if err != nil {
		return err
	}
	var change []*attribute
	if !isTrue(got[0]) {
		change = append(change, pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true))
	}
	if isTrue(got[1]) {
		change = append(change, pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false))
	}
	return s.setAttributes(o, change)
}

// locked says why a key could leave the token: its attributes, or that its value can be read.
func (s *session) locked(o object, secrets ...uint) error {
	got, err := s.attributes(o, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE)
	if err != nil {
		return err
	}
	if !isTrue(got[0]) || isTrue(got[1]) {
		return fmt.Errorf("the token holds a key with SENSITIVE=%t and EXTRACTABLE=%t", isTrue(got[0]), isTrue(got[1]))
	}
	if len(secrets) == 0 {
		secrets = []uint{pkcs11.CKA_VALUE}
	}
	for _, a := range secrets {
		// One by one, because the binding gives nothing if one of several cannot be read.
		if value, err := s.attributes(o, a); err == nil {
			clear(value[0])
			return fmt.Errorf("the token lets a sensitive key be read")
		}
	}
	return nil
}

// exactly says in what way a key may do more or less than use.
func (s *session) exactly(o object, want use) error {
	for _, u := range useAttributes {
		got, err := s.attributes(o, u.attribute)
		if err != nil {
			return err
		}
		if isTrue(got[0]) != (want&u.use != 0) {
			return fmt.Errorf("the token holds a key with %s=%t", u.name, isTrue(got[0]))
		}
	}
	return nil
}

func isTrue(b []byte) bool { return len(b) == 1 && b[0] != 0 }
