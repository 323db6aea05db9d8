package xks

import (
	"crypto/sha256"
	"encoding/binary"
)

// IntegrityValue is the ciphertext data integrity value of the specification's appendix C:
// SHA-256 over the parts one behind the other, without lengths, because it is there to find
// flipped bits and not forgeries.
func IntegrityValue(aad, metadata, iv, ciphertext, tag []byte) [sha256.Size]byte {
	h := sha256.New()
	for _, part := range [...][]byte{aad, metadata, iv, ciphertext, tag} {
		h.Write(part)
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// BoundAAD appends what the key manager authenticates beside the ciphertext (specification,
// Encrypt, ciphertextMetadata): both parts, each behind its length, so that none can be taken for
// the other. aad is at most 65,535 bytes and metadata at most 255.
func BoundAAD(to, aad, metadata []byte) []byte {
	to = binary.BigEndian.AppendUint16(to, uint16(len(aad)))
	to = append(to, aad...)
	to = append(to, byte(len(metadata)))
	return append(to, metadata...)
}
