package ops

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/kms11/kms11/kms"
)

// A ciphertext is what Encrypt, ReEncrypt and GenerateDataKey hand out for a symmetric
// encryption key, and what Decrypt reads. Its form, final as version 1 (integers are big endian):
//
//	offset  bytes  field
//	     0      1  version: 0x01
//	     1      1  flags: bit 0     the key is a multi-Region key (its id begins "mrk-")
//	                      bits 1-2  derivation scheme: 1 ecb, 2 sp800-108, 3 direct
//	                      bit 3     the IV has 16 bytes, not 12 (tokens that make their own IVs)
//	                      bit 4     an external key encrypted what the material had encrypted
//	                      bits 5-7  zero
//	     2     16  key id: the UUID, or the 32 hex digits behind "mrk-"
//	    18      4  ordinal of the key material within the key, from 1
//	    22      n  nonce of the derivation: 15 bytes for ecb, 16 for sp800-108, none for direct
//	  22+n      i  IV of AES-256-GCM: 12 or 16 bytes
//	22+n+i      m  ciphertext, as long as the plaintext
//	            16  GCM tag
//
// The additional authenticated data are the first 22 bytes followed by the canonical encryption
// context (see appendContext). Nonce and IV need no place there: the key of the message depends
// on the one and the tag on the other. The overhead is 70 bytes at most.
//
// With an external layer, and then bit 3 is 0, the rest is what the proxy gave:
//
//	offset  bytes  field
//	    22      1  i: length of the proxy's IV, 12 or 16
//	    23      1  m: length of the proxy's metadata, 0 to 20
//	    24      i  IV
//	  24+i     16  tag
//	  40+i      m  metadata
//	40+i+m         ciphertext of: nonce, IV of 12 bytes, ciphertext and tag as above
//
// The proxy's additional authenticated data are the first 22 bytes and SHA-256 of the canonical
// encryption context. The overhead is 120 bytes at most.
type ciphertext struct {
	multiRegion bool
	external    bool
	scheme      kms.DerivationScheme
	key         [16]byte
	ordinal     uint32
	nonce       []byte
	iv          []byte
	sealed      []byte         // ciphertext and tag
	outer       ExternalSealed // of an external one, in place of nonce, iv and sealed
}

const (
	ciphertextVersion = 1
	headerSize        = 22
	tagSize           = 16

	flagMultiRegion = 1 << 0
	shiftScheme     = 1
	maskScheme      = 3 << shiftScheme
	flagLongIV      = 1 << 3
	flagExternal    = 1 << 4
	knownFlags      = flagMultiRegion | maskScheme | flagLongIV | flagExternal

	outerMetadata = 20 // bytes at most

	shortIV = 12
	longIV  = 16
)

// schemeForm is how a derivation scheme appears in a ciphertext.
type schemeForm struct {
	scheme    kms.DerivationScheme
	nonceSize int
}

// schemeForms is indexed by the scheme's number in the flags; 0 is no scheme. Nothing writes to it.
var schemeForms = [4]schemeForm{
	1: {kms.DeriveECB, 15},
	2: {kms.DeriveSP800108, 16},
	3: {kms.DeriveNone, 0},
}

var errCiphertextForm = errors.New("not a ciphertext of this service")

// parseCiphertext takes a blob apart. The parts alias the blob.
func parseCiphertext(blob []byte) (ciphertext, error) {
	var c ciphertext
	if len(blob) < headerSize || blob[0] != ciphertextVersion || blob[1]&^knownFlags != 0 {
		return c, errCiphertextForm
	}
	flags := blob[1]
	form := schemeForms[flags&maskScheme>>shiftScheme]
	if form.scheme == "" {
		return c, errCiphertextForm
	}
	ivSize := shortIV
	if flags&flagLongIV != 0 {
		ivSize = longIV
	}
	c.multiRegion = flags&flagMultiRegion != 0
	c.scheme = form.scheme
	copy(c.key[:], blob[2:18])
	c.ordinal = binary.BigEndian.Uint32(blob[18:headerSize])
	rest := blob[headerSize:]
	if flags&flagExternal != 0 {
		if c.ordinal == 0 || ivSize != shortIV {
			return c, errCiphertextForm
		}
		c.external = true
		return c, c.parseOuter(rest)
	}
	if c.ordinal == 0 || len(rest) < form.nonceSize+ivSize+tagSize {
		return c, errCiphertextForm
	}
	c.nonce, rest = rest[:form.nonceSize], rest[form.nonceSize:]
	c.iv, c.sealed = rest[:ivSize], rest[ivSize:]
	return c, nil
}

