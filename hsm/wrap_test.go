package hsm

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"testing"

	"github.com/kms11/kms11/kms"
)

// keyWrap is the W function of RFC 3394, section 2.2.1, with an initial value.
func keyWrap(t *testing.T, kek, initial, key []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	out := append(bytes.Clone(initial), key...)
	n := len(key) / 8
	buffer := make([]byte, 16)
	for j := range 6 {
		for i := 1; i <= n; i++ {
			copy(buffer, out[:8])
			copy(buffer[8:], out[8*i:])
			block.Encrypt(buffer, buffer)
			binary.BigEndian.PutUint64(out, binary.BigEndian.Uint64(buffer)^uint64(n*j+i))
			copy(out[8*i:], buffer[8:])
		}
	}
	return out
}

// TestWrapVectors computes the answers that tokens are compared with.
func TestWrapVectors(t *testing.T) {
	for _, c := range wrapCandidates {
		for _, v := range c.tests {
			kek, key := unhex(v.kek), unhex(v.key)
			padded := append(bytes.Clone(key), make([]byte, (8-len(key)%8)%8)...)
			answers := [][]byte{keyWrap(t, kek, bytes.Repeat([]byte{0xa6}, 8), key)}
			if c.algorithm == kms.AESKeyWrapPad {
				length := func(n int) []byte { return binary.BigEndian.AppendUint32(unhex("a65959a6"), uint32(n)) }
				answers = [][]byte{keyWrap(t, kek, length(len(key)), padded), keyWrap(t, kek, length(len(padded)), padded)}
			}
			for i, blob := range v.blobs {
				if !bytes.Equal(unhex(blob), answers[i]) {
					t.Errorf("%s: blob %d of a key of %d bytes is %x", c.algorithm, i, len(key), answers[i])
				}
			}
		}
	}
}

func TestWrapChoice(t *testing.T) {
	both := wraps{kms.AESKeyWrap: 1, kms.AESKeyWrapPad: 2}
	for n, want := range map[int]kms.WrapAlgorithm{16: kms.AESKeyWrap, 32: kms.AESKeyWrap, 28: kms.AESKeyWrapPad, 8: kms.AESKeyWrapPad} {
		if got, err := both.choose(n); err != nil || got != want {
			t.Errorf("%d bytes: %s, %v", n, got, err)
		}
	}
	if _, err := (wraps{kms.AESKeyWrap: 1}).choose(28); err == nil {
		t.Error("RFC 3394 for 28 bytes")
	}
}
