package hsm

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// A pairKind is a sort of key pair: what the families of asymmetric keys do differently.
type pairKind interface {
	// keyType is the CKK.
	keyType() uint
	// generation is the mechanism and what the public template holds beyond the flags. name is
	// how the token wants the curve named, for kinds with several names.
	generation(name []byte) (mech uint, parameters []*attribute)
	// names are the curve's names to try; one empty name for kinds that have no choice.
	names() [][]byte
	// spki reads a public key as a DER SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7).
	spki(s *session, public object) ([]byte, error)
	// public describes a public key to C_CreateObject. bare asks for an EC point without the DER
	// OCTET STRING around it.
	public(spki []byte, bare bool) ([]*attribute, error)
	// private describes known private key, a PKCS#8 DER, to C_CreateObject, and gives its public
	// half.
	private(pkcs8 []byte) (components []*attribute, spki []byte, err error)
	// pkcs8 reads a private key that may be read as the DER of a PrivateKeyInfo (RFC 5208).
	pkcs8(s *session, private object, spki []byte) ([]byte, error)
	// secrets are the attributes that nobody may read from a private key.
	secrets() []uint
}

// privateUses are the flags of a private key.
var privateUses = []struct {
	use       use
	attribute uint
	name      string
}{
	{useDecrypt, pkcs11.CKA_DECRYPT, "DECRYPT"},
	{useSign, pkcs11.CKA_SIGN, "SIGN"},
	{0, pkcs11.CKA_SIGN_RECOVER, "SIGN_RECOVER"},
	{useUnwrap, pkcs11.CKA_UNWRAP, "UNWRAP"},
	{useDerive, pkcs11.CKA_DERIVE, "DERIVE"},
}

// privateTemplate describes a private key. It has no parameters of the curve, which C_UnwrapKey
// takes from the key.
func privateTemplate(k pairKind, p placement, u use) []*attribute {
	t := []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, k.keyType()),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, p.resting),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, !p.readable),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, p.extractable),
	}
	for _, f := range privateUses {
		t = append(t, pkcs11.NewAttribute(f.attribute, u&f.use != 0))
	}
	if u == useDecapsulate {
		t = append(t, pkcs11.NewAttribute(lateUses[u], true))
	}
	if p.id != nil {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_ID, p.id), pkcs11.NewAttribute(pkcs11.CKA_LABEL, p.label))
	}
	return t
}

// publicTemplate describes a known public key as a session object.
func publicTemplate(k pairKind, u use, spki []byte, bare bool) ([]*attribute, error) {
	parameters, err := k.public(spki, bare)
	if err != nil {
		return nil, err
	}
	return append(append(publicUse(u),
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, k.keyType())), parameters...), nil
}

// generatePair makes a pair with this use. The public half is a session object in any case. Both
// templates name the type, because openCryptoki wants it in both or in neither.
func (s *session) generatePair(k pairKind, name []byte, p placement, u use) (public, private object, err error) {
	mech, parameters := k.generation(name)
	open := append(publicUse(publicHalf[u]), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, k.keyType()))
	return s.generateKeyPair(mech, append(open, parameters...), privateTemplate(k, p, u))
}

// publicHalf is what the public key may do whose private key does the other.
var publicHalf = map[use]use{useSign: useVerify, useDecrypt: useEncrypt, useDerive: 0, useDecapsulate: useEncapsulate}

// hardenPrivate is harden for private keys: the key cannot leave the token, can be used in one
// way, and no part of it can be read. A token that ignored the uses in a template, as NSS does in
// C_UnwrapKey, gets one C_SetAttributeValue.
func (s *session) hardenPrivate(k pairKind, o object, want use) (object, error) {
	o, err := s.harden(o, k.secrets()...)
	if err != nil {
		return 0, err
	}
	if err = s.does(k, o, want); err != nil && s.restrict(o, want) == nil {
		err = s.does(k, o, want)
	}
	if err != nil {
		_ = s.destroyObject(o) // the key is refused either way
		return 0, err
	}
	return o, nil
}

// restrict states the uses of a private key anew.
func (s *session) restrict(o object, want use) error {
	var uses []*attribute
	for _, f := range privateUses {
		uses = append(uses, pkcs11.NewAttribute(f.attribute, want&f.use != 0))
	}
	return s.setAttributes(o, uses)
}