// parseOuter takes what the proxy gave apart.
func (c *ciphertext) parseOuter(rest []byte) error {
	if len(rest) < 2 {
		return errCiphertextForm
	}
	iv, metadata := int(rest[0]), int(rest[1])
	rest = rest[2:]
	if (iv != shortIV && iv != longIV) || metadata > outerMetadata || len(rest) < iv+tagSize+metadata {
		return errCiphertextForm
	}
	c.outer.IV, rest = rest[:iv], rest[iv:]
	c.outer.Tag, rest = rest[:tagSize], rest[tagSize:]
	c.outer.Metadata, c.outer.Ciphertext = rest[:metadata], rest[metadata:]
	if len(c.outer.Ciphertext) < c.form().nonceSize+shortIV+tagSize {
		return errCiphertextForm
	}
	return nil
}

// fits says whether a proxy's answer for a plaintext of n bytes has a place in a blob.
func (s *ExternalSealed) fits(n int) bool {
	return (len(s.IV) == shortIV || len(s.IV) == longIV) && len(s.Tag) == tagSize && len(s.Metadata) <= outerMetadata && len(s.Ciphertext) == n
}

// form is how the scheme appears in the blob.
func (c *ciphertext) form() schemeForm {
	for _, form := range schemeForms {
		if form.scheme == c.scheme {
			return form
		}
	}
	return schemeForm{}
}

// appendHeader appends the first 22 bytes of the blob.
func (c *ciphertext) appendHeader(to []byte, ivSize int) []byte {
	var flags byte
	if c.multiRegion {
		flags |= flagMultiRegion
	}
	for number := 1; number < len(schemeForms); number++ {
		if schemeForms[number].scheme == c.scheme {
			flags |= byte(number << shiftScheme)
		}
	}
	if ivSize == longIV {
		flags |= flagLongIV
	}
	if c.external {
		flags |= flagExternal
	}
	to = append(to, ciphertextVersion, flags)
	to = append(to, c.key[:]...)
	return binary.BigEndian.AppendUint32(to, c.ordinal)
}

// marshal is the inverse of parseCiphertext.
func (c *ciphertext) marshal() []byte {
	if c.external {
		return c.marshalOuter()
	}
	blob := make([]byte, 0, headerSize+len(c.nonce)+len(c.iv)+len(c.sealed))
	blob = c.appendHeader(blob, len(c.iv))
	blob = append(blob, c.nonce...)
	blob = append(blob, c.iv...)
	return append(blob, c.sealed...)
}

func (c *ciphertext) marshalOuter() []byte {
	o := &c.outer
	blob := make([]byte, 0, headerSize+2+len(o.IV)+len(o.Tag)+len(o.Metadata)+len(o.Ciphertext))
	blob = append(c.appendHeader(blob, shortIV), byte(len(o.IV)), byte(len(o.Metadata)))
	for _, part := range [][]byte{o.IV, o.Tag, o.Metadata, o.Ciphertext} {
		blob = append(blob, part...)
	}
	return blob
}

// appendContext appends the canonical form of an encryption context: its pairs in the byte order
// of their keys, each as u32 length, key, u32 length, value. The lengths keep {"ab":"c"} apart
// from {"a":"bc"}. An empty context is no bytes.
func appendContext(to []byte, context map[string]string) []byte {
	switch len(context) {
	case 0:
		return to
	case 1: // the common case needs no sorting
		for key, value := range context {
			to = appendPair(to, key, value)
		}
		return to
	}
	keys := make([]string, 0, len(context))
	for key := range context {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		to = appendPair(to, key, context[key])
	}
	return to
}

func appendPair(to []byte, key, value string) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(len(key)))
	to = append(to, key...)
	to = binary.BigEndian.AppendUint32(to, uint32(len(value)))
	return append(to, value...)
}
