package hsm

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"runtime"
	"slices"

	"github.com/miekg/pkcs11"
)

// A session is one PKCS#11 session, used by one goroutine at a time. Its methods are the C_
// functions, with errors that name the function, the mechanism and the code.
type session struct {
	conn   *conn
	handle pkcs11.SessionHandle

	watched
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

// ctx is the binding; crossing is what goes past it.
func (s *session) ctx() *pkcs11.Ctx { return s.conn.token.module.ctx }

func (s *session) crossing() crossing { return s.conn.token.module.crossing }

func (s *session) open() error {
	h, err := s.ctx().OpenSession(s.conn.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return s.conn.fail(err, "C_OpenSession", noMechanism)
	}
	return s.conn.number(s, h)
}

func (s *session) close() error {
	return s.conn.fail(s.ctx().CloseSession(s.handle), "C_CloseSession", noMechanism)
}

// login logs the user in for the whole process. That someone is logged in already is success:
// the state belongs to the token, not to the session. The token has not looked at the PIN then.
func (s *session) login(pin PIN) (already bool, err error) {
	err = s.conn.fail(s.crossing().login(s.handle, pkcs11.CKU_USER, pin.value()), "C_Login", noMechanism)
	if isCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		return true, nil
	}
	return false, err
}

// alive says by its error whether the session is not there or its user is not logged in.
func (s *session) alive() error {
	info, err := s.ctx().GetSessionInfo(s.handle)
	if err != nil {
		return s.conn.fail(err, "C_GetSessionInfo", noMechanism)
	}
	if info.State != pkcs11.CKS_RW_USER_FUNCTIONS {
		return &Error{Function: "C_GetSessionInfo", Code: pkcs11.CKR_USER_NOT_LOGGED_IN, class: classTokenLost}
	}
	return nil
}

func (s *session) tokenInfo() (pkcs11.TokenInfo, error) {
	info, err := s.ctx().GetTokenInfo(s.conn.slot)
	return info, s.conn.fail(err, "C_GetTokenInfo", noMechanism)
}

// random gives n bytes, n > 0, from the token's generator.
func (s *session) random(n int) ([]byte, error) {
	b := make([]byte, n)
	if err := s.crossing().random(s.handle, b); err != nil {
		return nil, s.conn.fail(err, "C_GenerateRandom", noMechanism)
	}
	return b, nil
}

func (s *session) generateKey(mech uint, template []*attribute) (object, error) {
	o, err := s.ctx().GenerateKey(s.handle, mechanism(mech, nil), template)
	return o, s.conn.fail(err, "C_GenerateKey", mech)
}

func (s *session) generateKeyPair(mech uint, public, private []*attribute) (pub, priv object, err error) {
	s.patient()
	pub, priv, err = s.ctx().GenerateKeyPair(s.handle, mechanism(mech, nil), public, private)
	return pub, priv, s.conn.fail(err, "C_GenerateKeyPair", mech)
}

func (s *session) createObject(template []*attribute) (object, error) {
	o, err := s.crossing().create(s.handle, template)
	return o, s.conn.fail(err, "C_CreateObject", noMechanism)
}

func (s *session) copyObject(o object, template []*attribute) (object, error) {
	c, err := s.ctx().CopyObject(s.handle, o, template)
	return c, s.conn.fail(err, "C_CopyObject", noMechanism)
}

func (s *session) destroyObject(o object) error {
	err := s.conn.fail(s.ctx().DestroyObject(s.handle, o), "C_DestroyObject", noMechanism)
	if err == nil {
		s.conn.token.module.leak.lose(s.conn.token.quirks.LeakPerObject)
	}
	return err
}

func (s *session) setAttributes(o object, a []*attribute) error {
	return s.conn.fail(s.ctx().SetAttributeValue(s.handle, o, a), "C_SetAttributeValue", noMechanism)
}

// attributes reads attributes, one call for all, in the order asked for. If one of them cannot be
// read it gives none.
func (s *session) attributes(o object, types ...uint) ([][]byte, error) {
	values, err := s.crossing().attributes(s.handle, o, types)
	return values, s.conn.fail(err, "C_GetAttributeValue", noMechanism)
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
	var pin runtime.Pinner
	defer pin.Unpin()
	raw, err := parameterBytes(&pin, parameter)
	if err != nil {
		return nil, err
	}
	blob, err := s.crossing().wrap(s.handle, mech, raw, wrapping, key, make([]byte, wrapRoom))
	return bytes.Clone(blob), s.conn.fail(err, "C_WrapKey", mech)
}

