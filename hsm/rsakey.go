package hsm

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// rsaKind is an RSA pair of two primes with the exponent 65537.
type rsaKind struct{ bits int }

var (
	rsaOID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1} // rsaEncryption
	// rsaAlgorithm is the AlgorithmIdentifier of rsaEncryption with its NULL.
	rsaAlgorithm = unhex("300d06092a864886f70d0101010500")
	derNull      = []byte{5, 0}
	rsaExponent  = []byte{1, 0, 1}
)

func (k rsaKind) keyType() uint   { return pkcs11.CKK_RSA }
func (k rsaKind) names() [][]byte { return [][]byte{nil} }
func (k rsaKind) size() int       { return k.bits / 8 }

func (k rsaKind) secrets() []uint {
	return []uint{pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2,
		pkcs11.CKA_EXPONENT_1, pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT}
}

func (k rsaKind) generation([]byte) (uint, []*attribute) {
	return pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, k.bits),
		pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, rsaExponent),
	}
}

func (k rsaKind) spki(s *session, public object) ([]byte, error) {
	got, err := s.attributes(public, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return nil, err
	}
	if n := new(big.Int).SetBytes(got[0]); n.BitLen() != k.bits {
		return nil, fmt.Errorf("the token made a modulus of %d bits, not %d", n.BitLen(), k.bits)
	}
	return writePublic(rsaAlgorithm, rsaPublicKey(got[0], got[1])), nil
}

// rsaPublicKey is the DER of an RSAPublicKey (RFC 8017, appendix A.1.1).
func rsaPublicKey(n, e []byte) []byte {
	w := newDER(len(n) + len(e) + 16)
	end := w.end()
	w.integer(e)
	w.integer(n)
	w.begin(derSequenceTag, end)
	return w.bytes()
}

// parse reads a public key of exactly this size.
func (k rsaKind) parse(spki []byte) (*rsa.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, errPublicForm
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok || public.N.BitLen() != k.bits {
		return nil, errPublicForm
	}
	return public, nil
}

func (k rsaKind) public(spki []byte, _ bool) ([]*attribute, error) {
	key, err := k.parse(spki)
	if err != nil {
		return nil, err
	}
	return []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, key.N.Bytes()),
		pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(key.E)).Bytes()),
	}, nil
}

// rsaComponents are the attributes of a private key in the order in which RFC 8017, appendix
// A.1.2, has them after the version.
var rsaComponents = []uint{
	pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIVATE_EXPONENT,
	pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2, pkcs11.CKA_EXPONENT_1, pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT,
}

func (k rsaKind) private(pkcs8 []byte) ([]*attribute, []byte, error) {
	key, err := parsePrivate(pkcs8, rsaOID, derNull)
	if err != nil {
		return nil, nil, err
	}
	defer clear(key)
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8) // checks that the parts belong together
	if err != nil {
		return nil, nil, errPrivateForm
	}
	r, ok := parsed.(*rsa.PrivateKey)
	if !ok || len(r.Primes) != 2 || r.N.BitLen() != k.bits {
		return nil, nil, errPrivateForm
	}
	r.Precompute()
	values := []*big.Int{r.N, big.NewInt(int64(r.E)), r.D, r.Primes[0], r.Primes[1], r.Precomputed.Dp, r.Precomputed.Dq, r.Precomputed.Qinv}
	var t []*attribute
	for i, v := range values {
		t = append(t, pkcs11.NewAttribute(rsaComponents[i], v.Bytes()))
	}
	return t, writePublic(rsaAlgorithm, rsaPublicKey(values[0].Bytes(), values[1].Bytes())), nil
}

func (k rsaKind) pkcs8(s *session, private object, _ []byte) ([]byte, error) {
	parts, err := s.attributes(private, rsaComponents...)
	if err != nil {
		return nil, err
	}
	size := 64
	for _, p := range parts {
		defer clear(p)
		size += len(p) + 5
	}
	w := newDER(size)
	end := w.end()
	for i := len(parts) - 1; i >= 0; i-- {
		w.integer(parts[i])
	}
	w.integer(nil) // version 0: two primes
	w.begin(derSequenceTag, end)
	return w.finishPrivate(rsaAlgorithm, end), nil
}
