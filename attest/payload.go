package attest

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

const (
	maxPCRs        = 32
	maxCertificate = 1024
	maxPublicKey   = 1024
	// maxOptional bounds user_data and nonce. The specification says 1024 in its definition and
	// 512 among its checks: the wider one refuses nothing that the hypervisor makes.
	maxOptional = 1024
	// maxTimestamp is the end of the year 9999, in milliseconds.
	maxTimestamp = 253402300799999
)

// payload is the map that is signed (specification, section 2.2). Optional fields are left out or
// null; the hypervisor writes null.
type payload struct {
	ModuleID    string                    `cbor:"module_id"`
	Digest      string                    `cbor:"digest"`
	Timestamp   uint64                    `cbor:"timestamp"` // milliseconds since 1970
	PCRs        map[uint8]cbor.ByteString `cbor:"pcrs"`
	Certificate cbor.ByteString           `cbor:"certificate"`
	CABundle    []cbor.ByteString         `cbor:"cabundle"` // root first
	PublicKey   cbor.ByteString           `cbor:"public_key"`
	UserData    cbor.ByteString           `cbor:"user_data"`
	Nonce       cbor.ByteString           `cbor:"nonce"`
}

func parsePayload(data []byte) (*payload, error) {
	var p payload
	if err := decode(data, &p); err != nil {
		return nil, fmt.Errorf("%w: payload: %w", ErrMalformed, err)
	}
	// A mandatory field that is missing or null has its zero value, which no rule lets through.
	rules := []struct {
		kept bool
		rule string
	}{
		{p.ModuleID != "", "module_id must not be empty"},
		{p.Digest == "SHA384", "digest must be SHA384"},
		{p.Timestamp > 0 && p.Timestamp <= maxTimestamp, "timestamp is out of range"},
		{len(p.PCRs) >= 1 && len(p.PCRs) <= maxPCRs, "pcrs must have 1 to 32 entries"},
		{sized(p.Certificate, 1, maxCertificate), "certificate must have 1 to 1024 bytes"},
		{len(p.CABundle) >= 1, "cabundle must not be empty"},
		{sized(p.PublicKey, 0, maxPublicKey), "public_key must have at most 1024 bytes"},
		{sized(p.UserData, 0, maxOptional), "user_data must have at most 1024 bytes"},
		{sized(p.Nonce, 0, maxOptional), "nonce must have at most 1024 bytes"},
	}
	for _, r := range rules {
		if !r.kept {
			return nil, fmt.Errorf("%w: %s", ErrMalformed, r.rule)
		}
	}
	for index, value := range p.PCRs {
		if n := len(value); index >= maxPCRs || n != 32 && n != 48 && n != 64 {
			return nil, fmt.Errorf("%w: PCR%d of %d bytes", ErrMalformed, index, n)
		}
	}
	for _, certificate := range p.CABundle {
		if !sized(certificate, 1, maxCertificate) {
			return nil, fmt.Errorf("%w: certificates in cabundle must have 1 to 1024 bytes", ErrMalformed)
		}
	}
	return &p, nil
}

func sized(s cbor.ByteString, low, high int) bool {
	return low <= len(s) && len(s) <= high
}

func (p *payload) time() time.Time {
	return time.UnixMilli(int64(p.Timestamp)).UTC()
}

// document gives the payload its public form. The key is looked at last, so that its errors are
// about a genuine document.
func (p *payload) document() (*Document, error) {
	key, err := parsePublicKey([]byte(p.PublicKey))
	if err != nil {
		return nil, err
	}
	d := &Document{
		ModuleID:  p.ModuleID,
		Timestamp: p.time(),
		PCRs:      make(map[int][]byte, len(p.PCRs)),
		PublicKey: key,
		UserData:  optional(p.UserData),
		Nonce:     optional(p.Nonce),
	}
	for index, value := range p.PCRs {
		d.PCRs[int(index)] = []byte(value)
	}
	return d, nil
}

func optional(s cbor.ByteString) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}
