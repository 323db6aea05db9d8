package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// enrolBits is the size of the RSA pair that carries a domain key into a token. The pair lives
// for seconds; what it carried is as secret as the domain for as long as someone kept a record of
// this process's memory.
const enrolBits = 3072

// enrolHashes are the OAEP hashes tried, best first. SoftHSM2 has SHA-1 only, which OAEP does not
// weaken: it needs no collision resistance of its hash.
var enrolHashes = []enrolHash{
	{"SHA-256", pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256},
	{"SHA-1", pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1},
}

type enrolHash struct {
	name      string
	hash, mgf uint
}

func (h enrolHash) oaep() *pkcs11.OAEPParams {
	return pkcs11.NewOAEPParams(h.hash, h.mgf, pkcs11.CKZ_DATA_SPECIFIED, nil)
}

// An enrolment is a token that waits for the domain's keys.
type enrolment struct {
	token             *Token
	public, private   object
	modulus, exponent []byte
	hashes            map[string]bool // that the token can unwrap with
	blobs             [][]byte        // the domain's keys in the order of domainRoles
}

// enrol makes the domain's keys, of these versions, on all tokens. A token that has a fingerprint
// receives them by the pair that Enroll made there.
func enrol(ctx context.Context, tokens []*Token, fingerprints map[*Token]string, id []byte, v versions) (err error) {
	var all []*enrolment
	defer func() {
		clean := context.WithoutCancel(ctx)
		for _, e := range all {
			err = errors.Join(err, e.token.do(clean, laneHold, e.end))
		}
	}()
	for _, t := range tokens {
		e := &enrolment{token: t}
		begin := e.begin
		if fingerprint, ok := fingerprints[t]; ok {
			begin = func(s *session) error { return e.meet(s, fingerprint) }
		}
		if err := t.do(ctx, laneHold, begin); err != nil {
			return fmt.Errorf("enrol %s: %w", t.config.URI, err)
		}
		all = append(all, e)
	}
	oaep, err := commonHash(all)
	if err != nil {
		return err
	}
	err = tokens[0].do(ctx, laneHold, func(s *session) error { return bear(s, all, oaep) })
	if err != nil {
		return err
	}
	for _, e := range all {
		err := e.token.do(ctx, laneHold, func(s *session) error { return e.receive(s, id, v, oaep) })
		if err != nil {
			return fmt.Errorf("enrol %s: %w", e.token.config.URI, err)
		}
	}
	return nil
}

// begin makes the pair.
func (e *enrolment) begin(s *session) (err error) {
	e.public, e.private, err = s.generateKeyPair(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
		append(publicUse(useWrap),
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, enrolBits),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})),
		privateUse(useUnwrap))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = errors.Join(s.destroyObject(e.private), s.destroyObject(e.public)) // err is the one to report
		}
	}()
	if _, err := s.harden(e.private, enrolKind.secrets()...); err != nil {
		return err
	}
	return e.read(s)
}

// read takes the public half and tries which hashes the pair works with.
func (e *enrolment) read(s *session) error {
	got, err := s.attributes(e.public, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return err
	}
	e.modulus, e.exponent = got[0], got[1]
	e.hashes = map[string]bool{}
	for _, h := range enrolHashes {
		e.hashes[h.name] = e.try(s, h.oaep()) == nil
	}
	return nil
}

// try sends a throwaway key through the pair.
func (e *enrolment) try(s *session, oaep *pkcs11.OAEPParams) error {
	o, err := s.generateKey(macKind.generate, macKind.sized(leaving))
	if err != nil {
		return err
	}
	defer func() { _ = s.destroyObject(o) }() // it protects nothing
	blob, err := s.wrapKey(pkcs11.CKM_RSA_PKCS_OAEP, oaep, e.public, o)
	if err != nil {
		return err
	}
	back, err := s.unwrapKey(pkcs11.CKM_RSA_PKCS_OAEP, oaep, e.private, blob, macKind.template(inUse))
	if err != nil {
		return err
	}
	return s.destroyObject(back)
}

func commonHash(all []*enrolment) (*pkcs11.OAEPParams, error) {
	for _, h := range enrolHashes {
		common := true
		for _, e := range all {
			common = common && e.hashes[h.name]
		}
		if common {
			return h.oaep(), nil
		}
	}
	return nil, fmt.Errorf("%w: the tokens have no hash for RSA-OAEP in common", ErrUnsupported)
}

// bear makes each key in the first token, wraps it for every token and destroys it.
func bear(s *session, all []*enrolment, oaep *pkcs11.OAEPParams) error {
	recipients := make([]object, len(all))
	for i, e := range all {
		e.blobs = nil
		o, err := s.createObject(append(publicUse(useWrap),
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS, e.modulus),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, e.exponent)))
		if err != nil {
			return err
		}
		defer func() { _ = s.destroyObject(o) }() // a public key
		recipients[i] = o
	}
	for _, r := range domainRoles {
		if err := bearKey(s, r.kind, all, recipients, oaep); err != nil {
			return err
		}
	}
	return nil
}

func bearKey(s *session, kind secretKind, all []*enrolment, recipients []object, oaep *pkcs11.OAEPParams) (err error) {
	key, err := s.generateKey(kind.generate, kind.sized(leaving))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.destroyObject(key)) }()
	for i, e := range all {
		blob, err := s.wrapKey(pkcs11.CKM_RSA_PKCS_OAEP, oaep, recipients[i], key)
		if err != nil {
			return err
		}
		e.blobs = append(e.blobs, blob)
	}
	return nil
}

// receive unwraps the keys into resting objects. What an earlier run of it left is removed first.
func (e *enrolment) receive(s *session, id []byte, v versions, oaep *pkcs11.OAEPParams) error {
	if err := removeKeys(s, id, v); err != nil {
		return err
	}
	for i, r := range domainRoles {
		o, err := s.unwrapKey(pkcs11.CKM_RSA_PKCS_OAEP, oaep, e.private, e.blobs[i], r.kind.template(r.resting(id, v[r.role])))
		if err != nil {
			return err
		}
		if _, err := s.harden(o); err != nil {
			return err
		}
	}
	return nil
}

// end destroys the pair and what was wrapped to it.
func (e *enrolment) end(s *session) error {
	for _, b := range e.blobs {
		clear(b)
	}
	return errors.Join(s.destroyObject(e.private), s.destroyObject(e.public))
}

// publicUse and privateUse describe session objects of a key pair.
func publicUse(u use) []*attribute {
	t := []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, u&useEncrypt != 0),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, u&useVerify != 0),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, u&useWrap != 0),
	}
	if u == useEncapsulate {
		t = append(t, pkcs11.NewAttribute(lateUses[u], true))
	}
	return t
}

func privateUse(u use) []*attribute {
	return []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, u&useDecrypt != 0),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, u&useSign != 0),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, u&useUnwrap != 0),
		pkcs11.NewAttribute(pkcs11.CKA_DERIVE, u&useDerive != 0),
	}
}
