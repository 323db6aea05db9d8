package hsm

/*
#cgo linux LDFLAGS: -ldl
#cgo noescape kms11_open
#cgo nocallback kms11_open
#cgo noescape kms11_run
#cgo nocallback kms11_run
#cgo noescape kms11_gcm
#cgo nocallback kms11_gcm
#cgo noescape kms11_verify
#cgo nocallback kms11_verify
#cgo noescape kms11_wrap
#cgo nocallback kms11_wrap
#cgo noescape kms11_create
#cgo nocallback kms11_create
#cgo noescape kms11_encapsulate
#cgo nocallback kms11_encapsulate
#cgo noescape kms11_decapsulate
#cgo nocallback kms11_decapsulate
#cgo noescape kms11_attributes
#cgo nocallback kms11_attributes
#cgo noescape kms11_random
#cgo nocallback kms11_random
#cgo noescape kms11_login
#cgo nocallback kms11_login
#include <stdlib.h>
#include "crossing.h"
*/
import "C"

import (
	"errors"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// A crossing calls the hot functions of a PKCS#11 library, and those that carry secrets, without
// the binding: C_...Init and the whole message in one call into C, with buffers of this program.
// The library and the handles of sessions and objects are the binding's. The reasons, with
// miekg/pkcs11 v1.1.2:
//
//   - each failed C_Decrypt leaks a C buffer as long as the ciphertext, so that forged messages
//     exhaust the memory;
//   - plaintext, keys and PINs stay behind in C memory that is freed without being wiped;
//   - every answer's size is asked for first, which wraps a key twice, and which NSS answers
//     wrongly;
//   - a call costs 3 to 5 µs more;
//   - it is at PKCS#11 2.40, and C_EncapsulateKey and C_DecapsulateKey are of 3.2.
//
// Pointers go to C as they are: the memory they point to holds no pointers but addresses of what is
// pinned, C keeps none of them, and it never calls back into Go, because nothing registers a
// callback with a library.
//
// A crossing may be used by several goroutines at once; a session, as everywhere, by one.
type crossing struct{ library *C.kms11_library }

// openCrossing loads the library at path. Each success needs one close.
func openCrossing(path string) (crossing, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	why := make([]byte, 512)
	library := C.kms11_open(name, (*C.char)(unsafe.Pointer(&why[0])), C.CK_ULONG(len(why)))
	if library == nil {
		return crossing{}, errors.New(C.GoString((*C.char)(unsafe.Pointer(&why[0]))))
	}
	return crossing{library}, nil
}

func (x crossing) close() { C.kms11_close(x.library) }

// An operation is a C_...Init with the function that does a whole message after it.
type operation struct {
	code      C.int
	init, run string
}

var (
	opEncrypt = operation{C.KMS11_ENCRYPT, "C_EncryptInit", "C_Encrypt"}
	opDecrypt = operation{C.KMS11_DECRYPT, "C_DecryptInit", "C_Decrypt"}
	opSign    = operation{C.KMS11_SIGN, "C_SignInit", "C_Sign"}
	opVerify  = operation{run: "C_Verify", init: "C_VerifyInit"} // by crossing.verify only
)

// A message is what an operation works on.
type message struct {
	operation *operation
	session   pkcs11.SessionHandle
	key       object
	in        []byte
	// mechanism and its parameter, laid out as in C: see parameterBytes
	mechanism uint
	parameter []byte
	// iv makes it AES-GCM, whatever mechanism and parameter say. A token that makes its own IV
	// writes it there.
	iv, aad []byte
}

// do does m and gives the answer, which is out or, where the token asks for more, a larger
// buffer. out must not be empty. On an error function is the one that failed, and the session is
// free for the next operation.
func (x crossing) do(m *message, out []byte) (answer []byte, function string, err error) {
	for {
		o := x.once(m, out)
		if n, ok := nextSize(o); ok {
			out = make([]byte, n)
			continue
		}
		if err := ended(o, out); err != nil {
			clear(out) // nothing of a message that is not authentic
			return nil, m.operation.function(o), err
		}
		n := int(o.result)
		clear(out[n:]) // some tokens work in the buffer
		return out[:n:n], "", nil
	}
}

func (x crossing) once(m *message, out []byte) C.kms11_outcome {
	if m.iv != nil {
		return C.kms11_gcm(x.library, m.operation.code, C.CK_ULONG(m.session),
			first(m.iv), size(m.iv), first(m.aad), size(m.aad), tagSize*8, C.CK_ULONG(m.key),
			first(m.in), size(m.in), first(out), size(out))
	}
	return C.kms11_run(x.library, m.operation.code, C.CK_ULONG(m.session),
		C.CK_ULONG(m.mechanism), first(m.parameter), size(m.parameter), C.CK_ULONG(m.key),
		first(m.in), size(m.in), first(out), size(out))
}

// nextSize says whether to try again, and with how large a buffer. The sizes grow to a bound.
func nextSize(o C.kms11_outcome) (n int, ok bool) {
	return int(o.result), o.rv == pkcs11.CKR_BUFFER_TOO_SMALL && o.begun != 0 && o.result != 0
}

// ended gives the error of a call that answers in out.
func ended(o C.kms11_outcome, out []byte) error {
	if o.rv == pkcs11.CKR_OK && o.result > size(out) {
		return pkcs11.Error(pkcs11.CKR_GENERAL_ERROR) // it says that it wrote past the end
	}
	return returned(o.rv)
}

func (op *operation) function(o C.kms11_outcome) string {
	if o.begun == 0 {
		return op.init
	}
	return op.run
}

// verify says by its error whether the signature is wrong: CKR_SIGNATURE_INVALID or
// CKR_SIGNATURE_LEN_RANGE.
func (x crossing) verify(m *message, signature []byte) (function string, err error) {
	o := C.kms11_verify(x.library, C.CK_ULONG(m.session),
		C.CK_ULONG(m.mechanism), first(m.parameter), size(m.parameter), C.CK_ULONG(m.key),
		first(m.in), size(m.in), first(signature), size(signature))
	return m.operation.function(o), returned(o.rv)
}

// wrap writes the wrapped key to out, which must not be empty, or to a larger buffer.
func (x crossing) wrap(s pkcs11.SessionHandle, mechanism uint, parameter []byte, wrapping, key object, out []byte) ([]byte, error) {
	for {
		o := C.kms11_wrap(x.library, C.CK_ULONG(s), C.CK_ULONG(mechanism), first(parameter), size(parameter),
			C.CK_ULONG(wrapping), C.CK_ULONG(key), first(out), size(out))
		if n, ok := nextSize(o); ok {
			out = make([]byte, n)
			continue
		}
		if err := ended(o, out); err != nil {
			return nil, err
		}
		return out[:o.result:o.result], nil
	}
}

// random fills out, which must not be empty.
func (x crossing) random(s pkcs11.SessionHandle, out []byte) error {
	return returned(C.kms11_random(x.library, C.CK_ULONG(s), first(out), size(out)))
}

func (x crossing) login(s pkcs11.SessionHandle, user uint, pin string) error {
	return returned(C.kms11_login(x.library, C.CK_ULONG(s), C.CK_ULONG(user),
		(*C.CK_BYTE)(unsafe.StringData(pin)), C.CK_ULONG(len(pin))))
}

// reservedArgument gives text as C has it, or NULL where there is none, and what frees it.
func reservedArgument(text string) (unsafe.Pointer, func()) {
	if text == "" {
		return nil, func() {}
	}
	c := unsafe.Pointer(C.CString(text))
	return c, func() { C.free(c) }
}

// returned gives what the binding would for a CKR value.
func returned(rv C.CK_ULONG) error {
	if rv == pkcs11.CKR_OK {
		return nil
	}
	return pkcs11.Error(rv)
}

// first and size are a slice as C takes it.
func first(b []byte) *C.CK_BYTE { return (*C.CK_BYTE)(unsafe.SliceData(b)) }
func size(b []byte) C.CK_ULONG  { return C.CK_ULONG(len(b)) }
