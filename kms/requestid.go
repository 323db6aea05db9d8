package kms

import (
	"encoding/binary"
	"math/rand/v2"
)

// NewRequestID makes an id of a request or an event: a random UUID, unique and no secret. It comes from the
// runtime's generator, ChaCha8 with a seed of the operating system, at a tenth of what crypto/rand costs.
func NewRequestID() string {
	var random [16]byte
	binary.NativeEndian.PutUint64(random[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(random[8:], rand.Uint64())
	return FormatUUID(random)
}
