package kms

import (
	"bytes"
	"encoding/base64"
	"strconv"
)

// text decodes a string or an enum value.
func (d *decoder) text(raw value, name string, rule *textRule) string {
	if raw == nil {
		return ""
	}
	s := d.rawText(raw)
	if d.err == nil {
		rule.check(d, s, name)
	}
	return s
}

// rawText decodes a string without validation.
func (d *decoder) rawText(raw value) string {
	if raw[0] != '"' {
		d.wrongKind(raw, "a String")
		return ""
	}
	s, ok := unquote(raw)
	if !ok {
		d.serialization("Unpaired surrogate in a string")
	}
	return s
}

// strictBase64 refuses non-zero bits after the last byte, as AWS does: with it a blob has exactly
// one encoding.
var strictBase64 = base64.StdEncoding.Strict()

// blob decodes padded standard base64.
func (d *decoder) blob(raw value, name string, rule *blobRule) []byte {
	if raw == nil {
		return nil
	}
	if raw[0] != '"' {
		d.wrongKind(raw, "a Blob")
		return nil
	}
	encoded := []byte(raw[1 : len(raw)-1])
	if bytes.IndexByte(encoded, '\\') >= 0 {
		s, ok := unquote(raw)
		if !ok {
			d.serialization("Invalid Base64 character")
			return nil
		}
		encoded = []byte(s)
	}
	if len(encoded)%4 != 0 {
		d.serialization("Base64 encoded length is expected a multiple of 4 bytes but found: %d", len(encoded))
		return nil
	}
	decoded := make([]byte, strictBase64.DecodedLen(len(encoded)))
	n, err := strictBase64.Decode(decoded, encoded)
	// Go's decoder skips line breaks, AWS's does not.
	if err != nil || bytes.IndexByte(encoded, '\n') >= 0 || bytes.IndexByte(encoded, '\r') >= 0 {
		d.serialization("Invalid Base64 character")
		return nil
	}
	rule.check(d, n, name)
	return decoded[:n]
}

// integer decodes a whole number of 32 bits. Fractions and exponents are refused, even 1.0.
func (d *decoder) integer(raw value, name string, rule *rangeRule) int {
	if raw == nil {
		return 0
	}
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		d.wrongKind(raw, "an Integer")
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	if err != nil {
		d.wrongKind(raw, "an Integer")
		return 0
	}
	rule.check(d, int(n), name)
	return int(n)
}

// boolean decodes true or false.
func (d *decoder) boolean(raw value, _ string) bool {
	if raw == nil {
		return false
	}
	if raw[0] != 't' && raw[0] != 'f' {
		d.wrongKind(raw, "a Boolean")
	}
	return raw[0] == 't'
}

// timestamp decodes a number of seconds since 1970.
func (d *decoder) timestamp(raw value, _ string) Timestamp {
	var t Timestamp
	if raw != nil && t.UnmarshalJSON(raw) != nil {
		d.wrongKind(raw, "a Timestamp")
	}
	return t
}

// stringMap decodes an encryption context; an empty one is nil. A key that is given twice has its
// last value. A null value is refused: dropping it would make the context equal to another one.
func (d *decoder) stringMap(raw value, name string) map[string]string {
	if raw == nil || !d.wantObject(raw, "Expected map or null") {
		return nil
	}
	var pairs map[string]string
	d.split(raw, func(quoted, val value) {
		key := d.rawText(quoted)
		if val == nil {
			d.require(nil, name+"."+key+".member")
			return
		}
		if pairs == nil {
			pairs = make(map[string]string)
		}
		pairs[key] = d.rawText(val)
	})
	return pairs
}
