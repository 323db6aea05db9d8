package hsm

import (
	"crypto/ed25519"
	"encoding/asn1"

	"github.com/miekg/pkcs11"
)

// edKind is an Ed25519 pair (RFC 8032).
type edKind struct{}

var (
	edOID = asn1.ObjectIdentifier{1, 3, 101, 112}
	// edAlgorithm is the AlgorithmIdentifier, which has no parameters (RFC 8410, section 3).
	edAlgorithm = unhex("300506032b6570")
)

func (edKind) keyType() uint   { return ckkECEdwards }
func (edKind) names() [][]byte { return ed25519OIDs }
func (edKind) secrets() []uint { return []uint{pkcs11.CKA_VALUE} }

func (edKind) generation(name []byte) (uint, []*attribute) {
	return ckmECEdwardsKeyPair, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, name)}
}

func (edKind) spki(s *session, public object) ([]byte, error) {
	got, err := s.attributes(public, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	point, err := barePoint(got[0], ed25519.PublicKeySize)
	if err != nil {
		return nil, err
	}
	return writePublic(edAlgorithm, point), nil
}

func (edKind) point(spki []byte) ([]byte, error) {
	point, err := parsePublic(spki, edOID, nil)
	if err != nil || len(point) != ed25519.PublicKeySize {
		return nil, errPublicForm
	}
	return point, nil
}

func (k edKind) public(spki []byte, bare bool) ([]*attribute, error) {
	point, err := k.point(spki)
	if err != nil {
		return nil, err
	}
	return ecPublic(ed25519OIDs[0], point, bare), nil
}

func (edKind) private(pkcs8 []byte) ([]*attribute, []byte, error) {
	inner, err := parsePrivate(pkcs8, edOID, nil)
	if err != nil {
		return nil, nil, err
	}
	defer clear(inner)
	var seed []byte
	rest, err := asn1.Unmarshal(inner, &seed)
	if err != nil || len(rest) != 0 || len(seed) != ed25519.SeedSize {
		return nil, nil, errPrivateForm
	}
	key := ed25519.NewKeyFromSeed(seed)
	defer clear(key)
	return []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, ed25519OIDs[0]),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, seed),
	}, writePublic(edAlgorithm, key[ed25519.SeedSize:]), nil
}

// pkcs8 writes the form of RFC 8410, section 7, without the public key.
func (k edKind) pkcs8(s *session, private object, spki []byte) ([]byte, error) {
	got, err := s.attributes(private, pkcs11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	defer clear(got[0])
	seed, err := barePoint(got[0], ed25519.SeedSize)
	if err != nil {
		return nil, errNotExact
	}
	point, err := k.point(spki)
	if err != nil {
		return nil, err
	}
	// Tokens differ in what they keep as the value: only the seed is good for others.
	key := ed25519.NewKeyFromSeed(seed)
	defer clear(key)
	if string(key[ed25519.SeedSize:]) != string(point) {
		return nil, errNotExact
	}
	w := newDER(64)
	end := w.end()
	w.value(derOctetStringTag, seed)
	return w.finishPrivate(edAlgorithm, end), nil
}
