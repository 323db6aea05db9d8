package kms

import "encoding/hex"

// multiRegionPrefix begins the id of every multi-Region key (AWS KMS Developer Guide, "How
// multi-Region keys work").
const multiRegionPrefix = "mrk-"

// FormatUUID makes a version 4 UUID (RFC 9562) of 16 random bytes, in lower case.
func FormatUUID(random [16]byte) string {
	random[6] = random[6]&0x0f | 0x40
	random[8] = random[8]&0x3f | 0x80
	return formatUUID(random)
}

// FormatKeyID gives the key id that 16 bytes stand for: a UUID, or "mrk-" and 32 hex digits.
// It is the inverse of KeyIDBytes.
func FormatKeyID(id [16]byte, multiRegion bool) string {
	if multiRegion {
		return multiRegionPrefix + hex.EncodeToString(id[:])
	}
	return formatUUID(id)
}

// KeyIDBytes gives the 16 bytes of a well-formed key id and whether it is a multi-Region key's.
// Key ids are in lower case.
func KeyIDBytes(id string) (b [16]byte, multiRegion, ok bool) {
	if len(id) == len(multiRegionPrefix)+32 && id[:len(multiRegionPrefix)] == multiRegionPrefix && id[8] != '-' {
		return b, true, decodeLowerHex(b[:], id[len(multiRegionPrefix):])
	}
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return b, false, false
	}
	ok = decodeLowerHex(b[0:4], id[0:8]) && decodeLowerHex(b[4:6], id[9:13]) &&
		decodeLowerHex(b[6:8], id[14:18]) && decodeLowerHex(b[8:10], id[19:23]) && decodeLowerHex(b[10:16], id[24:36])
	return b, false, ok
}

func formatUUID(b [16]byte) string {
	var text [36]byte
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:36], b[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

func decodeLowerHex(to []byte, text string) bool {
	for i := range to {
		high, low := lowerHex[text[2*i]], lowerHex[text[2*i+1]]
		if high > 15 || low > 15 {
			return false
		}
		to[i] = high<<4 | low
	}
	return true
}

// lowerHex gives each lower-case hex digit its value and every other byte 0xff. Nothing writes to it.
var lowerHex = lowerHexValues()

func lowerHexValues() (values [256]byte) {
	for c := range values {
		values[c] = 0xff
	}
	for value, digit := range []byte("0123456789abcdef") {
		values[digit] = byte(value)
	}
	return values
}
