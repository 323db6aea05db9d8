package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/miekg/pkcs11"
)

// tokenConfig writes a SoftHSM2 configuration for an empty token directory under dir, and gives
// the environment variable that names it.
func tokenConfig(dir string) (string, error) {
	tokens := filepath.Join(dir, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	return "SOFTHSM2_CONF=" + file, os.WriteFile(file, []byte(text), 0o600)
}

// module finds SoftHSM2 where distributions install it.
func module() (string, error) {
	if path := os.Getenv("SOFTHSM2_MODULE"); path != "" {
		return path, nil
	}
	for _, pattern := range []string{
		"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so",
		"/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
	} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("no SoftHSM2: install it with `make deps`")
}

// A token is one session of a fresh SoftHSM2 token and an AES-256 key in it: a session object
// with the flags that the server gives its keys. Not for concurrent use.
type token struct {
	lib     *pkcs11.Ctx
	session pkcs11.SessionHandle
	key     pkcs11.ObjectHandle
	iv      [12]byte
	calls   uint64
}

// openToken makes the token in the directory that SOFTHSM2_CONF says. The process keeps it
// open until it ends.
func openToken() (*token, error) {
	path, err := module()
	if err != nil {
		return nil, err
	}
	t := &token{lib: pkcs11.New(path)}
	if t.lib == nil {
		return nil, fmt.Errorf("load %s", path)
	}
	if err := t.lib.Initialize(); err != nil {
		return nil, fmt.Errorf("C_Initialize: %w", err)
	}
	pin := rand.Text()
	slot, err := t.initToken(pin)
	if err != nil {
		return nil, err
	}
	if t.session, err = t.lib.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
		return nil, fmt.Errorf("C_OpenSession: %w", err)
	}
	if err := t.lib.Login(t.session, pkcs11.CKU_USER, pin); err != nil {
		return nil, fmt.Errorf("C_Login: %w", err)
	}
	attr, yes, no := pkcs11.NewAttribute, true, false
	t.key, err = t.lib.GenerateKey(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), attr(pkcs11.CKA_VALUE_LEN, 32),
		attr(pkcs11.CKA_TOKEN, no), attr(pkcs11.CKA_PRIVATE, yes), attr(pkcs11.CKA_SENSITIVE, yes), attr(pkcs11.CKA_EXTRACTABLE, no),
		attr(pkcs11.CKA_ENCRYPT, yes), attr(pkcs11.CKA_DECRYPT, yes), attr(pkcs11.CKA_SIGN, no), attr(pkcs11.CKA_VERIFY, no),
		attr(pkcs11.CKA_WRAP, no), attr(pkcs11.CKA_UNWRAP, no), attr(pkcs11.CKA_DERIVE, no),
	})
	if err != nil {
		return nil, fmt.Errorf("C_GenerateKey: %w", err)
	}
	return t, nil
}

// initToken makes a token with a user PIN in the free slot and gives the slot it is then in:
// SoftHSM2 gives a token a new slot number when it is made.
func (t *token) initToken(pin string) (uint, error) {
	slots, err := t.lib.GetSlotList(true)
	if err != nil || len(slots) == 0 {
		return 0, fmt.Errorf("C_GetSlotList: %d slots, %w", len(slots), err)
	}
	const label = "bench"
	if err := t.lib.InitToken(slots[0], pin, label); err != nil {
		return 0, fmt.Errorf("C_InitToken: %w", err)
	}
	if slots, err = t.lib.GetSlotList(true); err != nil {
		return 0, fmt.Errorf("C_GetSlotList: %w", err)
	}
	for _, slot := range slots {
		info, err := t.lib.GetTokenInfo(slot)
		if err != nil || info.Label != label {
			continue
		}
		session, err := t.lib.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			return 0, fmt.Errorf("C_OpenSession: %w", err)
		}
		if err := t.lib.Login(session, pkcs11.CKU_SO, pin); err != nil {
			return 0, fmt.Errorf("C_Login as security officer: %w", err)
		}
		if err := t.lib.InitPIN(session, pin); err != nil {
			return 0, fmt.Errorf("C_InitPIN: %w", err)
		}
		if err := t.lib.CloseSession(session); err != nil {
			return 0, fmt.Errorf("C_CloseSession: %w", err)
		}
		return slot, nil
	}
	return 0, fmt.Errorf("the new token is in no slot")
}

// encrypt is the token call that every Encrypt needs: AES-GCM with an IV of its own. The answer
// is IV, ciphertext and tag.
func (t *token) encrypt(plaintext []byte) ([]byte, error) {
	t.calls++
	binary.BigEndian.PutUint64(t.iv[4:], t.calls)
	params := pkcs11.NewGCMParams(t.iv[:], nil, 128)
	defer params.Free()
	if err := t.lib.EncryptInit(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, t.key); err != nil {
		return nil, fmt.Errorf("C_EncryptInit: %w", err)
	}
	sealed, err := t.lib.Encrypt(t.session, plaintext)
	if err != nil {
		return nil, fmt.Errorf("C_Encrypt: %w", err)
	}
	return append(t.iv[:len(t.iv):len(t.iv)], sealed...), nil
}
