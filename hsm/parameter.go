package hsm

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// parameterBytes gives the C structure of a mechanism's parameter: nil, the structure itself, or
// one of the binding's types. What the structure points to is pinned.
func parameterBytes(pin *runtime.Pinner, parameter any) ([]byte, error) {
	switch p := parameter.(type) {
	case nil:
		return nil, nil
	case []byte:
		return p, nil
	case *pkcs11.OAEPParams: // CK_RSA_PKCS_OAEP_PARAMS
		return words(uintptr(p.HashAlg), uintptr(p.MGF), uintptr(p.SourceType),
			address(pin, p.SourceData), uintptr(len(p.SourceData))), nil
	case *pkcs11.RSAAESKeyWrapParams: // CK_RSA_AES_KEY_WRAP_PARAMS
		oaep, err := parameterBytes(pin, &p.OAEPParams)
		if err != nil {
			return nil, err
		}
		return words(uintptr(p.AESKeyBits), address(pin, oaep)), nil
	}
	return nil, fmt.Errorf("a mechanism's parameter cannot be of type %T", parameter)
}

// words lays out a C structure of CK_ULONGs and pointers, which have the size of a pointer on
// every Unix. Neither the binding nor Go knows of pointers in it, so what they point to is pinned
// by address.
func words(w ...uintptr) []byte {
	w = slices.Clone(w)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), len(w)*int(unsafe.Sizeof(uintptr(0))))
}

// address pins b and gives where it is, or NULL if it is empty.
func address(pin *runtime.Pinner, b []byte) uintptr {
	if len(b) == 0 {
		return 0
	}
	pin.Pin(&b[0])
	return uintptr(unsafe.Pointer(&b[0]))
}
