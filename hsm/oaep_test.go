package hsm

import (
	"bytes"
	"crypto"
	"testing"
)

// encodeOAEP is RFC 8017, section 7.1.1, step 2, with the parts in the open.
func encodeOAEP(hash crypto.Hash, size int, first byte, label, padding, message []byte) []byte {
	n := hash.Size()
	em := make([]byte, size)
	em[0] = first
	seed, db := em[1:1+n], em[1+n:]
	copy(seed, bytes.Repeat([]byte{0x5e}, n))
	copy(db, label)
	copy(db[n:], padding)
	copy(db[len(db)-len(message):], message)
	maskMGF1(hash, db, seed)
	maskMGF1(hash, seed, db)
	return em
}

func TestDecodeOAEP(t *testing.T) {
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		n, size := hash.Size(), 256
		label := hash.New().Sum(nil)
		room := size - 2*n - 1
		for _, length := range []int{0, 1, 50, room - 1} {
			message := bytes.Repeat([]byte{1}, length) // of the byte that ends the padding
			padding := append(make([]byte, room-1-length), 1)
			em := encodeOAEP(hash, size, 0, label, padding, message)
			got, err := decodeOAEP(hash, em)
			if err != nil || !bytes.Equal(got, message) {
				t.Errorf("%s, %d bytes: %d bytes, %v", hash, length, len(got), err)
			}
			if !bytes.Equal(em, make([]byte, size)) {
				t.Error("the encoded message is not wiped")
			}
		}
		wrong := bytes.Clone(label)
		wrong[n-1] ^= 0x80
		for name, em := range map[string][]byte{
			"first byte":      encodeOAEP(hash, size, 1, label, []byte{0, 1}, nil),
			"label":           encodeOAEP(hash, size, 0, wrong, []byte{0, 1}, nil),
			"no end":          encodeOAEP(hash, size, 0, label, nil, nil),
			"not zero or one": encodeOAEP(hash, size, 0, label, []byte{0, 2, 1}, nil),
			"0x81 is not one": encodeOAEP(hash, size, 0, label, []byte{0x81, 1}, nil),
			"all at once":     encodeOAEP(hash, size, 9, wrong, []byte{3}, nil),
			"short":           make([]byte, 2*n+1),
			"empty":           nil,
		} {
			if got, err := decodeOAEP(hash, em); err != errPadding || got != nil {
				t.Errorf("%s, %s: %d bytes, %v", hash, name, len(got), err)
			}
		}
	}
}
