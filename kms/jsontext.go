package kms

import (
	"math/bits"
	"unicode/utf8"
)

// plainJSON says which bytes stand for themselves in a JSON string: all of ASCII but control
// characters, the quotation mark and the backslash. Nothing writes to it.
var plainJSON = func() (plain [utf8.RuneSelf]bool) {
	for c := range plain {
		plain[c] = c >= ' ' && c != '"' && c != '\\' && c != 0x7f
	}
	return plain
}()

// AppendJSON appends s as a JSON string (RFC 8259, section 7), which never holds a line break.
// What is not UTF-8 becomes U+FFFD. It allocates only to make room in b.
func AppendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := plainLength(s); i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if plainJSON[c] {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// plainLength gives how many bytes at the beginning of s stand for themselves, as plainJSON has it. It
// looks at eight at a time: the lowest byte of care with its top bit set is then the first that is not
// plain, since nothing is carried or borrowed below it.
func plainLength[T string | []byte](s T) int {
	const (
		each = 0x0101010101010101 // times a byte: eight of them
		top  = each * 0x80
	)
	n := 0
	for ; n+8 <= len(s); n += 8 {
		w := s[n : n+8]
		word := uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
			uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
		care := word            // not ASCII
		care |= word + each     // 0x7f
		care |= word - each*' ' // control characters
		care |= (word ^ each*'"') - each
		care |= (word ^ each*'\\') - each
		if care&top != 0 {
			return n + bits.TrailingZeros64(care&top)/8
		}
	}
	for n < len(s) && s[n] < utf8.RuneSelf && plainJSON[s[n]] {
		n++
	}
	return n
}
