package ops

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/attest/attesttest"
	"github.com/kms11/kms11/kms"
)

// TestRecipient holds that every operation with a Recipient answers a genuine enclave with a CMS
// message and without the clear text, and refuses any other.
func TestRecipient(t *testing.T) {
	h := newHarness(t)
	enclave, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	chain := attesttest.NewChain(t, now)
	genuine := chain.Document(t, attesttest.Claims(t, chain, &enclave.PublicKey))
	stranger := attesttest.NewChain(t, now)
	forged := stranger.Document(t, attesttest.Claims(t, stranger, &enclave.PublicKey))

	symmetric := newKey(t, h, nil)
	agreement := newKey(t, h, map[string]any{"KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"})
	peer := get[kms.GetPublicKeyResponse](t, h, "GetPublicKey", map[string]any{"KeyId": agreement}).PublicKey
	blob := get[kms.EncryptResponse](t, h, "Encrypt", map[string]any{"KeyId": symmetric, "Plaintext": []byte("for the enclave")}).CiphertextBlob

	requests := map[string]map[string]any{
		"Decrypt":             {"CiphertextBlob": blob},
		"GenerateDataKey":     {"KeyId": symmetric, "KeySpec": "AES_256"},
		"GenerateDataKeyPair": {"KeyId": symmetric, "KeyPairSpec": "ECC_NIST_P256"},
		"GenerateRandom":      {"NumberOfBytes": 16},
		"DeriveSharedSecret":  {"KeyId": agreement, "KeyAgreementAlgorithm": "ECDH", "PublicKey": peer},
	}
	ask := func(operation string, document []byte) (any, error) {
		in := map[string]any{"Recipient": map[string]any{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document}}
		for name, value := range requests[operation] {
			in[name] = value
		}
		return h.invoke(operation, in)
	}
	for operation := range requests {
		if _, err := ask(operation, genuine); kms.AsError(err).Code != kms.UnsupportedOperationException {
			t.Errorf("%s without a configured root: %v", operation, err)
		}
	}
	h.service.attestation = &attest.Verifier{Roots: chain.Roots(), Now: func() time.Time { return now }}
	for operation := range requests {
		if _, err := ask(operation, forged); kms.AsError(err).Code != kms.ValidationException {
			t.Errorf("%s with the document of another chain: %v", operation, err)
		}
		out, err := ask(operation, genuine)
		if err != nil {
			t.Errorf("%s: %v", operation, err)
			continue
		}
		inClear, forRecipient := handedOut(t, out)
		if len(inClear) != 0 {
			t.Errorf("%s: the clear text is in the answer", operation)
		}
		var message struct{ Type asn1.ObjectIdentifier }
		if _, err := asn1.Unmarshal(derFrame(forRecipient), &message); err != nil || message.Type.String() != "1.2.840.113549.1.7.3" {
			t.Errorf("%s: not an EnvelopedData: %v", operation, err)
		}
	}
}

// handedOut is what an answer holds in clear and for its recipient.
func handedOut(t *testing.T, out any) (inClear, forRecipient []byte) {
	t.Helper()
	switch out := out.(type) {
	case *kms.DecryptResponse:
		return out.Plaintext, out.CiphertextForRecipient
	case *kms.GenerateDataKeyResponse:
		return out.Plaintext, out.CiphertextForRecipient
	case *kms.GenerateDataKeyPairResponse:
		return out.PrivateKeyPlaintext, out.CiphertextForRecipient
	case *kms.GenerateRandomResponse:
		return out.Plaintext, out.CiphertextForRecipient
	case *kms.DeriveSharedSecretResponse:
		return out.SharedSecret, out.CiphertextForRecipient
	}
	t.Fatalf("an answer of type %T", out)
	return nil, nil
}

// derFrame makes a DER SEQUENCE of the object identifier that begins a ContentInfo, whose own
// outer length is indefinite.
func derFrame(contentInfo []byte) []byte {
	if len(contentInfo) < 4 || int(contentInfo[3])+4 > len(contentInfo) {
		return nil
	}
	identifier := contentInfo[2 : 4+int(contentInfo[3])]
	return append([]byte{0x30, byte(len(identifier))}, identifier...)
}

func newKey(t *testing.T, h *harness, in map[string]any) string {
	t.Helper()
	return get[kms.CreateKeyResponse](t, h, "CreateKey", in).KeyMetadata.KeyId
}

func get[Out any](t *testing.T, h *harness, operation string, in map[string]any) *Out {
	t.Helper()
	if in == nil {
		in = map[string]any{}
	}
	out, err := h.invoke(operation, in)
	if err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
	return out.(*Out)
}
