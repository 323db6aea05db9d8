package keystore

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// envelope is what the engine holds under an engine key, all numbers big-endian:
//
//	 0       1       2               4                               8
//	+-------+-------+---------------+-------------------------------+
//	| ver=1 | kind  | content ver.  | record key version            |
//	+-------+-------+---------------+-------------------------------+
//	| revision                                                      |
//	+-------------------------------+-------------------------------+
//	| content length n              | content, n bytes of JSON ...  |
//	+-------------------------------+-------------------------------+
//	| MAC, 32 bytes: HMAC-SHA-256, made in the token ...            |
//	+---------------------------------------------------------------+
//
// The MAC is that of macInput under the record key of the named version. There is one way to
// write an envelope: parse followed by marshal is the identity.
type envelope struct {
	kind           uint8
	contentVersion uint16
	recordKey      uint32
	revision       uint64
	content        []byte
	mac            [macSize]byte
}

const (
	envelopeVersion = 1
	envelopeHead    = 20
	macSize         = 32
)

// macLabel keeps record MACs apart from whatever else the record key may come to authenticate.
const macLabel = "kms11 store record 1\x00"

// Faults of an envelope. Only that of another version may have an innocent reason.
var (
	errEnvelopeVersion = errors.New("unknown envelope version")
	errEnvelopeShape   = errors.New("malformed envelope")
)

// parseEnvelope reads an envelope. The content it gives is part of b.
func parseEnvelope(b []byte) (envelope, error) {
	if len(b) == 0 {
		return envelope{}, fmt.Errorf("%w: it is empty", errEnvelopeShape)
	}
	if b[0] != envelopeVersion {
		return envelope{}, fmt.Errorf("%w %d", errEnvelopeVersion, b[0])
	}
	if len(b) < envelopeHead+macSize {
		return envelope{}, fmt.Errorf("%w: %d bytes are too few", errEnvelopeShape, len(b))
	}
	n := binary.BigEndian.Uint32(b[16:])
	if uint64(n) != uint64(len(b)-envelopeHead-macSize) {
		return envelope{}, fmt.Errorf("%w: it says %d bytes of content and has %d",
			errEnvelopeShape, n, len(b)-envelopeHead-macSize)
	}
	e := envelope{
		kind:           b[1],
		contentVersion: binary.BigEndian.Uint16(b[2:]),
		recordKey:      binary.BigEndian.Uint32(b[4:]),
		revision:       binary.BigEndian.Uint64(b[8:]),
		content:        b[envelopeHead : envelopeHead+int(n)],
	}
	copy(e.mac[:], b[envelopeHead+int(n):])
	return e, nil
}

func (e *envelope) marshal() []byte {
	b := e.appendUnsigned(make([]byte, 0, envelopeHead+len(e.content)+macSize))
	return append(b, e.mac[:]...)
}

// appendUnsigned writes all but the MAC.
func (e *envelope) appendUnsigned(b []byte) []byte {
	b = append(b, envelopeVersion, e.kind)
	b = binary.BigEndian.AppendUint16(b, e.contentVersion)
	b = binary.BigEndian.AppendUint32(b, e.recordKey)
	b = binary.BigEndian.AppendUint64(b, e.revision)
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.content)))
	return append(b, e.content...)
}

// macInput is what the MAC is made over:
//
//	label || u32 length, store id || u32 length, engine key || envelope without its MAC
//
// The engine key makes a record good in one place only. The store id makes it good in one store
// only, should two stores share a domain; it is empty for the header, whose content names it.
func (e *envelope) macInput(storeID, place string) []byte {
	b := make([]byte, 0, len(macLabel)+8+len(storeID)+len(place)+envelopeHead+len(e.content))
	b = append(b, macLabel...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(storeID)))
	b = append(b, storeID...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(place)))
	b = append(b, place...)
	return e.appendUnsigned(b)
}
