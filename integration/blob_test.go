package integration_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestDamagedBlobs changes one bit in each byte of a ciphertext, cuts it at every length and adds to
// it. Each is refused as the client's fault, and the key goes on working.
func TestDamagedBlobs(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	key := createKey(t, client)
	sealed := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("sixteen bytes...")}))(t)
	blob := sealed.CiphertextBlob

	// A blob whose key id was changed names a key that does not exist: AWS says AccessDenied
	// without a KeyId in the request, IncorrectKey with one.
	refusals := []string{"InvalidCiphertextException", "AccessDeniedException", "IncorrectKeyException"}
	refuse := func(what string, position int, damaged []byte) {
		for _, keyID := range []*string{nil, key.KeyId} {
			_, err := client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: damaged, KeyId: keyID})
			var fault smithy.APIError
			if !errors.As(err, &fault) || !slices.Contains(refusals, fault.ErrorCode()) {
				t.Errorf("%s at %d, KeyId given %v: got %v", what, position, keyID != nil, err)
			}
		}
	}
	for i := range blob {
		damaged := bytes.Clone(blob)
		damaged[i] ^= 1 << (i % 8)
		refuse("a bit changed", i, damaged)
		if i > 0 {
			refuse("cut", i, blob[:i])
		}
	}
	refuse("a byte added", len(blob), append(bytes.Clone(blob), 0))
	refuse("a byte added", 0, append([]byte{0}, blob...))
	refuse("doubled", len(blob), append(bytes.Clone(blob), blob...))
	refuse("all zero", 0, make([]byte, len(blob)))
	refuse("all ones", 0, bytes.Repeat([]byte{0xff}, len(blob)))
	refuse("6144 bytes", 0, make([]byte, 6144))
	_, err := client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: make([]byte, 6145)})
	wantCode(t, err, "ValidationException", "'ciphertextBlob' failed to satisfy constraint: Member must have length less than or equal to 6144")

	opened := must(client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob}))(t)
	if string(opened.Plaintext) != "sixteen bytes..." {
		t.Error("the blob decrypts to other bytes afterwards")
	}
}

// TestContextsNeverCollide pairs encryption contexts that a careless serialisation would take for
// the same bytes.
func TestContextsNeverCollide(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	key := createKey(t, client)
	contexts := []map[string]string{
		nil,
		{"": ""},
		{"ab": "c"},
		{"a": "bc"},
		{"abc": ""},
		{"": "abc"},
		{"a": "b", "c": "d"},
		{"a": "bcd"},
		{"a": "b,c=d"},
		{"a": "b\x00c\x00d"},
		{"a\x00b": "c\x00d"},
		{"a": "d", "c": "b"},
		{"a": "\u00e9"},  // é as one code point
		{"a": "e\u0301"}, // é by a combining accent
	}
	for i, sealedWith := range contexts {
		sealed := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), EncryptionContext: sealedWith}))(t)
		for j, openedWith := range contexts {
			_, err := client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: openedWith})
			if (err == nil) != (i == j) {
				t.Errorf("sealed with %q, opened with %q: %v", sealedWith, openedWith, err)
			}
		}
	}
}
