package hsm

import (
	"encoding/binary"
	"math/bits"
)

// sm3Size is the length of an SM3 digest in bytes.
const sm3Size = 32

// sm3 is the hash SM3 (GB/T 32905-2016; ISO/IEC 10118-3, hash function 17) of the parts one after the
// other. The standard library does not have it.
func sm3(parts ...[]byte) [sm3Size]byte {
	v := [8]uint32{0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600, 0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e}
	var block [64]byte
	filled, total := 0, uint64(0)
	write := func(b []byte) {
		for len(b) > 0 {
			n := copy(block[filled:], b)
			b, filled = b[n:], filled+n
			if filled == len(block) {
				sm3Block(&v, &block)
				filled = 0
			}
		}
	}
	for _, p := range parts {
		total += uint64(len(p))
		write(p)
	}
	// A one bit, zeros, and the length in bits at the end of a block.
	padding := make([]byte, 1+(119-total%64)%64)
	padding[0] = 0x80
	write(padding)
	write(binary.BigEndian.AppendUint64(nil, 8*total))
	clear(block[:]) // a key may be hashed
	var digest [sm3Size]byte
	for i, word := range v {
		binary.BigEndian.PutUint32(digest[4*i:], word)
	}
	return digest
}

// sm3Block is the compression function: section 5.3 of the standard.
func sm3Block(v *[8]uint32, block *[64]byte) {
	var w [68]uint32
	for i := range 16 {
		w[i] = binary.BigEndian.Uint32(block[4*i:])
	}
	for i := 16; i < 68; i++ {
		x := w[i-16] ^ w[i-9] ^ bits.RotateLeft32(w[i-3], 15)
		w[i] = x ^ bits.RotateLeft32(x, 15) ^ bits.RotateLeft32(x, 23) ^ bits.RotateLeft32(w[i-13], 7) ^ w[i-6]
	}
	a, b, c, d, e, f, g, h := v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
	for i := range 64 {
		t := uint32(0x79cc4519)
		ff, gg := a^b^c, e^f^g
		if i >= 16 {
			t = 0x7a879d8a
			ff, gg = a&b|a&c|b&c, e&f|^e&g
		}
		a12 := bits.RotateLeft32(a, 12)
		ss1 := bits.RotateLeft32(a12+e+bits.RotateLeft32(t, i), 7)
		tt1 := ff + d + (ss1 ^ a12) + (w[i] ^ w[i+4])
		tt2 := gg + h + ss1 + w[i]
		d, c, b, a = c, bits.RotateLeft32(b, 9), a, tt1
		h, g, f, e = g, bits.RotateLeft32(f, 19), e, tt2^bits.RotateLeft32(tt2, 9)^bits.RotateLeft32(tt2, 17)
	}
	for i, word := range [8]uint32{a, b, c, d, e, f, g, h} {
		v[i] ^= word
	}
	clear(w[:])
}
