package hsm

import (
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// What a caller can ask an error of this package with errors.Is.
var (
	// ErrBadCiphertext: the ciphertext was not made by this key with this AAD.
	ErrBadCiphertext = errors.New("bad ciphertext")
	// ErrBadSignature: the signature was not made by this key over this message.
	ErrBadSignature = errors.New("bad signature")
	// ErrBadMAC: the MAC was not made by this key over this message.
	ErrBadMAC = errors.New("bad MAC")
	// ErrBadPublicKey: a peer's public key is malformed or not one of the key's curve.
	ErrBadPublicKey = errors.New("bad public key")
	// ErrBadMaterial: what was imported is not key material, as the text goes on to say, of a spec.
	ErrBadMaterial = errors.New("not key material")
	// ErrTokenDown: the token cannot be reached now; the same call may work later.
	ErrTokenDown = errors.New("token is down")
	// ErrUnsupported: the token lacks a mechanism, which the text names.
	ErrUnsupported = errors.New("not supported by the token")
	// ErrWrongToken: the token's objects are not those of the domain.
	ErrWrongToken = errors.New("wrong token")
	// ErrPIN: the PIN is missing, wrong or locked. It is not tried again.
	ErrPIN = errors.New("PIN refused")
	// ErrPINLocked is an ErrPIN: the token takes no PIN any more.
	ErrPINLocked = errors.New("the user PIN is locked")
	// ErrNoUser is an ErrPIN: the token has no user PIN yet.
	ErrNoUser = errors.New("the token has no user PIN")
	// ErrLoggedIn: the token of a vault is in use by this process already.
	ErrLoggedIn = errors.New("this process is logged in to the token already")
	// ErrKeyGone: a token in good health does not have the key of a vault any more.
	ErrKeyGone = errors.New("the token does not have the key")
	// ErrNotFound: no slot, object or key version of that name. It never means "deleted": a
	// token that lost its storage answers searches with success and nothing.
	ErrNotFound = errors.New("not found")
	// ErrNoTokens is an ErrNotFound: the module shows no token that is initialised.
	ErrNoTokens = errors.New("no token matches the URI; present: none")
)

// An Error is a PKCS#11 function that failed.
type Error struct {
	Function  string // "C_Encrypt"
	Mechanism string // "CKM_AES_GCM"; empty where the function has none
	Code      uint   // the CKR value

	class class
}

func (e *Error) Error() string {
	call := e.Function
	if e.Mechanism != "" {
		call += "(" + e.Mechanism + ")"
	}
	return fmt.Sprintf("%s: %s (0x%X)", call, ckrName(e.Code), e.Code)
}

// Name is the CKR name of the code, such as "CKR_PIN_INCORRECT".
func (e *Error) Name() string { return ckrName(e.Code) }

// Is makes errors.Is work with the sentinels of this package.
func (e *Error) Is(target error) bool {
	if code, ok := pinSentinels[target]; ok {
		return e.Code == code
	}
	return classSentinels[e.class] != nil && classSentinels[e.class] == target
}

// pinSentinels are the reasons of a refused PIN that have a code of their own.
var pinSentinels = map[error]uint{
	ErrPINLocked: pkcs11.CKR_PIN_LOCKED,
	ErrNoUser:    pkcs11.CKR_USER_PIN_NOT_INITIALIZED,
}

// PINCounted says whether the token looked at the PIN and refused it, so that its count of wrong
// tries, if it keeps one, has gone up. Other errors that match ErrPIN come before the token.
func PINCounted(err error) bool { return classOf(err) == classPIN }

// A class is what an error asks the caller to do.
type class int

const (
	classInternal     class = iota // nothing is known to help
	classBadInput                  // the caller's ciphertext is bad; the session is fine
	classBadSignature              // the same of a signature
	classSessionLost               // open the session again and retry once
	classHandleLost                // the object is gone: make it again and retry once
	classTokenLost                 // mark the token down and reconnect in the background
	classPIN                       // stop: tokens lock after a few tries
	classUnsupported
)

var classSentinels = map[class]error{
	classBadInput:     ErrBadCiphertext,
	classBadSignature: ErrBadSignature,
	classSessionLost:  ErrTokenDown,
	classTokenLost:    ErrTokenDown,
	classPIN:          ErrPIN,
	classUnsupported:  ErrUnsupported,
}

// ckrClasses says what a code means on every token. Codes that mean "bad ciphertext" or "bad
// signature" count only where a function decrypts or verifies: see classify.
var ckrClasses = map[uint]class{
	pkcs11.CKR_SESSION_HANDLE_INVALID: classSessionLost,
	pkcs11.CKR_SESSION_CLOSED:         classSessionLost,
	pkcs11.CKR_OPERATION_ACTIVE:       classSessionLost,
	// The library may find memory again, above all once a session was closed.
	pkcs11.CKR_HOST_MEMORY: classSessionLost,

	pkcs11.CKR_OBJECT_HANDLE_INVALID:         classHandleLost,
	pkcs11.CKR_KEY_HANDLE_INVALID:            classHandleLost,
	pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID:   classHandleLost,
	pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID: classHandleLost,

	pkcs11.CKR_TOKEN_NOT_PRESENT:        classTokenLost,
	pkcs11.CKR_TOKEN_NOT_RECOGNIZED:     classTokenLost,
	pkcs11.CKR_DEVICE_REMOVED:           classTokenLost,
	pkcs11.CKR_DEVICE_ERROR:             classTokenLost,
	pkcs11.CKR_SLOT_ID_INVALID:          classTokenLost,
	pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED: classTokenLost,
	pkcs11.CKR_USER_NOT_LOGGED_IN:       classTokenLost,

	pkcs11.CKR_PIN_INCORRECT:            classPIN,
	pkcs11.CKR_PIN_INVALID:              classPIN,
	pkcs11.CKR_PIN_LEN_RANGE:            classPIN,
	pkcs11.CKR_PIN_EXPIRED:              classPIN,
	pkcs11.CKR_PIN_LOCKED:               classPIN,
	pkcs11.CKR_USER_PIN_NOT_INITIALIZED: classPIN,

	pkcs11.CKR_MECHANISM_INVALID:       classUnsupported,
	pkcs11.CKR_MECHANISM_PARAM_INVALID: classUnsupported,
	pkcs11.CKR_FUNCTION_NOT_SUPPORTED:  classUnsupported,
	ckrCurveNotSupported:               classUnsupported,
}

// Return values that PKCS#11 3.x added.
const (
	ckrAEADDecryptFailed = 0x42
	ckrCurveNotSupported = 0x140
)

// badCiphertextCodes are what the standard gives C_Decrypt for a ciphertext that is wrong.
var badCiphertextCodes = []uint{
	pkcs11.CKR_ENCRYPTED_DATA_INVALID,
	pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE,
	ckrAEADDecryptFailed,
}

// badSignatureCodes are what the standard gives C_Verify for a signature that is wrong.
var badSignatureCodes = []uint{
	pkcs11.CKR_SIGNATURE_INVALID,
	pkcs11.CKR_SIGNATURE_LEN_RANGE,
}

// classOf is the class of the PKCS#11 error in err.
func classOf(err error) class {
	if err == nil {
		return classInternal // without looking, since every call that went well comes here
	}
	var e *Error
	if errors.As(err, &e) {
		return e.class
	}
	return classInternal
}

// codeOf is the CKR value in err.
func codeOf(err error) (uint, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e.Code, true
	}
	return 0, false
}

// isCode says whether err is a PKCS#11 error with this code.
func isCode(err error, code uint) bool {
	c, ok := codeOf(err)
	return ok && c == code
}
