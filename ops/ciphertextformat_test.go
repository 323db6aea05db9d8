package ops_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// TestCiphertextsOpenOutside decrypts what the service encrypted.
func TestCiphertextsOpenOutside(t *testing.T) {
	hsmtest.Require(t, hsmtest.Derivation)
	eachScheme(t, func(t *testing.T, o *outside, scheme byte, overhead int) {
		for _, keyID := range []string{singleKey, multiKey} {
			for i, context := range contexts {
				for _, size := range []int{1, 16, 4096} {
					plaintext := randomBytes(size)
					out := o.must("Encrypt", kms.EncryptRequest{KeyId: keyID, Plaintext: plaintext, EncryptionContext: context}).(*kms.EncryptResponse)
					b, got := o.open(out.CiphertextBlob, keyID, context)
					if !bytes.Equal(got, plaintext) || b.scheme != scheme || len(out.CiphertextBlob) != size+overhead {
						t.Errorf("%s, context %d, %d bytes: scheme %d, a ciphertext of %d bytes", keyID, i, size, b.scheme, len(out.CiphertextBlob))
					}
				}
			}
			for name, made := range o.otherCiphertexts(keyID) {
				if _, got := o.open(made.blob, keyID, contexts[2]); made.plaintext != nil && !bytes.Equal(got, made.plaintext) {
					t.Errorf("%s: the ciphertext holds other bytes", name)
				}
			}
		}
	})
}

type sealed struct{ blob, plaintext []byte }

// otherCiphertexts are those of the operations besides Encrypt, under the third context. A
// plaintext is nil where the operation does not tell it.
func (o *outside) otherCiphertexts(keyID string) map[string]sealed {
	context := contexts[2]
	plaintext := randomBytes(20)
	first := o.must("Encrypt", kms.EncryptRequest{KeyId: singleKey, Plaintext: plaintext}).(*kms.EncryptResponse)
	moved := o.must("ReEncrypt", kms.ReEncryptRequest{CiphertextBlob: first.CiphertextBlob, DestinationKeyId: keyID, DestinationEncryptionContext: context}).(*kms.ReEncryptResponse)
	key := o.must("GenerateDataKey", kms.GenerateDataKeyRequest{KeyId: keyID, KeySpec: kms.DataKeySpecAes256, EncryptionContext: context}).(*kms.GenerateDataKeyResponse)
	hidden := o.must("GenerateDataKeyWithoutPlaintext", kms.GenerateDataKeyWithoutPlaintextRequest{KeyId: keyID, KeySpec: kms.DataKeySpecAes256, EncryptionContext: context}).(*kms.GenerateDataKeyWithoutPlaintextResponse)
	pair := o.must("GenerateDataKeyPair", kms.GenerateDataKeyPairRequest{KeyId: keyID, KeyPairSpec: kms.DataKeyPairSpecEccNistP256, EncryptionContext: context}).(*kms.GenerateDataKeyPairResponse)
	return map[string]sealed{
		"ReEncrypt":                       {moved.CiphertextBlob, plaintext},
		"GenerateDataKey":                 {key.CiphertextBlob, key.Plaintext},
		"GenerateDataKeyWithoutPlaintext": {hidden.CiphertextBlob, nil},
		"GenerateDataKeyPair":             {pair.PrivateKeyCiphertextBlob, pair.PrivateKeyPlaintext},
	}
}

// TestCiphertextsMadeOutside has the service decrypt what was encrypted out here, under the old
// and the current material.
func TestCiphertextsMadeOutside(t *testing.T) {
	hsmtest.Require(t, hsmtest.Derivation)
	eachScheme(t, func(t *testing.T, o *outside, scheme byte, _ int) {
		for _, keyID := range []string{singleKey, multiKey} {
			for i, context := range contexts {
				for ordinal := uint32(1); ordinal <= 2; ordinal++ {
					plaintext := randomBytes(33)
					b := o.seal(blob{scheme: scheme, ordinal: ordinal, iv: randomBytes(12)}, keyID, plaintext, context)
					out, err := o.invoke("Decrypt", kms.DecryptRequest{CiphertextBlob: b.encode(), EncryptionContext: context})
					if err != nil {
						t.Errorf("%s, context %d, material %d: %v", keyID, i, ordinal, err)
						continue
					}
					if got := out.(*kms.DecryptResponse); !bytes.Equal(got.Plaintext, plaintext) || got.KeyId != "arn:aws:kms:"+region+":"+account+":key/"+keyID {
						t.Errorf("%s, context %d, material %d: other bytes, or the key %s", keyID, i, ordinal, got.KeyId)
					}
				}
			}
		}
	})
}

