package hsm

import (
	"encoding/asn1"
	"errors"
	"math/big"
)

// Tags of DER (X.690).
const (
	derIntegerTag     = 0x02
	derBitStringTag   = 0x03
	derOctetStringTag = 0x04
	derSequenceTag    = 0x30
	derContext0Tag    = 0x80 // [0], primitive
	derContext1Tag    = 0xa1 // [1], constructed
)

// A derWriter builds one DER value from its end to its beginning in a single buffer, so that a
// private key that is written by it leaves no copies behind. What comes last is written first.
type derWriter struct {
	buffer []byte
	at     int // of the first byte written
}

// newDER has room for size bytes. Writing more panics: every caller knows its parts.
func newDER(size int) *derWriter { return &derWriter{buffer: make([]byte, size), at: size} }

// end marks the end of a value that is about to be written; begin takes it.
func (w *derWriter) end() int { return w.at }

func (w *derWriter) raw(b []byte) {
	w.at -= len(b)
	copy(w.buffer[w.at:], b)
}

// begin puts tag and length before what was written since end.
func (w *derWriter) begin(tag byte, end int) {
	n := end - w.at
	switch {
	case n < 0x80:
		w.raw([]byte{tag, byte(n)})
	case n < 0x100:
		w.raw([]byte{tag, 0x81, byte(n)})
	default: // no value here reaches 64 KB
		w.raw([]byte{tag, 0x82, byte(n >> 8), byte(n)})
	}
}

// value writes a primitive value.
func (w *derWriter) value(tag byte, content []byte) {
	end := w.end()
	w.raw(content)
	w.begin(tag, end)
}

// integer writes an unsigned number, of which b is any big-endian form.
func (w *derWriter) integer(b []byte) {
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	end := w.end()
	w.raw(b)
	if len(b) == 0 || b[0] >= 0x80 {
		w.raw([]byte{0})
	}
	w.begin(derIntegerTag, end)
}

// bytes is what was written, in the writer's own buffer.
func (w *derWriter) bytes() []byte { return w.buffer[w.at:] }

// encodeSignature makes the DER SEQUENCE of r and s (RFC 3279, section 2.2.3) of r || s.
func encodeSignature(raw []byte) []byte {
	w := newDER(len(raw) + 12)
	end := w.end()
	w.integer(raw[len(raw)/2:])
	w.integer(raw[:len(raw)/2])
	w.begin(derSequenceTag, end)
	return w.bytes()
}

var errSignatureForm = errors.New("not the DER of two numbers below the order of the curve")

// decodeSignature gives r || s of a DER signature, each of size bytes. Anything but the one strict
// encoding of two numbers from 1 to order-1 is refused.
func decodeSignature(signature []byte, size int, order *big.Int) ([]byte, error) {
	var v struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(signature, &v)
	if err != nil || len(rest) != 0 {
		return nil, errSignatureForm
	}
	for _, n := range []*big.Int{v.R, v.S} {
		if n.Sign() <= 0 || n.Cmp(order) >= 0 {
			return nil, errSignatureForm
		}
	}
	raw := make([]byte, 2*size)
	v.R.FillBytes(raw[:size])
	v.S.FillBytes(raw[size:])
	if string(encodeSignature(raw)) != string(signature) {
		return nil, errSignatureForm
	}
	return raw, nil
}
