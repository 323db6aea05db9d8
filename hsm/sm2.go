package hsm

import (
	"context"
	"crypto/subtle"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/kms11/kms11/kms"
)

// sm2Plaintext is the bound of an SM2PKE plaintext in bytes (API reference, Encrypt, "Plaintext").
const sm2Plaintext = 1024

// sm2ID is the distinguishing identifier of a signer who has none of its own (GB/T 35276-2017,
// section 10), which is AWS's.
const sm2ID = "1234567812345678"

// sm2Algorithm is SM2PKE as the abilities of a token name it.
const sm2Algorithm = string(kms.EncryptionAlgorithmSpecSm2pke)

var sm2Kind = ecKind{sm2}

// EncryptSM2 encrypts 1 to 1024 bytes for the holder of m by SM2PKE (GB/T 32918.4-2016). The answer is
// the DER of SM2Cipher (GB/T 35276-2017, section 7.2), which is AWS's form too:
//
//	SEQUENCE { x INTEGER, y INTEGER, hash OCTET STRING, ciphertext OCTET STRING }
//
// The key of the message is made in the token: see sealSM2.
func (d *Domain) EncryptSM2(ctx context.Context, m *kms.Material, plaintext []byte) ([]byte, error) {
	if len(plaintext) == 0 || len(plaintext) > sm2Plaintext {
		return nil, fmt.Errorf("SM2PKE encrypts 1 to %d bytes, not %d", sm2Plaintext, len(plaintext))
	}
	k, err := pairOf(kms.KeySpecSm2)
	if err != nil {
		return nil, err
	}
	public, err := sm2Kind.parse(m.PublicKey)
	if err != nil {
		return nil, err
	}
	var ciphertext []byte
	err = d.use(ctx, func(l *loaded) error {
		if err := l.abilities.can(k.spec, sm2Algorithm); err != nil {
			return err
		}
		return l.conn.do(ctx, laneLong, func(s *session) (err error) {
			ciphertext, err = s.sealSM2(public, plaintext)
			return err
		})
	})
	return ciphertext, err
}

// DecryptSM2 opens what was encrypted for m by EncryptSM2 or elsewhere. A ciphertext that was not, for
// whatever reason, gives an error that matches ErrBadCiphertext. Unless Config.ForbidPaddingOutside
// is set, which leaves no way: then the error matches ErrUnsupported.
func (d *Domain) DecryptSM2(ctx context.Context, m *kms.Material, ciphertext []byte) ([]byte, error) {
	k, err := pairOf(kms.KeySpecSm2)
	if err != nil {
		return nil, err
	}
	c, err := parseSM2Cipher(ciphertext)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadCiphertext, err)
	}
	var plaintext []byte
	err = d.withPrivate(ctx, m, k, useDerive, sm2Algorithm, func(l *loaded, key object) error {
		return l.conn.do(ctx, k.lane, func(s *session) (err error) {
			plaintext, err = s.openSM2(key, c)
			return err
		})
	})
	return plaintext, err
}

// An sm2Cipher is a ciphertext with its parts told apart: C1, C3 and C2 of the standard.
type sm2Cipher struct {
	point *point
	hash  []byte
	text  []byte
}

var errSM2Form = errors.New("not the DER of an SM2 ciphertext")

// parseSM2Cipher takes nothing but the one strict encoding, and a point of the curve.
func parseSM2Cipher(der []byte) (*sm2Cipher, error) {
	var v struct {
		X, Y       *big.Int
		Hash, Text []byte
	}
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) != 0 || len(v.Hash) != sm3Size || len(v.Text) == 0 {
		return nil, errSM2Form
	}
	c := &sm2Cipher{&point{v.X, v.Y}, v.Hash, v.Text}
	if !sm2Equation.has(c.point) || string(c.marshal()) != string(der) {
		return nil, errSM2Form
	}
	return c, nil
}

func (c *sm2Cipher) marshal() []byte {
	w := newDER(len(c.text) + 128)
	end := w.end()
	w.value(derOctetStringTag, c.text)
	w.value(derOctetStringTag, c.hash)
	w.integer(c.point.y.Bytes())
	w.integer(c.point.x.Bytes())
	w.begin(derSequenceTag, end)
	return w.bytes()
}

// sm2Mask is the KDF of GB/T 32918.4, section 5.4.3, over the shared point, added to text; and the
// hash C3 of what is plaintext, which the caller says.
func sm2Mask(x, y, text []byte) []byte {
	out := make([]byte, 0, len(text)+sm3Size)
	for i := uint32(1); len(out) < len(text); i++ {
		block := sm3(x, y, binary.BigEndian.AppendUint32(nil, i))
		out = append(out, block[:]...)
		clear(block[:])
	}
	subtle.XORBytes(out, out, text)
	clear(out[len(text):])
	return out[:len(text)]
}