// TestCiphertextsRefused changes what is right in one place each.
func TestCiphertextsRefused(t *testing.T) {
	hsmtest.Require(t, hsmtest.Derivation)
	o := newOutside(t, hsmtest.Domain(t))
	context := contexts[3]
	good := func() blob {
		return o.seal(blob{scheme: 1, ordinal: 2, iv: randomBytes(12)}, singleKey, []byte("text"), context)
	}
	changed := func(change func(raw []byte)) []byte {
		raw := good().encode()
		change(raw)
		return raw
	}
	resealed := func(change func(*blob)) []byte { // under an authentic header that names something else
		b := good()
		gcm := b.gcm(t, o.materials[singleKey][1])
		change(&b)
		b.sealed = gcm.Seal(nil, b.iv, []byte("text"), b.additionalData(context))
		return b.encode()
	}
	for name, raw := range map[string][]byte{
		"version 0":                  changed(func(raw []byte) { raw[0] = 0 }),
		"version 2":                  changed(func(raw []byte) { raw[0] = 2 }),
		"flag bit 4":                 changed(func(raw []byte) { raw[1] |= 0x10 }),
		"flag bit 7":                 changed(func(raw []byte) { raw[1] |= 0x80 }),
		"scheme 0":                   changed(func(raw []byte) { raw[1] &^= 6 }),
		"the material of another":    resealed(func(b *blob) { b.ordinal = 1 }),
		"a material that is none":    resealed(func(b *blob) { b.ordinal = 3 }),
		"material 0":                 resealed(func(b *blob) { b.ordinal = 0 }),
		"another scheme":             resealed(func(b *blob) { b.scheme, b.nonce = 3, nil }),
		"a scheme beyond this token": resealed(func(b *blob) { b.scheme, b.nonce = 2, append(b.nonce, 0) }),
		"the nonce of another":       resealed(func(b *blob) { b.nonce = randomBytes(15) }),
		"no tag":                     good().encode()[:blobHeader+15+12],
		"an IV of 16 bytes":          o.seal(blob{scheme: 1, ordinal: 2, iv: randomBytes(16)}, singleKey, []byte("text"), context).encode(),
	} {
		_, err := o.invoke("Decrypt", kms.DecryptRequest{CiphertextBlob: raw, EncryptionContext: context})
		if !errors.Is(err, kms.InvalidCiphertextException) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.must("Decrypt", kms.DecryptRequest{CiphertextBlob: good().encode(), EncryptionContext: context})
}

// TestRunsOutside sorts ciphertexts by nonce: within a run the IVs share 4 bytes and count the
// messages from 0.
func TestRunsOutside(t *testing.T) {
	hsmtest.Require(t, hsmtest.Derivation)
	o := newOutside(t, hsmtest.Domain(t))
	type run struct {
		fixed [4]byte
		next  uint64
	}
	runs := map[string]*run{}
	const messages = 50
	for range messages {
		out := o.must("Encrypt", kms.EncryptRequest{KeyId: singleKey, Plaintext: []byte("x")}).(*kms.EncryptResponse)
		b, _ := o.open(out.CiphertextBlob, singleKey, nil)
		r := runs[string(b.nonce)]
		if r == nil {
			r = &run{fixed: [4]byte(b.iv)}
			runs[string(b.nonce)] = r
		}
		if count := binary.BigEndian.Uint64(b.iv[4:]); [4]byte(b.iv) != r.fixed || count != r.next {
			t.Fatalf("IV %x comes after %d messages of the run %x", b.iv, r.next, r.fixed)
		}
		r.next++
	}
	if len(runs) == messages {
		t.Error("every message has a run of its own: nothing was compared")
	}
}
