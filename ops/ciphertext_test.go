package ops

import (
	"bytes"
	"testing"

	"github.com/kms11/kms11/kms"
)

func sampleCiphertexts() []ciphertext {
	id := [16]byte{0x12, 0x34, 0xab, 0xcd, 15: 0xab}
	return []ciphertext{
		{scheme: kms.DeriveECB, key: id, ordinal: 1, nonce: make([]byte, 15), iv: make([]byte, 12), sealed: make([]byte, 16)},
		{scheme: kms.DeriveSP800108, key: id, ordinal: 2, nonce: make([]byte, 16), iv: make([]byte, 16), sealed: make([]byte, 48), multiRegion: true},
		{scheme: kms.DeriveNone, key: id, ordinal: 1<<32 - 1, iv: make([]byte, 12), sealed: make([]byte, 4112)},
		{scheme: kms.DeriveECB, key: id, ordinal: 1, external: true,
			outer: ExternalSealed{IV: make([]byte, 12), Tag: make([]byte, 16), Ciphertext: make([]byte, 15+12+16)}},
		{scheme: kms.DeriveSP800108, key: id, ordinal: 9, external: true,
			outer: ExternalSealed{IV: make([]byte, 16), Tag: make([]byte, 16), Metadata: make([]byte, 20), Ciphertext: make([]byte, 16+12+4096+16)}},
	}
}

func TestCiphertextRoundTrip(t *testing.T) {
	for _, c := range sampleCiphertexts() {
		blob := c.marshal()
		got, err := parseCiphertext(blob)
		if err != nil {
			t.Fatalf("%s: %v", c.scheme, err)
		}
		if !bytes.Equal(got.marshal(), blob) || got.scheme != c.scheme || got.key != c.key || got.ordinal != c.ordinal || got.multiRegion != c.multiRegion {
			t.Errorf("%s: parsed into something else", c.scheme)
		}
		plaintext, most := len(c.sealed)-tagSize, 70
		if c.external {
			plaintext, most = len(c.outer.Ciphertext)-c.form().nonceSize-shortIV-tagSize, 120
		}
		if overhead := len(blob) - plaintext; overhead > most || got.external != c.external {
			t.Errorf("%s: overhead of %d bytes", c.scheme, overhead)
		}
	}
}

func TestCiphertextRefused(t *testing.T) {
	good := sampleCiphertexts()[0].marshal()
	change := func(offset int, value byte) []byte {
		b := bytes.Clone(good)
		b[offset] = value
		return b
	}
	shortest := sampleCiphertexts()[3].marshal()
	outer := func(offset int, value byte) []byte {
		b := bytes.Clone(shortest)
		b[offset] = value
		return b
	}
	for name, blob := range map[string][]byte{
		"empty":          nil,
		"version 0":      change(0, 0),
		"version 2":      change(0, 2),
		"no scheme":      change(1, 0),
		"unknown flag":   change(1, good[1]|0x20),
		"ordinal 0":      change(21, 0),
		"one byte short": good[:len(good)-1],
		"header only":    good[:headerSize],

		"external, a long inner IV":   outer(1, good[1]|flagExternal|flagLongIV),
		"external, no scheme":         outer(1, flagExternal),
		"external, ordinal 0":         outer(21, 0),
		"external, IV of 13 bytes":    outer(22, 13),
		"external, IV of 16 bytes":    outer(22, 16),
		"external, 21 bytes metadata": outer(23, 21),
		"external, 1 byte metadata":   outer(23, 1),
		"external, header only":       sampleCiphertexts()[3].marshal()[:headerSize],
		"external, one byte short":    shortest[:len(shortest)-1],
	} {
		if _, err := parseCiphertext(blob); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzCiphertext holds that parsing never fails otherwise than by its error, and that what it
// accepts is marshalled back to the same bytes.
func FuzzCiphertext(f *testing.F) {
	for _, c := range sampleCiphertexts() {
		f.Add(c.marshal())
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		c, err := parseCiphertext(blob)
		if err == nil && !bytes.Equal(c.marshal(), blob) {
			t.Fatalf("parse and marshal gives other bytes: %x", blob)
		}
	})
}

func TestContextIsInjective(t *testing.T) {
	contexts := []map[string]string{
		nil,
		{"": ""},
		{"a": "bc"},
		{"ab": "c"},
		{"abc": ""},
		{"a": "b", "c": "d"},
		{"a": "d", "c": "b"},
		{"a": "b\x00\x00\x00\x01c"},
	}
	seen := make(map[string]int)
	for i, context := range contexts {
		form := string(appendContext(nil, context))
		if other, dup := seen[form]; dup {
			t.Errorf("contexts %d and %d have the same form", i, other)
		}
		seen[form] = i
	}
	one := appendContext(nil, map[string]string{"b": "2", "a": "1", "é": "3"})
	for range 20 {
		if !bytes.Equal(one, appendContext(nil, map[string]string{"é": "3", "a": "1", "b": "2"})) {
			t.Fatal("the form depends on the order of the map")
		}
	}
}
