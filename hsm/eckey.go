package hsm

import (
	"crypto/ecdh"
	"crypto/elliptic"
	"encoding/asn1"
	"math/big"

	"github.com/miekg/pkcs11"
)

// A curve is a Weierstrass curve with prime order.
type curve struct {
	oid   []byte // DER, as CKA_EC_PARAMS has it
	size  int    // bytes of a coordinate, and of the order
	order *big.Int
	// goCurve is nil where the standard library does not have the curve; ecdh is nil there and where
	// KMS does not agree on keys.
	goCurve elliptic.Curve
	ecdh    ecdh.Curve
	own     *equation // where goCurve is nil
}

var (
	p256 = &curve{unhex("06082a8648ce3d030107"), 32, elliptic.P256().Params().N, elliptic.P256(), ecdh.P256(), nil}
	p384 = &curve{unhex("06052b81040022"), 48, elliptic.P384().Params().N, elliptic.P384(), ecdh.P384(), nil}
	p521 = &curve{unhex("06052b81040023"), 66, elliptic.P521().Params().N, elliptic.P521(), ecdh.P521(), nil}
	// secp256k1: SEC 2, section 2.4.1
	p256k1 = &curve{unhex("06052b8104000a"), 32,
		new(big.Int).SetBytes(unhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")), nil, nil, p256k1Equation}
	// GB/T 32918.5-2017, section 2; its OID is 1.2.156.10197.1.301.
	sm2 = &curve{unhex("06082a811ccf5501822d"), 32,
		bigHex("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123"), nil, nil, sm2Equation}
)

// ecKind is a pair on a Weierstrass curve.
type ecKind struct{ *curve }

var (
	ecOID    = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1} // id-ecPublicKey
	ecOIDDER = unhex("06072a8648ce3d0201")
)

func (k ecKind) keyType() uint   { return pkcs11.CKK_EC }
func (k ecKind) names() [][]byte { return [][]byte{k.oid} }
func (k ecKind) secrets() []uint { return []uint{pkcs11.CKA_VALUE} }

// algorithm is the DER of the AlgorithmIdentifier (RFC 5480, section 2).
func (k ecKind) algorithm() []byte {
	w := newDER(len(ecOIDDER) + len(k.oid) + 4)
	end := w.end()
	w.raw(k.oid)
	w.raw(ecOIDDER)
	w.begin(derSequenceTag, end)
	return w.bytes()
}

func (k ecKind) generation(name []byte) (uint, []*attribute) {
	return pkcs11.CKM_EC_KEY_PAIR_GEN, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, name)}
}

func (k ecKind) spki(s *session, public object) ([]byte, error) {
	got, err := s.attributes(public, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	point, err := barePoint(got[0], 1+2*k.size)
	if err != nil {
		return nil, err
	}
	return writePublic(k.algorithm(), point), nil
}

// point reads the uncompressed point of a public key on this curve. Whether it is on the curve is
// left to who uses it.
func (k ecKind) point(spki []byte) ([]byte, error) {
	point, err := parsePublic(spki, ecOID, k.oid)
	if err != nil || len(point) != 1+2*k.size || point[0] != 4 {
		return nil, errPublicForm
	}
	return point, nil
}

// agrees says whether KMS agrees on keys by ECDH on the curve.
func (c *curve) agrees() bool { return c.ecdh != nil || c == sm2 }

// onCurve wants an uncompressed point to be one of the curve.
func (c *curve) onCurve(encoded []byte) error {
	if c.ecdh != nil {
		_, err := c.ecdh.NewPublicKey(encoded)
		return err
	}
	if !c.equation().has(c.decode(encoded)) {
		return errPublicForm
	}
	return nil
}

// decode takes an uncompressed point apart.
func (c *curve) decode(encoded []byte) *point {
	return &point{new(big.Int).SetBytes(encoded[1 : 1+c.size]), new(big.Int).SetBytes(encoded[1+c.size:])}
}

// parse is point for one that is on the curve.
func (k ecKind) parse(spki []byte) (*point, error) {
	encoded, err := k.point(spki)
	if err != nil {
		return nil, err
	}
	if err := k.onCurve(encoded); err != nil {
		return nil, errPublicForm
	}
	return k.decode(encoded), nil
}

func (k ecKind) public(spki []byte, bare bool) ([]*attribute, error) {
	point, err := k.point(spki)
	if err != nil {
		return nil, err
	}
	return ecPublic(k.oid, point, bare), nil
}

func ecPublic(name, point []byte, bare bool) []*attribute {
	if !bare {
		w := newDER(len(point) + 4)
		w.value(derOctetStringTag, point)
		point = w.bytes()
	}
	return []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, name),
		pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, point),
	}
}

// An ecPrivateKey is that of RFC 5915, section 3.
type ecPrivateKey struct {
	Version int
	Private []byte
	Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	Public  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

func (k ecKind) private(pkcs8 []byte) ([]*attribute, []byte, error) {
	inner, err := parsePrivate(pkcs8, ecOID, k.oid)
	if err != nil {
		return nil, nil, err
	}
	defer clear(inner)
	var key ecPrivateKey
	rest, err := asn1.Unmarshal(inner, &key)
	if err != nil || len(rest) != 0 || key.Version != 1 || len(key.Private) > k.size {
		return nil, nil, errPrivateForm
	}
	defer clear(key.Private)
	point, err := k.publicOf(key)
	if err != nil {
		return nil, nil, err
	}
	value := make([]byte, k.size)
	copy(value[k.size-len(key.Private):], key.Private)
	return ecPrivate(k.oid, value), writePublic(k.algorithm(), point), nil
}

func ecPrivate(name, value []byte) []*attribute {
	return []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, name),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, value),
	}
}

// publicOf is the point of a private key: computed, and compared with the one that came along, on
// curves that the standard library has. On others the one that came along is taken, empty if there
// is none; the token compares it with what the key signs.
func (k ecKind) publicOf(key ecPrivateKey) ([]byte, error) {
	given := key.Public.Bytes
	if k.ecdh == nil {
		if len(given) != 0 && len(given) != 1+2*k.size {
			return nil, errPrivateForm
		}
		return given, nil
	}
	value := make([]byte, k.size)
	defer clear(value)
	copy(value[k.size-len(key.Private):], key.Private)
	private, err := k.ecdh.NewPrivateKey(value)
	if err != nil {
		return nil, errPrivateForm
	}
	point := private.PublicKey().Bytes()
	if len(given) != 0 && string(given) != string(point) {
		return nil, errPrivateForm
	}
	return point, nil
}

func (k ecKind) pkcs8(s *session, private object, spki []byte) ([]byte, error) {
	got, err := s.attributes(private, pkcs11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	defer clear(got[0])
	value := make([]byte, k.size)
	defer clear(value)
	if err := fill(value, got[0]); err != nil {
		return nil, err
	}
	point, err := k.point(spki)
	if err != nil {
		return nil, err
	}
	w := newDER(len(point) + len(value) + 64)
	end := w.end()
	w.raw(point)
	w.raw([]byte{0}) // no unused bits
	w.begin(derBitStringTag, end)
	w.begin(derContext1Tag, end)
	w.value(derOctetStringTag, value)
	w.integer([]byte{1}) // version
	w.begin(derSequenceTag, end)
	return w.finishPrivate(k.algorithm(), end), nil
}

// fill writes a number into out, which has its full size. Some tokens strip leading zeros, others
// add one.
func fill(out, number []byte) error {
	for len(number) > len(out) {
		if number[0] != 0 {
			return errNotExact
		}
		number = number[1:]
	}
	copy(out[len(out)-len(number):], number)
	return nil
}
