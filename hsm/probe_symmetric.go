package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"runtime"

	"github.com/miekg/pkcs11"
)

// probeMaterial is the public value of every known key in a probe.
var probeMaterial = bytes.Repeat([]byte{0x0b, 0x5a}, 16)

func exact(got, want []byte, err error) error {
	if err == nil && !bytes.Equal(got, want) {
		return errNotExact
	}
	return err
}

var encryptionRows = []probeRow{
	{"encryption", "AES-256-GCM", func(p *prober) (string, error) {
		key, err := p.keep(p.createObject(messageKeyKind.known(inUse, probeMaterial)))
		if err != nil {
			return "", err
		}
		return "", tryGCM(p.session, key, probeMaterial)
	}},
	{"encryption", "forged GCM tag is told from a fault", func(p *prober) (string, error) {
		key, err := p.keep(p.createObject(messageKeyKind.known(inUse, probeMaterial)))
		if err != nil {
			return "", err
		}
		iv := make([]byte, ivSize)
		sealed, err := p.sealGCM(key, iv, nil, []byte("text"))
		if err != nil {
			return "", err
		}
		sealed[len(sealed)-1] ^= 1
		_, err = p.openGCM(key, iv, nil, sealed)
		if err == nil {
			return "", errors.New("the token opens a forged message")
		}
		if code, ok := codeOf(err); ok && errors.Is(err, ErrBadCiphertext) {
			return ckrName(code), nil
		}
		return "", err
	}},
}

func derivationRows() []probeRow {
	var rows []probeRow
	for i := range schemes {
		if sc := &schemes[i]; sc.derive != nil {
			rows = append(rows, probeRow{"derivation", "message keys by scheme " + string(sc.name),
				func(p *prober) (string, error) { return "", sc.tryDerive(p.session) }})
		}
	}
	return append(rows,
		probeRow{"derivation", "CBC_ENCRYPT_DATA", tryCBCDerive},
		probeRow{"derivation", "SP 800-108 counter mode with CMAC", tryCMACDerive})
}

func tryCBCDerive(p *prober) (string, error) {
	base, err := p.keep(p.createObject(schemes[0].material.known(inUse, probeMaterial)))
	if err != nil {
		return "", err
	}
	iv, data := bytes.Repeat([]byte{7}, aes.BlockSize), bytes.Repeat([]byte{9}, 2*aes.BlockSize)
	var pin runtime.Pinner
	defer pin.Unpin()
	// CK_AES_CBC_ENCRYPT_DATA_PARAMS: iv[16], pData, length
	parameter := append(bytes.Clone(iv), words(address(&pin, data), uintptr(len(data)))...)
	key, err := p.keep(p.deriveKey(pkcs11.CKM_AES_CBC_ENCRYPT_DATA, parameter, base, messageKeyKind.sized(inUse)))
	if err != nil {
		return "", err
	}
	block, err := aes.NewCipher(probeMaterial)
	if err != nil {
		return "", err
	}
	known := make([]byte, len(data))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(known, data)
	return "", tryBlock(p.session, key, known)
}

// tryCMACDerive compares a derivation with the token's own CMAC of the same blocks.
func tryCMACDerive(p *prober) (string, error) {
	nonce := bytes.Repeat([]byte{0x17}, 16)
	kind := secretKind{pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN, 32, useSign}
	mac, err := p.keep(p.createObject(kind.known(inUse, probeMaterial)))
	if err != nil {
		return "", err
	}
	var known []byte
	for i := byte(1); i <= 2; i++ {
		input := append([]byte{0, 0, 0, i}, sp800108Label+"\x00"...)
		block, err := p.sign(pkcs11.CKM_AES_CMAC, nil, mac, append(input, nonce...))
		if err != nil {
			return "", err
		}
		known = append(known, block...)
	}
	kind.use = useDerive
	base, err := p.keep(p.createObject(kind.known(inUse, probeMaterial)))
	if err != nil {
		return "", err
	}
	key, err := p.keep(p.deriveCounter(pkcs11.CKM_AES_CMAC, base, nonce, messageKeyKind))
	if err != nil {
		return "", err
	}
	return "", tryBlock(p.session, key, known)
}

func macRows() []probeRow {
	rows := []probeRow{{"mac", "AES-CMAC", func(p *prober) (string, error) {
		// RFC 4493, section 4, example 2
		key := secretKind{pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN, 16, useSign}
		o, err := p.keep(p.createObject(key.known(inUse, unhex("2b7e151628aed2a6abf7158809cf4f3c"))))
		if err != nil {
			return "", err
		}
		got, err := p.sign(pkcs11.CKM_AES_CMAC, nil, o, unhex("6bc1bee22e409f96e93d7e117393172a"))
		return "", exact(got, unhex("070a16b46b4d4144f79bdd9dd04a287c"), err)
	}}}
	for _, h := range []struct {
		name string
		mech uint
		hash func() hash.Hash
	}{
		{"224", pkcs11.CKM_SHA224_HMAC, sha256.New224},
		{"256", pkcs11.CKM_SHA256_HMAC, sha256.New},
		{"384", pkcs11.CKM_SHA384_HMAC, sha512.New384},
		{"512", pkcs11.CKM_SHA512_HMAC, sha512.New},
	} {
		size := h.hash().Size()
		rows = append(rows,
			probeRow{"mac", "HMAC-SHA-" + h.name, tryHMAC(h.mech, h.hash, size)},
			probeRow{"mac", "HMAC-SHA-" + h.name + " with a key shorter than the hash", tryHMAC(h.mech, h.hash, size-8)})
	}
	return rows
}

func tryHMAC(mech uint, h func() hash.Hash, length int) func(*prober) (string, error) {
	return func(p *prober) (string, error) {
		key := bytes.Repeat([]byte{0x61}, length)
		o, err := p.keep(p.createObject(macKind.known(inUse, key)))
		if err != nil {
			return "", err
		}
		got, err := p.sign(mech, nil, o, checkLabel)
		want := hmac.New(h, key)
		want.Write(checkLabel)
		return "", exact(got, want.Sum(nil), err)
	}
}

// wrapRows say what each wrap mechanism means on the token.
func wrapRows() []probeRow {
	var rows []probeRow
	for _, c := range wrapCandidates {
		for _, mech := range c.mechanisms {
			rows = append(rows, probeRow{"wrap", fmt.Sprintf("mechanism 0x%X is %s", mech, c.algorithm),
				func(p *prober) (string, error) {
					padded, err := tryWraps(p.session, mech, c.tests)
					if err == nil && padded {
						return "pads with zeros first, so the length does not survive", nil
					}
					return "", err
				}})
		}
	}
	return append(rows, probeRow{"wrap", "AES-GCM wraps keys", func(p *prober) (string, error) {
		kek, err := p.keep(p.generateKey(wrapKeyKind.generate, wrapKeyKind.sized(inUse)))
		if err != nil {
			return "", err
		}
		key, err := p.keep(p.generateKey(macKind.generate, macKind.sized(leaving)))
		if err != nil {
			return "", err
		}
		var pin runtime.Pinner
		defer pin.Unpin()
		// CK_GCM_PARAMS, without AAD
		params := words(address(&pin, make([]byte, ivSize)), ivSize, ivSize*8, 0, 0, tagSize*8)
		_, err = p.wrapKey(pkcs11.CKM_AES_GCM, params, kek, key)
		return "", err
	}})
}
