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
	// BadSignature are further codes by which C_Verify says that a signature is wrong.
	BadSignature []uint
	// Failed are codes that elsewhere mean that the token is lost, and here only that the call failed.
	Failed []uint
	// ShortSessions is the number of sessions for short calls; 0 takes Config.Sessions.
	ShortSessions int
	// Reinitialise says that a token that vanished comes back only after C_Finalize and
	// C_Initialize, which ends the sessions of every token of the module.
	Reinitialise bool
	// SM2Sign is the vendor-defined mechanism that signs a digest with an SM2 key (GB/T 32918.2) and
	// gives r and s; PKCS#11 has none. 0: the token does not sign with SM2 keys.
	SM2Sign uint
	// LeakPerObject is how many bytes the library loses for each object that is destroyed, until it is
	// initialised again.
	LeakPerObject int
	// FactorySOPIN is the SO PIN of a token that was never initialised. C_InitToken wants it, and the
	// token does nothing else before it is changed.
	FactorySOPIN string
	// LooseUnsaid says that C_UnwrapKey refuses CKA_EXTRACTABLE=true and CKA_SENSITIVE=false in a template,
	// and gives keys that have them whatever is said. What is to be sensitive is made so afterwards.
	LooseUnsaid bool
	// FrailKWP says that C_UnwrapKey by RFC 5649 writes past a buffer if the blob was not made by the key. What
	// comes from others by it, RSA_AES_KEY_WRAP, is refused then; the blobs of a keystore are verified first.
	FrailKWP bool
	// ReusesHandles says that the handles of sessions and objects that are gone are given out again. Sessions
	// of a lost conn are closed before new ones are opened then, so that no late call gets at a new object.
	ReusesHandles bool
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
	{"Mozilla Foundation", "NSS", Quirks{
		// NSS, a library in this process, says CKR_DEVICE_ERROR where its own code refuses what it was
		// given: to C_Verify for a signature whose numbers cannot be, to C_Decrypt for padding that is
		// wrong, to C_UnwrapKey for a private key that is none (3.87 and 3.132); and CKR_ARGUMENTS_BAD for
		// a signature over something of another length. CKR_DATA_LEN_RANGE is its word for a GCM message
		// that is shorter than the tag.
		BadCiphertext: []uint{pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DATA_LEN_RANGE},
		// The last was seen for a wrong RSA signature (3.87) behind calls about curves that NSS does not have: it is
		// the thread's error before that, as far as can be seen.
		BadSignature: []uint{pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		Failed:       []uint{pkcs11.CKR_DEVICE_ERROR},
	}},
	{"IBM", "Soft", Quirks{ // openCryptoki's software token, 3.27
		FactorySOPIN:  "87654321",
		LooseUnsaid:   true,
		ReusesHandles: true,
		FrailKWP:      true, // seen to end the process by SIGABRT
		// It says CKR_FUNCTION_FAILED where OpenSSL fails on its way to the answer, as for an ECDSA signature
		// of which the sum is the point at infinity.
		BadSignature: []uint{pkcs11.CKR_FUNCTION_FAILED},
	}},
	{"IBM Corp.", "IBM SoftTok", Quirks{FactorySOPIN: "87654321"}}, // openCryptoki 3.8, which serves no domain
	{"Kryoptic Project", "v1", Quirks{
		// Kryoptic 1.5, a library in this process, says CKR_DEVICE_ERROR for whatever OpenSSL refuses: padding
		// that is wrong, a key that does not unwrap.
		BadCiphertext: []uint{pkcs11.CKR_DEVICE_ERROR},
		Failed:        []uint{pkcs11.CKR_DEVICE_ERROR},
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
	if function == "C_Verify" && (slices.Contains(badSignatureCodes, code) || slices.Contains(q.BadSignature, code)) {
		return classBadSignature
	}
	if slices.Contains(q.Failed, code) {
		return classInternal
	}
	return ckrClasses[code]
}
