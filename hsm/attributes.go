package hsm

// #include "crossing.h"
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// An attributeList is an array of CK_ATTRIBUTE: for each a type, an address and a length. What
// the addresses point to must be pinned.
type attributeList []C.CK_ULONG

const attributeWords = 3 // of one CK_ATTRIBUTE

func (l attributeList) raw() (*C.CK_ULONG, C.CK_ULONG) {
	return unsafe.SliceData([]C.CK_ULONG(l)), C.CK_ULONG(len(l) / attributeWords)
}

// pinned is the list of a template, whose values stay in this program's memory.
func pinned(pin *runtime.Pinner, template []*attribute) attributeList {
	list := make(attributeList, 0, attributeWords*len(template))
	for _, a := range template {
		list = append(list, C.CK_ULONG(a.Type), C.CK_ULONG(address(pin, a.Value)), C.CK_ULONG(len(a.Value)))
	}
	return list
}

// create makes an object of the template.
func (x crossing) create(s pkcs11.SessionHandle, template []*attribute) (object, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	head, count := pinned(&pin, template).raw()
	o := C.kms11_create(x.library, C.CK_ULONG(s), head, count)
	return object(o.result), returned(o.rv)
}

// encapsulate makes a secret key of the template for the holder of a public key, and writes the
// ciphertext that carries it to out, whose length is the mechanism's.
func (x crossing) encapsulate(s pkcs11.SessionHandle, mechanism uint, public object, template []*attribute, out []byte) (object, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	head, count := pinned(&pin, template).raw()
	var secret C.CK_ULONG
	o := C.kms11_encapsulate(x.library, C.CK_ULONG(s), C.CK_ULONG(mechanism), C.CK_ULONG(public), head, count, first(out), size(out), &secret)
	if err := returned(o.rv); err != nil {
		return 0, err
	}
	if o.result != size(out) {
		return object(secret), fmt.Errorf("C_EncapsulateKey gives %d bytes, not %d", o.result, len(out))
	}
	return object(secret), nil
}

// decapsulate makes the secret key that a ciphertext carries.
func (x crossing) decapsulate(s pkcs11.SessionHandle, mechanism uint, private object, template []*attribute, ciphertext []byte) (object, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	head, count := pinned(&pin, template).raw()
	o := C.kms11_decapsulate(x.library, C.CK_ULONG(s), C.CK_ULONG(mechanism), C.CK_ULONG(private), head, count, first(ciphertext), size(ciphertext))
	return object(o.result), returned(o.rv)
}

// maxAttribute bounds the value of one attribute, in bytes.
const maxAttribute = 1 << 20

// attributes reads attributes of o in two calls for all: the lengths, then the values.
func (x crossing) attributes(s pkcs11.SessionHandle, o object, types []uint) ([][]byte, error) {
	list := make(attributeList, 0, attributeWords*len(types))
	for _, t := range types {
		list = append(list, C.CK_ULONG(t), 0, 0)
	}
	head, count := list.raw()
	if rv := C.kms11_attributes(x.library, C.CK_ULONG(s), C.CK_ULONG(o), head, count); rv != pkcs11.CKR_OK {
		return nil, returned(rv)
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	values := make([][]byte, len(types))
	for i := range values {
		n := list[attributeWords*i+2]
		if n > maxAttribute {
			return nil, fmt.Errorf("C_GetAttributeValue: the token gives attribute 0x%X a length of %d", types[i], n)
		}
		values[i] = make([]byte, n)
		list[attributeWords*i+1] = C.CK_ULONG(address(&pin, values[i]))
	}
	if rv := C.kms11_attributes(x.library, C.CK_ULONG(s), C.CK_ULONG(o), head, count); rv != pkcs11.CKR_OK {
		return nil, returned(rv)
	}
	for i := range values {
		n := list[attributeWords*i+2]
		if n > C.CK_ULONG(len(values[i])) {
			return nil, fmt.Errorf("C_GetAttributeValue: attribute 0x%X grows while it is read", types[i])
		}
		values[i] = values[i][:n:n]
	}
	return values, nil
}
