package hsm

import (
	"crypto"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

var errPadding = errors.New("the padding is wrong")

// decodeOAEP takes the padding of RSAES-OAEP (RFC 8017, section 7.1.2, step 3) off an encoded
// message, with MGF1 of the same hash and an empty label. It is for tokens that do not have the
// hash: the token does the RSA step. Manger's attack (CRYPTO 2001) tells a first byte other than
// zero from any other fault, so all of them are found by the same steps and give one error. encoded
// is wiped.
func decodeOAEP(hash crypto.Hash, encoded []byte) ([]byte, error) {
	defer clear(encoded)
	size := hash.Size()
	if len(encoded) < 2*size+2 {
		return nil, errPadding
	}
	label := hash.New().Sum(nil)
	seed, db := encoded[1:1+size], encoded[1+size:]
	maskMGF1(hash, seed, db)
	maskMGF1(hash, db, seed)

	good := subtle.ConstantTimeByteEq(encoded[0], 0)
	good &= subtle.ConstantTimeCompare(db[:size], label)
	// The first byte after the label that is not zero must be one; start is where the message is.
	looking, start, wrong := 1, 0, 0
	rest := db[size:]
	for i, b := range rest {
		zero, one := subtle.ConstantTimeByteEq(b, 0), subtle.ConstantTimeByteEq(b, 1)
		start = subtle.ConstantTimeSelect(looking&one, i+1, start)
		wrong = subtle.ConstantTimeSelect(looking, wrong|(1&^(zero|one)), wrong)
		looking = subtle.ConstantTimeSelect(one, 0, looking)
		looking &= 1 &^ wrong
	}
	if good&(1&^wrong)&(1&^looking) != 1 {
		return nil, errPadding
	}
	// From here the message is the caller's, and its length is no secret.
	return append([]byte{}, rest[start:]...), nil
}

// maskMGF1 XORs out with MGF1 of seed (RFC 8017, appendix B.2.1).
func maskMGF1(hash crypto.Hash, out, seed []byte) {
	var counter [4]byte
	h := hash.New()
	digest := make([]byte, 0, hash.Size())
	defer clear(digest[:cap(digest)])
	for i := uint32(0); len(out) > 0; i++ {
		binary.BigEndian.PutUint32(counter[:], i)
		h.Reset()
		h.Write(seed)
		h.Write(counter[:])
		digest = h.Sum(digest[:0])
		n := subtle.XORBytes(out, out, digest)
		out = out[n:]
	}
	h.Reset()
}
