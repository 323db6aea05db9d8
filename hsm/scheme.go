package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"runtime"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// A scheme is how a message key comes from the material of a symmetric encryption key, in the
// token. The nonce is public and part of every ciphertext.
type scheme struct {
	name     kms.DerivationScheme
	material secretKind // what the material may do; never both derive and encrypt
	nonce    int        // bytes; 0 where nothing is derived
	derive   func(s *session, base object, nonce []byte, kind secretKind) (object, error)
	// software is the same derivation for known material, to compare the token with.
	software func(material, nonce []byte) []byte
}

// messageKeyKind is a derived key.
var messageKeyKind = secretKind{pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN, 32, useEncrypt | useDecrypt}

// schemes are in the order in which CreateDomain prefers them. The first two are equally good;
// the order keeps the one that more tokens have, so that a domain can grow.
var schemes = []scheme{
	{kms.DeriveECB, secretKind{pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN, 32, useDerive}, 15, deriveECB, softwareECB},
	{kms.DeriveSP800108, secretKind{pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_GENERIC_SECRET_KEY_GEN, 32, useDerive}, 16, deriveSP800108, softwareSP800108},
	// Random IVs under one key: SP 800-38D, section 8.3, allows 2^32 messages. The count is kept
	// per process only, which is why this comes last.
	{kms.DeriveNone, messageKeyKind, 0, nil, nil},
}

func schemeOf(name kms.DerivationScheme) (*scheme, error) {
	for i := range schemes {
		if schemes[i].name == name {
			return &schemes[i], nil
		}
	}
	return nil, fmt.Errorf("%w: derivation scheme %q", ErrUnsupported, name)
}

// ecbData is what DeriveECB encrypts: two blocks, each a counter byte and the nonce of 15 bytes.
func ecbData(nonce []byte) []byte {
	data := make([]byte, 0, 2*aes.BlockSize)
	data = append(append(data, 1), nonce...)
	return append(append(data, 2), nonce...)
}

func deriveECB(s *session, base object, nonce []byte, kind secretKind) (object, error) {
	data := ecbData(nonce)
	var pin runtime.Pinner
	defer pin.Unpin()
	// CK_KEY_DERIVATION_STRING_DATA
	parameter := words(address(&pin, data), uintptr(len(data)))
	return s.deriveKey(pkcs11.CKM_AES_ECB_ENCRYPT_DATA, parameter, base, kind.sized(inUse))
}

func softwareECB(material, nonce []byte) []byte {
	block, err := aes.NewCipher(material)
	if err != nil {
		panic("hsm: " + err.Error())
	}
	out := ecbData(nonce)
	block.Encrypt(out[:16], out[:16])
	block.Encrypt(out[16:], out[16:])
	return out
}

// sp800108Label is the Label of SP 800-108, section 4.1; the nonce is its Context.
const sp800108Label = "kms11 message key"

// deriveSP800108 feeds HMAC-SHA-256 with [i]32 || Label || 0x00 || nonce, as SP 800-108 (rev. 1,
// section 4.1) has it but for [L]32: the length is always 256 bits, one block of the PRF.
func deriveSP800108(s *session, base object, nonce []byte, kind secretKind) (object, error) {
	return s.deriveCounter(pkcs11.CKM_SHA256_HMAC, base, nonce, kind)
}

func (s *session) deriveCounter(prf uintptr, base object, nonce []byte, kind secretKind) (object, error) {
	fixed := append([]byte(sp800108Label+"\x00"), nonce...)
	var pin runtime.Pinner
	defer pin.Unpin()
	counter := words(0, 32) // CK_SP800_108_COUNTER_FORMAT: big-endian, 32 bits
	params := words(        // two of CK_PRF_DATA_PARAM
		ckSP800108IterationID, address(&pin, counter), uintptr(len(counter)),
		ckSP800108ByteArrayID, address(&pin, fixed), uintptr(len(fixed)),
	)
	// CK_SP800_108_KDF_PARAMS, without additional keys
	parameter := words(prf, 2, address(&pin, params), 0, 0)
	return s.deriveKey(ckmSP800108Counter, parameter, base, kind.sized(inUse))
}

func softwareSP800108(material, nonce []byte) []byte {
	h := hmac.New(sha256.New, material)
	h.Write([]byte{0, 0, 0, 1})
	h.Write([]byte(sp800108Label + "\x00"))
	h.Write(nonce)
	return h.Sum(nil)
}

// try does the whole of a scheme with known material, down to a GCM message, and compares with
// the standard library.
func (sc *scheme) try(s *session) error {
	return sc.withKnown(s, func(key object, known []byte) error { return tryGCM(s, key, known) })
}

// tryDerive is try without GCM: one block by the derived key says whether it is the right one.
func (sc *scheme) tryDerive(s *session) error {
	return sc.withKnown(s, func(key object, known []byte) error { return tryBlock(s, key, known) })
}

// withKnown runs fn with a message key of public material, and its value.
func (sc *scheme) withKnown(s *session, fn func(key object, known []byte) error) error {
	material := bytes.Repeat([]byte{0x0b, 0x5a}, 16)
	base, err := s.createObject(sc.material.known(inUse, material))
	if err != nil {
		return err
	}
	defer func() { _ = s.destroyObject(base) }()
	if sc.derive == nil {
		return fn(base, material)
	}
	nonce := bytes.Repeat([]byte{0x17}, sc.nonce)
	key, err := sc.derive(s, base, nonce, messageKeyKind)
	if err != nil {
		return err
	}
	defer func() { _ = s.destroyObject(key) }()
	return fn(key, sc.software(material, nonce))
}

// tryBlock compares AES of one block under key, whose value is known. It is never done with a key
// of the service: AES of a chosen block breaks GCM under the same key.
func tryBlock(s *session, key object, known []byte) error {
	in := bytes.Repeat([]byte{5}, aes.BlockSize)
	block, err := aes.NewCipher(known)
	if err != nil {
		return err
	}
	want := make([]byte, aes.BlockSize)
	block.Encrypt(want, in)
	got, err := s.encrypt(pkcs11.CKM_AES_ECB, nil, key, in)
	return exact(got, want, err)
}
