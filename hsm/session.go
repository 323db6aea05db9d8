package hsm

import (
	"errors"

	"github.com/miekg/pkcs11"
)

// A session is one PKCS#11 session, used by one goroutine at a time. Its methods are the C_
// functions, with errors that name the function, the mechanism and the code.
type session struct {
	conn   *conn
	handle pkcs11.SessionHandle
}

type (
	object    = pkcs11.ObjectHandle
	attribute = pkcs11.Attribute
)

// fail gives err, which the binding returned, its name and its meaning on this token.
func (c *conn) fail(err error, function string, mech uint) error {
	if err == nil {
		return nil
	}
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return err
	}
	e := &Error{Function: function, Code: uint(code), class: c.token.quirks.classify(function, uint(code))}
	if mech != noMechanism {
		e.Mechanism = mechanismName(mech)
	}
	return e
}

const noMechanism = ^uint(0)

func (s *session) ctx() *pkcs11.Ctx { return s.conn.token.module.ctx }

func (s *session) open() error {
	h, err := s.ctx().OpenSession(s.conn.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return s.conn.fail(err, "C_OpenSession", noMechanism)
	}
	s.handle = h
	return nil
}

func (s *session) close() error {
	return s.conn.fail(s.ctx().CloseSession(s.handle), "C_CloseSession", noMechanism)
}

// login logs the user in for the whole process. That someone is logged in already is success:
// the state belongs to the token, not to the session.
func (s *session) login(pin PIN) error {
	err := s.conn.fail(s.ctx().Login(s.handle, pkcs11.CKU_USER, pin.value()), "C_Login", noMechanism)
	if isCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		return nil
	}
	return err
}

func (s *session) tokenInfo() (pkcs11.TokenInfo, error) {
	info, err := s.ctx().GetTokenInfo(s.conn.slot)
	return info, s.conn.fail(err, "C_GetTokenInfo", noMechanism)
}

// random gives n bytes, n > 0, from the token's generator.
func (s *session) random(n int) ([]byte, error) {
	b, err := s.ctx().GenerateRandom(s.handle, n)
	return b, s.conn.fail(err, "C_GenerateRandom", noMechanism)
}

func (s *session) generateKey(mech uint, template []*attribute) (object, error) {
	o, err := s.ctx().GenerateKey(s.handle, mechanism(mech, nil), template)
	return o, s.conn.fail(err, "C_GenerateKey", mech)
}

func (s *session) generateKeyPair(mech uint, public, private []*attribute) (pub, priv object, err error) {
	pub, priv, err = s.ctx().GenerateKeyPair(s.handle, mechanism(mech, nil), public, private)
	return pub, priv, s.conn.fail(err, "C_GenerateKeyPair", mech)
}

func (s *session) createObject(template []*attribute) (object, error) {
	o, err := s.ctx().CreateObject(s.handle, template)
	return o, s.conn.fail(err, "C_CreateObject", noMechanism)
}

func (s *session) copyObject(o object, template []*attribute) (object, error) {
	c, err := s.ctx().CopyObject(s.handle, o, template)
	return c, s.conn.fail(err, "C_CopyObject", noMechanism)
}

func (s *session) destroyObject(o object) error {
	return s.conn.fail(s.ctx().DestroyObject(s.handle, o), "C_DestroyObject", noMechanism)
}

func (s *session) setAttributes(o object, a []*attribute) error {
	return s.conn.fail(s.ctx().SetAttributeValue(s.handle, o, a), "C_SetAttributeValue", noMechanism)
}

// attributes reads attributes one call for all, in the order asked for. If one of them cannot be
// read the binding gives none.
func (s *session) attributes(o object, types ...uint) ([][]byte, error) {
	template := make([]*attribute, len(types))
	for i, t := range types {
		template[i] = pkcs11.NewAttribute(t, nil)
	}
	got, err := s.ctx().GetAttributeValue(s.handle, o, template)
	if err != nil {
		return nil, s.conn.fail(err, "C_GetAttributeValue", noMechanism)
	}
	values := make([][]byte, len(got))
	for i, a := range got {
		values[i] = a.Value
	}
	return values, nil
}

// find gives at most max objects that match, and always ends the search.
func (s *session) find(max int, template []*attribute) (found []object, err error) {
	if err := s.ctx().FindObjectsInit(s.handle, template); err != nil {
		return nil, s.conn.fail(err, "C_FindObjectsInit", noMechanism)
	}
	defer func() {
		if e := s.ctx().FindObjectsFinal(s.handle); e != nil && err == nil {
			found, err = nil, s.conn.fail(e, "C_FindObjectsFinal", noMechanism)
		}
	}()
	for len(found) < max {
		some, _, err := s.ctx().FindObjects(s.handle, max-len(found))
		if err != nil {
			return nil, s.conn.fail(err, "C_FindObjects", noMechanism)
		}
		if len(some) == 0 {
			break
		}
		found = append(found, some...)
	}
	return found, nil
}

func (s *session) wrapKey(mech uint, parameter any, wrapping, key object) ([]byte, error) {
	blob, err := s.ctx().WrapKey(s.handle, mechanism(mech, parameter), wrapping, key)
	return blob, s.conn.fail(err, "C_WrapKey", mech)
}

// unwrapKey refuses an empty blob itself, because the binding panics on one.
func (s *session) unwrapKey(mech uint, parameter any, unwrapping object, blob []byte, template []*attribute) (object, error) {
	if len(blob) == 0 {
		return 0, errors.New("C_UnwrapKey: the wrapped key is empty")
	}
	o, err := s.ctx().UnwrapKey(s.handle, mechanism(mech, parameter), unwrapping, blob, template)
	return o, s.conn.fail(err, "C_UnwrapKey", mech)
}

func (s *session) deriveKey(mech uint, parameter any, base object, template []*attribute) (object, error) {
	o, err := s.ctx().DeriveKey(s.handle, mechanism(mech, parameter), base, template)
	return o, s.conn.fail(err, "C_DeriveKey", mech)
}

// encrypt, decrypt and sign do the whole of a message. A failure ends the operation, so the
// session can be used again; a token that leaves it open answers the next C_...Init with
// CKR_OPERATION_ACTIVE, for which the session is opened anew.
func (s *session) encrypt(mech uint, parameter any, key object, plaintext []byte) ([]byte, error) {
	if err := s.ctx().EncryptInit(s.handle, mechanism(mech, parameter), key); err != nil {
		return nil, s.conn.fail(err, "C_EncryptInit", mech)
	}
	out, err := s.ctx().Encrypt(s.handle, plaintext)
	if err != nil {
		return nil, s.conn.fail(err, "C_Encrypt", mech)
	}
	return out, nil
}

func (s *session) decrypt(mech uint, parameter any, key object, ciphertext []byte) ([]byte, error) {
	if err := s.ctx().DecryptInit(s.handle, mechanism(mech, parameter), key); err != nil {
		return nil, s.conn.fail(err, "C_DecryptInit", mech)
	}
	out, err := s.ctx().Decrypt(s.handle, ciphertext)
	if err != nil {
		return nil, s.conn.fail(err, "C_Decrypt", mech)
	}
	return out, nil
}

func (s *session) sign(mech uint, parameter any, key object, data []byte) ([]byte, error) {
	if err := s.ctx().SignInit(s.handle, mechanism(mech, parameter), key); err != nil {
		return nil, s.conn.fail(err, "C_SignInit", mech)
	}
	out, err := s.ctx().Sign(s.handle, data)
	if err != nil {
		return nil, s.conn.fail(err, "C_Sign", mech)
	}
	return out, nil
}