// sealSM2 encrypts with an ephemeral pair that never leaves the token. ECDH gives x of the shared
// point kP; which of the two y belongs to it is settled by a second ECDH, with P+G: k(P+G) is
// kP+C1, and C1 is public. What is worked out here is the key of this one message, which its
// plaintext passes through this process for.
func (s *session) sealSM2(public *point, plaintext []byte) ([]byte, error) {
	e := sm2Equation
	beside := e.add(public, e.base())
	if beside == nil {
		return nil, errPublicForm // the public key of the private key n-1, which the standard rules out
	}
	for range maxSM2Tries {
		c, err := s.trySM2(public, beside, plaintext)
		if c != nil || err != nil {
			if err != nil {
				return nil, err
			}
			return c.marshal(), nil
		}
	}
	return nil, errors.New("SM2PKE: the token's ephemeral keys do not encrypt")
}

// maxSM2Tries bounds the ephemeral keys for one message. One in 256 hides a plaintext of a single
// byte behind nothing, and is thrown away as the standard says (section 6.1, step A5).
const maxSM2Tries = 32

func (s *session) trySM2(public, beside *point, plaintext []byte) (c *sm2Cipher, err error) {
	own, private, err := s.generatePair(sm2Kind, sm2.oid, inUse, useDerive)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.destroyObject(own), s.destroyObject(private)) }()
	spki, err := sm2Kind.spki(s, own)
	if err != nil {
		return nil, err
	}
	ephemeral, err := sm2Kind.parse(spki)
	if err != nil {
		return nil, err
	}
	x, err := s.agree(sm2Kind, private, sm2.encode(public.x, public.y))
	if err != nil {
		return nil, err
	}
	defer clear(x)
	sum, err := s.agree(sm2Kind, private, sm2.encode(beside.x, beside.y))
	if err != nil {
		return nil, err
	}
	shared := &point{x: new(big.Int).SetBytes(x)}
	defer clear(shared.x.Bits())
	for _, shared.y = range sm2Equation.solve(shared.x) {
		defer clear(shared.y.Bits())
		both := sm2Equation.add(shared, ephemeral)
		if both == nil || both.x.Cmp(new(big.Int).SetBytes(sum)) != 0 {
			continue
		}
		y := shared.y.FillBytes(make([]byte, sm2.size))
		defer clear(y)
		text := sm2Mask(x, y, plaintext)
		if string(text) == string(plaintext) {
			return nil, nil
		}
		hash := sm3(x, plaintext, y)
		return &sm2Cipher{ephemeral, hash[:], text}, nil
	}
	return nil, errNotExact
}

// openSM2 has the token do the ECDH step and takes the rest off here, as decryptOutside does with the
// padding of RSA, and under the same switch. The two points that have the x are tried alike, and the
// hash in the ciphertext settles which is the right one, if any. The root that gives y is taken of the
// key of this one message, by an exponent that is the same for all: it tells nothing of the private
// key, which stays in the token.
func (s *session) openSM2(private object, c *sm2Cipher) ([]byte, error) {
	x, err := s.agree(sm2Kind, private, sm2.encode(c.point.x, c.point.y))
	if err != nil {
		return nil, err
	}
	defer clear(x)
	plaintext, found := make([]byte, len(c.text)), 0
	shared := new(big.Int).SetBytes(x)
	defer clear(shared.Bits())
	for _, number := range sm2Equation.solve(shared) {
		y := number.FillBytes(make([]byte, sm2.size))
		candidate := sm2Mask(x, y, c.text)
		hash := sm3(x, candidate, y)
		right := subtle.ConstantTimeCompare(hash[:], c.hash)
		subtle.ConstantTimeCopy(right, plaintext, candidate)
		found |= right
		clear(candidate)
		clear(y)
		clear(number.Bits())
	}
	if found == 0 {
		return nil, ErrBadCiphertext
	}
	return plaintext, nil
}

// sm2Digest is what is signed of a message: SM3 of Z and the message, Z being SM3 of the signer's
// identifier, the curve and the public key (GB/T 32918.2-2016, section 5.5).
func sm2Digest(spki, message []byte) ([]byte, error) {
	public, err := sm2Kind.parse(spki)
	if err != nil {
		return nil, err
	}
	field := func(n *big.Int) []byte { return n.FillBytes(make([]byte, sm2.size)) }
	e := sm2Equation
	z := sm3(binary.BigEndian.AppendUint16(nil, 8*uint16(len(sm2ID))), []byte(sm2ID),
		field(new(big.Int).Add(e.p, e.a)), field(e.b), field(e.baseX), field(e.baseY), field(public.x), field(public.y))
	digest := sm3(z[:], message)
	return digest[:], nil
}

// sm2Verify verifies a signature over a digest: section 7.1 of the same.
func sm2Verify(spki, digest, signature []byte) (bool, error) {
	public, err := sm2Kind.parse(spki)
	if err != nil {
		return false, err
	}
	raw, err := decodeSignature(signature, sm2.size, sm2.order)
	if err != nil {
		return false, nil
	}
	r, s := new(big.Int).SetBytes(raw[:sm2.size]), new(big.Int).SetBytes(raw[sm2.size:])
	t := new(big.Int).Add(r, s)
	if t.Mod(t, sm2.order).Sign() == 0 {
		return false, nil
	}
	q := sm2Equation.add(sm2Equation.multiply(sm2Equation.base(), s), sm2Equation.multiply(public, t))
	if q == nil {
		return false, nil
	}
	v := new(big.Int).SetBytes(digest)
	v.Add(v, q.x).Mod(v, sm2.order)
	return v.Cmp(r) == 0, nil
}
