package hsm

import (
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// Quirks is where a token differs from the PKCS#11 standard or from what suits most tokens. The
// zero value is a token without quirks.
type Quirks struct {
	// BadCiphertext are further codes by which C_Decrypt says that a ciphertext or its tag is
	// wrong.
	BadCiphertext []uint
	// ShortSessions is the number of sessions for short calls; 0 takes Config.Sessions.
	ShortSessions int
	// Reinitialise says that a token that vanished comes back only after C_Finalize and
	// C_Initialize, which ends the sessions of every token of the module.
	Reinitialise bool
	// LeakPerObject is how many bytes the library loses for each object that is destroyed, until it is
	// initialised again.
	LeakPerObject int
}

// knownQuirks are matched in order by the manufacturer and model that C_GetTokenInfo gives.
var knownQuirks = []struct {
	manufacturer, model string // prefixes
	quirks              Quirks
}{
	{"SoftHSM project", "SoftHSM v2", Quirks{
		// SoftHSM 2.6.1 answers a forged GCM tag with CKR_GENERAL_ERROR. It uses that code for
		// faults of its own too, but those come from calls on token objects, and message keys
		// are session objects.
		BadCiphertext: []uint{pkcs11.CKR_GENERAL_ERROR},
		// Every call takes one mutex: two threads in short calls do fewer of them than one.
		ShortSessions: 1,
		// A token whose directory went away and came back stays dead for the running process.
		Reinitialise: true,
		// Measured; so many forged ciphertexts, each with a nonce of its own, cost memory for good.
		LeakPerObject: 240,
	}},
}

// quirksFor gives the quirks of a token by what it says of itself.
func quirksFor(info pkcs11.TokenInfo) Quirks {
	for _, k := range knownQuirks {
		if strings.HasPrefix(info.ManufacturerID, k.manufacturer) && strings.HasPrefix(info.Model, k.model) {
			return k.quirks
		}
	}
	return Quirks{}
}

// classify says what code from function means on this token.
func (q *Quirks) classify(function string, code uint) class {
	if function == "C_Decrypt" && (slices.Contains(badCiphertextCodes, code) || slices.Contains(q.BadCiphertext, code)) {
		return classBadInput
	}
	if function == "C_Verify" && slices.Contains(badSignatureCodes, code) {
		return classBadSignature
	}
	return ckrClasses[code]
}
