package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"

	"github.com/miekg/pkcs11"
)

const (
	ivSize  = 12 // bytes; the only size that is ever passed to a token
	tagSize = 16 // bytes
)

// sealGCM encrypts with AES-GCM; the answer ends in the tag. iv is ivSize bytes: SoftHSM2 takes
// an empty one without a word and repeats its keystream.
func (s *session) sealGCM(key object, iv, aad, plaintext []byte) ([]byte, error) {
	p := pkcs11.NewGCMParams(iv, aad, tagSize*8)
	defer p.Free()
	return s.encrypt(pkcs11.CKM_AES_GCM, p, key, plaintext)
}

// openGCM decrypts what sealGCM made. The error matches ErrBadCiphertext if the tag is wrong.
func (s *session) openGCM(key object, iv, aad, ciphertext []byte) ([]byte, error) {
	p := pkcs11.NewGCMParams(iv, aad, tagSize*8)
	defer p.Free()
	return s.decrypt(pkcs11.CKM_AES_GCM, p, key, ciphertext)
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
