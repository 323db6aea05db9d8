package attest

import (
	"crypto/rsa"
	"encoding/hex"
	"strconv"
	"time"
)

// A Document is what a verified attestation document says. It shares no memory with the bytes it
// was read from.
type Document struct {
	// ModuleID names the enclave, such as "i-1234567890abcdef0-enc1234567890abcdef".
	ModuleID string
	// Timestamp is when the hypervisor made the document, in UTC, to the millisecond.
	Timestamp time.Time
	// PCRs are the locked platform configuration registers, 1 to 32 of them: index 0 to 31,
	// values of 32, 48 or 64 bytes. An enclave in debug mode has zeros in them.
	PCRs map[int][]byte
	// PublicKey is the enclave's, of 2048 to 4096 bits; never nil in a verified document.
	PublicKey *rsa.PublicKey
	// UserData and Nonce are the enclave's own, at most 1024 bytes each; nil if absent or empty.
	UserData, Nonce []byte
}

const conditionPrefix = "kms:RecipientAttestation:"

// ConditionKeys gives the values of the policy condition keys that the document determines:
// kms:RecipientAttestation:PCR<n> for each register it has, and ImageSha384, which is PCR0. Values
// are lower-case hex; policies compare them with StringEqualsIgnoreCase (AWS KMS developer guide,
// "Condition keys for Nitro Enclaves"). A register that is absent has no key, so that a condition
// on it is not met.
func (d *Document) ConditionKeys() map[string]string {
	keys := make(map[string]string, len(d.PCRs)+1)
	for index, value := range d.PCRs {
		keys[conditionPrefix+"PCR"+strconv.Itoa(index)] = hex.EncodeToString(value)
	}
	if image, found := d.PCRs[0]; found {
		keys[conditionPrefix+"ImageSha384"] = hex.EncodeToString(image)
	}
	return keys
}