// settled is hardenPrivate for a resident key: it is refused, but neither changed nor destroyed.
func (s *session) settled(k pairKind, o object, want use) error {
	if err := s.locked(o, k.secrets()...); err != nil {
		return err
	}
	return s.does(k, o, want)
}

// does says in what way a private key may do more or less than want.
func (s *session) does(k pairKind, o object, want use) error {
	types := make([]uint, len(privateUses))
	for i, f := range privateUses {
		types[i] = f.attribute
	}
	got, err := s.attributes(o, types...)
	if err != nil {
		return err
	}
	for i, f := range privateUses {
		if isTrue(got[i]) != (want&f.use != 0) {
			return fmt.Errorf("the token holds a private key with %s=%t", f.name, isTrue(got[i]))
		}
	}
	if k.keyType() != ckkMLKEM {
		return nil // a flag that no other key can have, and that older tokens do not know
	}
	if got, err = s.attributes(o, ckaDecapsulate); err == nil && !isTrue(got[0]) {
		return errors.New("the token holds a private key with DECAPSULATE=false")
	}
	return err
}

// A publicInfo is a SubjectPublicKeyInfo.
type publicInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

var errPublicForm = errors.New("not a SubjectPublicKeyInfo of this kind of key")

// parsePublic takes an SPKI apart, if it names this algorithm with these DER parameters.
func parsePublic(spki []byte, algorithm asn1.ObjectIdentifier, parameters []byte) ([]byte, error) {
	var info publicInfo
	rest, err := asn1.Unmarshal(spki, &info)
	if err != nil || len(rest) != 0 || info.Key.BitLength%8 != 0 ||
		!info.Algorithm.Algorithm.Equal(algorithm) ||
		string(info.Algorithm.Parameters.FullBytes) != string(parameters) {
		return nil, errPublicForm
	}
	return info.Key.Bytes, nil
}

// writePublic makes an SPKI: algorithm is the DER of the AlgorithmIdentifier.
func writePublic(algorithm, key []byte) []byte {
	w := newDER(len(algorithm) + len(key) + 16)
	end := w.end()
	bits := w.end()
	w.raw(key)
	w.raw([]byte{0}) // no unused bits
	w.begin(derBitStringTag, bits)
	w.raw(algorithm)
	w.begin(derSequenceTag, end)
	return w.bytes()
}

// A privateInfo is a PrivateKeyInfo, or a OneAsymmetricKey (RFC 5958), of which the rest is
// ignored.
type privateInfo struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
	PublicKey  asn1.RawValue `asn1:"optional,tag:1"`
}

var errPrivateForm = errors.New("not a PKCS#8 private key of this kind")

// parsePrivate takes a PKCS#8 apart, like parsePublic. Its errors say nothing of the key.
func parsePrivate(pkcs8 []byte, algorithm asn1.ObjectIdentifier, parameters []byte) ([]byte, error) {
	var info privateInfo
	rest, err := asn1.Unmarshal(pkcs8, &info)
	if err != nil || len(rest) != 0 || !info.Algorithm.Algorithm.Equal(algorithm) ||
		string(info.Algorithm.Parameters.FullBytes) != string(parameters) {
		clear(info.PrivateKey)
		return nil, errPrivateForm
	}
	return info.PrivateKey, nil
}

// finishPrivate puts the head of a PrivateKeyInfo before the content of its privateKey, which
// ends at end. algorithm is the DER of the AlgorithmIdentifier.
func (w *derWriter) finishPrivate(algorithm []byte, end int) []byte {
	w.begin(derOctetStringTag, end)
	w.raw(algorithm)
	w.integer(nil) // version 0
	w.begin(derSequenceTag, end)
	return w.bytes()
}

// barePoint strips the DER OCTET STRING that some tokens put around a point of size bytes and
// others do not.
func barePoint(value []byte, size int) ([]byte, error) {
	if len(value) == size {
		return value, nil
	}
	for _, tag := range []int{asn1.TagOctetString, asn1.TagBitString} {
		var raw asn1.RawValue
		rest, err := asn1.Unmarshal(value, &raw)
		if err != nil || len(rest) != 0 || raw.Tag != tag {
			continue
		}
		content := raw.Bytes
		if tag == asn1.TagBitString && len(content) > 0 {
			content = content[1:]
		}
		if len(content) == size {
			return content, nil
		}
	}
	return nil, fmt.Errorf("the token gives a public point of %d bytes, not %d", len(value), size)
}
