package hsm

import (
	"encoding/asn1"
	"errors"

	"github.com/miekg/pkcs11"
)

// A lattice is one parameter set of ML-DSA (FIPS 204) or of ML-KEM (FIPS 203): what their key pairs
// have in common. PKCS#11 3.2 keeps both halves as the bytes of the standard in CKA_VALUE.
type lattice struct {
	ckk, generate uint
	set           uint                  // CKP
	oid           asn1.ObjectIdentifier // of the SubjectPublicKeyInfo, without parameters
	publicSize    int                   // bytes
	seedSize      int
	// answer is the size in bytes of a signature, or of a ciphertext.
	answer int
}

// The sizes are those of FIPS 204, table 2, and FIPS 203, table 3; the OIDs those of RFC 9881 and
// RFC 9935.
var (
	mlDSA44   = &lattice{ckkMLDSA, ckmMLDSAKeyPair, 1, nistOID(3, 17), 1312, 32, 2420}
	mlDSA65   = &lattice{ckkMLDSA, ckmMLDSAKeyPair, 2, nistOID(3, 18), 1952, 32, 3309}
	mlDSA87   = &lattice{ckkMLDSA, ckmMLDSAKeyPair, 3, nistOID(3, 19), 2592, 32, 4627}
	mlKEM512  = &lattice{ckkMLKEM, ckmMLKEMKeyPair, 1, nistOID(4, 1), 800, 64, 768}
	mlKEM768  = &lattice{ckkMLKEM, ckmMLKEMKeyPair, 2, nistOID(4, 2), 1184, 64, 1088}
	mlKEM1024 = &lattice{ckkMLKEM, ckmMLKEMKeyPair, 3, nistOID(4, 3), 1568, 64, 1568}
)

// nistOID is an object below 2.16.840.1.101.3.4, nistAlgorithms.
func nistOID(arc ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4}, arc...)
}

// mlDSAKind and mlKEMKind are pairs of a parameter set.
type (
	mlDSAKind struct{ *lattice }
	mlKEMKind struct{ *lattice }
)

func (k *lattice) keyType() uint   { return k.ckk }
func (k *lattice) names() [][]byte { return [][]byte{nil} }
func (k *lattice) secrets() []uint { return []uint{pkcs11.CKA_VALUE, ckaSeed} }

func (k *lattice) generation([]byte) (uint, []*attribute) {
	return k.generate, []*attribute{pkcs11.NewAttribute(ckaParameterSet, k.set)}
}

// algorithm is the DER of the AlgorithmIdentifier.
func (k *lattice) algorithm() []byte {
	oid, err := asn1.Marshal(k.oid)
	if err != nil {
		panic("hsm: " + err.Error())
	}
	w := newDER(len(oid) + 2)
	w.value(derSequenceTag, oid)
	return w.bytes()
}

func (k *lattice) spki(s *session, public object) ([]byte, error) {
	got, err := s.attributes(public, pkcs11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	if len(got[0]) != k.publicSize {
		return nil, errNotExact
	}
	return writePublic(k.algorithm(), got[0]), nil
}

// value reads a public key of this parameter set.
func (k *lattice) value(spki []byte) ([]byte, error) {
	value, err := parsePublic(spki, k.oid, nil)
	if err != nil || len(value) != k.publicSize {
		return nil, errPublicForm
	}
	return value, nil
}

func (k *lattice) public(spki []byte, _ bool) ([]*attribute, error) {
	value, err := k.value(spki)
	if err != nil {
		return nil, err
	}
	return []*attribute{
		pkcs11.NewAttribute(ckaParameterSet, k.set),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, value),
	}, nil
}

// private refuses: KMS imports no such keys.
func (k *lattice) private([]byte) ([]*attribute, []byte, error) {
	return nil, nil, errors.New("private keys of this kind do not come from outside")
}

// pkcs8 writes the seed where the token keeps it, which is the form that RFC 9881 and RFC 9935
// prefer, and the expanded key otherwise.
func (k *lattice) pkcs8(s *session, private object, _ []byte) ([]byte, error) {
	if got, err := s.attributes(private, ckaSeed); err == nil && len(got[0]) == k.seedSize {
		defer clear(got[0])
		return k.oneAsymmetricKey(derContext0Tag, got[0]), nil
	} else if lost(err) {
		return nil, err
	}
	got, err := s.attributes(private, pkcs11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	defer clear(got[0])
	return k.oneAsymmetricKey(derOctetStringTag, got[0]), nil
}

func (k *lattice) oneAsymmetricKey(tag byte, value []byte) []byte {
	w := newDER(len(value) + 64)
	end := w.end()
	w.value(tag, value)
	return w.finishPrivate(k.algorithm(), end)
}
