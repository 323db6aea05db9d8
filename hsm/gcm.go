package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"github.com/miekg/pkcs11"
)

const (
	ivSize     = 12 // bytes; the only size that this program encrypts with
	longIVSize = 16 // bytes; some others' ciphertexts have such an IV
	tagSize    = 16 // bytes
)

// sealGCM encrypts with AES-GCM; the answer ends in the tag. iv is ivSize bytes.
func (s *session) sealGCM(key object, iv, aad, plaintext []byte) ([]byte, error) {
	return s.gcm(&opEncrypt, key, iv, aad, plaintext, make([]byte, len(plaintext)+tagSize))
}

// openGCM decrypts what sealGCM made, or others with an IV of longIVSize. The error matches ErrBadCiphertext if the tag is wrong.
func (s *session) openGCM(key object, iv, aad, ciphertext []byte) ([]byte, error) {
	// SoftHSM2 wants as much room as the ciphertext has.
	return s.gcm(&opDecrypt, key, iv, aad, ciphertext, make([]byte, max(len(ciphertext), tagSize)))
}

// gcm gives the answer in out, or in a larger buffer.
func (s *session) gcm(op *operation, key object, iv, aad, in, out []byte) ([]byte, error) {
	if len(iv) != ivSize && (op != &opDecrypt || len(iv) != longIVSize) {
		// SoftHSM2 takes an empty one without a word and repeats its keystream.
		return nil, fmt.Errorf("an IV of %d bytes for AES-GCM: not %d", len(iv), ivSize)
	}
	m := message{operation: op, session: s.handle, key: key, in: in, mechanism: pkcs11.CKM_AES_GCM, iv: iv, aad: aad}
	answer, function, err := s.crossing().do(&m, out)
	return answer, s.conn.fail(err, function, pkcs11.CKM_AES_GCM)
}

// tryGCM compares the token's GCM under key, whose value is known, with the standard library's.
func tryGCM(s *session, key object, known []byte) error {
	iv, aad, text := bytes.Repeat([]byte{3}, ivSize), []byte("aad"), []byte("known answer")
	block, err := aes.NewCipher(known)
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	got, err := s.sealGCM(key, iv, aad, text)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, gcm.Seal(nil, iv, text, aad)) {
		return errNotExact
	}
	back, err := s.openGCM(key, iv, aad, got)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, text) {
		return errNotExact
	}
	return nil
}
