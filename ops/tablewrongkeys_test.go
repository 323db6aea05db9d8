package ops

import (
	"bytes"
	"testing"

	"github.com/kms11/kms11/kms"
)

// rootARN is whom invoke acts as.
const rootARN = "arn:aws:iam::" + account + ":root"

// unknownBlob is said of a ciphertext whose key does not exist, as far as the caller may know.
func unknownBlob(who, action string) string {
	return "User: " + who + " is not authorized to perform: kms:" + action + " on the resource associated with this ciphertext because the resource does not exist " +
		"in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
}

// testWrongKeys decrypts with keys that did not encrypt, and what nobody encrypted.
func testWrongKeys(t *testing.T, k *keyring) {
	right, wrong := k.symmetric(), k.createKey(nil)
	blob := k.must("Encrypt", in{"KeyId": right.KeyId, "Plaintext": []byte("x")}).(*kms.EncryptResponse).CiphertextBlob
	corrupt := fault{kms.InvalidCiphertextException, ""}
	decrypts := func(keyID, algorithm string, blob []byte, want, ofSource fault) {
		t.Helper()
		request, source := in{"CiphertextBlob": blob}, in{"CiphertextBlob": blob, "DestinationKeyId": wrong.KeyId}
		if keyID != "" {
			request["KeyId"], source["SourceKeyId"] = keyID, keyID
		}
		if algorithm != "" {
			request["EncryptionAlgorithm"], source["SourceEncryptionAlgorithm"] = algorithm, algorithm
		}
		k.refused("Decrypt", request, want)
		k.refused("ReEncrypt", source, ofSource)
	}
	decrypt := func(keyID, algorithm string, blob []byte, want fault) {
		t.Helper()
		decrypts(keyID, algorithm, blob, want, want)
	}
	unknown := func(blob []byte) {
		t.Helper()
		decrypts("", "", blob, fault{kms.AccessDeniedException, unknownBlob(rootARN, "Decrypt")}, fault{kms.AccessDeniedException, unknownBlob(rootARN, "ReEncryptFrom")})
	}
	decrypt(wrong.KeyId, "", blob, wrongKey())
	decrypt(wrong.Arn, symmetricDefault, blob, wrongKey())
	related := bytes.Clone(blob)
	related[1] ^= 1 // the multi-Region key of the same 16 bytes is another key
	unknown(related)
	decrypt(right.KeyId, "", related, wrongKey())
	for i := range blob { // the key id is at 2 to 17
		broken := bytes.Clone(blob)
		broken[i] ^= 0x80
		if i < 2 || i > 17 {
			decrypt("", "", broken, corrupt)
			decrypt(right.KeyId, "", broken, corrupt)
		} else {
			unknown(broken)
			decrypt(right.KeyId, "", broken, wrongKey())
		}
	}
	for _, broken := range [][]byte{blob[:1], blob[:21], blob[:len(blob)-1], append(bytes.Clone(blob), 0), make([]byte, 6144)} {
		decrypt("", "", broken, corrupt)
		decrypt(right.KeyId, "", broken, corrupt)
	}
	missing := violation("null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")
	k.refused("Decrypt", in{}, missing)
	k.refused("Decrypt", in{"KeyId": right.KeyId}, missing)
	k.refused("ReEncrypt", in{"DestinationKeyId": wrong.KeyId}, missing)

	const oaep = "RSAES_OAEP_SHA_256"
	rsa := k.key("RSA_2048", encryptDecrypt)
	padded := k.must("Encrypt", in{"KeyId": rsa.KeyId, "Plaintext": []byte("x"), "EncryptionAlgorithm": oaep}).(*kms.EncryptResponse).CiphertextBlob
	decrypt("", oaep, padded, corrupt) // it does not name its key
	decrypt("", "", padded, corrupt)
	decrypt(right.KeyId, "", padded, corrupt)
	decrypt(rsa.KeyId, "RSAES_OAEP_SHA_1", padded, corrupt)
	decrypt(rsa.KeyId, oaep, padded[1:], corrupt)
	decrypt(rsa.KeyId, oaep, append(bytes.Clone(padded), 0), corrupt)
	decrypt(rsa.KeyId, oaep, bytes.Repeat([]byte{0xff}, len(padded)), corrupt) // more than the modulus
	decrypt(rsa.KeyId, oaep, make([]byte, len(padded)), corrupt)
	decrypt(rsa.KeyId, oaep, blob, corrupt)
	decrypt(k.key("RSA_3072", encryptDecrypt).KeyId, oaep, padded, corrupt)
}