// unwrapKey refuses an empty blob itself, because the binding panics on one.
func (s *session) unwrapKey(mech uint, parameter any, unwrapping object, blob []byte, template []*attribute) (object, error) {
	if len(blob) == 0 {
		return 0, errors.New("C_UnwrapKey: the wrapped key is empty")
	}
	unsaid := s.conn.token.quirks.LooseUnsaid && says(template, pkcs11.CKA_EXTRACTABLE)
	if unsaid {
		template = slices.DeleteFunc(slices.Clone(template), func(a *attribute) bool {
			return a.Type == pkcs11.CKA_EXTRACTABLE || a.Type == pkcs11.CKA_SENSITIVE && !isTrue(a.Value)
		})
	}
	o, err := s.ctx().UnwrapKey(s.handle, mechanism(mech, parameter), unwrapping, blob, template)
	if err != nil {
		return 0, s.conn.fail(err, "C_UnwrapKey", mech)
	}
	if unsaid && says(template, pkcs11.CKA_SENSITIVE) {
		if err := s.setAttributes(o, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true)}); err != nil {
			return 0, errors.Join(err, s.destroyObject(o))
		}
	}
	return o, nil
}

// says whether a template has an attribute that is true.
func says(template []*attribute, attribute uint) bool {
	return slices.ContainsFunc(template, func(a *pkcs11.Attribute) bool { return a.Type == attribute && isTrue(a.Value) })
}

func (s *session) deriveKey(mech uint, parameter any, base object, template []*attribute) (object, error) {
	o, err := s.ctx().DeriveKey(s.handle, mechanism(mech, parameter), base, template)
	return o, s.conn.fail(err, "C_DeriveKey", mech)
}

// encapsulate makes a secret for the holder of a public key, and the ciphertext of size bytes that
// carries it.
func (s *session) encapsulate(mech uint, public object, size int, template []*attribute) (secret object, ciphertext []byte, err error) {
	ciphertext = make([]byte, size)
	secret, err = s.crossing().encapsulate(s.handle, mech, public, template, ciphertext)
	if err != nil && secret != 0 {
		_ = s.destroyObject(secret) // the error that led here is the one to report
	}
	return secret, ciphertext, s.conn.fail(err, "C_EncapsulateKey", mech)
}

func (s *session) decapsulate(mech uint, private object, ciphertext []byte, template []*attribute) (object, error) {
	o, err := s.crossing().decapsulate(s.handle, mech, private, template, ciphertext)
	return o, s.conn.fail(err, "C_DecapsulateKey", mech)
}

// encrypt, decrypt, sign and verify do the whole of a message. A failure ends the operation, so the
// session can be used again; a token that leaves it open answers the next C_...Init with
// CKR_OPERATION_ACTIVE, for which the session is opened anew.
func (s *session) encrypt(mech uint, parameter any, key object, plaintext []byte) ([]byte, error) {
	m := message{operation: &opEncrypt, key: key, in: plaintext, mechanism: mech}
	return s.do(&m, parameter, make([]byte, max(answerRoom, len(plaintext)+tagSize)))
}

func (s *session) decrypt(mech uint, parameter any, key object, ciphertext []byte) ([]byte, error) {
	m := message{operation: &opDecrypt, key: key, in: ciphertext, mechanism: mech}
	// No plaintext is longer than its ciphertext, and SoftHSM2 wants that much room.
	return s.do(&m, parameter, make([]byte, max(1, len(ciphertext))))
}

func (s *session) sign(mech uint, parameter any, key object, data []byte) ([]byte, error) {
	m := message{operation: &opSign, key: key, in: data, mechanism: mech}
	out := make([]byte, answerRoom)
	switch mech {
	case ckmMLDSA, ckmMLDSAExternalMu:
		out = make([]byte, mlDSARoom)
	case ckmEDDSA:
		out = make([]byte, ed25519.SignatureSize) // NSS takes no other size
	}
	answer, err := s.do(&m, parameter, out)
	return bytes.Clone(answer), err
}

// The first buffers for answers, in bytes. An answer that needs a larger one costs the token twice
// the work.
const (
	answerRoom = 512  // RSA-4096; HMACs and signatures on curves are shorter
	mlDSARoom  = 4627 // ML-DSA-87 (FIPS 204, table 2)
	wrapRoom   = 3072 // an RSA-4096 key, wrapped, has 2,400
)

func (s *session) do(m *message, parameter any, out []byte) ([]byte, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	raw, err := parameterBytes(&pin, parameter)
	if err != nil {
		return nil, err
	}
	m.session, m.parameter = s.handle, raw
	answer, function, err := s.crossing().do(m, out)
	return answer, s.conn.fail(err, function, m.mechanism)
}

// verify says whether signature is right: the error matches ErrBadSignature if it is not.
func (s *session) verify(mech uint, parameter any, key object, data, signature []byte) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	raw, err := parameterBytes(&pin, parameter)
	if err != nil {
		return err
	}
	m := message{operation: &opVerify, session: s.handle, key: key, in: data, mechanism: mech, parameter: raw}
	function, err := s.crossing().verify(&m, signature)
	return s.conn.fail(err, function, mech)
}
