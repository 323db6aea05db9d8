package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/kms11/kms11/integration/kms11test"
)

// startTalking starts a server that logs all it has to say, in JSON.
func startTalking(t *testing.T) *kms11test.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kms11.yaml")
	if err := os.WriteFile(file, []byte("log: {level: debug, format: json}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return kms11test.Start(t, "--config", file)
}

// wantNoTrouble wants a server that is healthy and did not have to log in again, to reconnect or to
// warn of anything.
func wantNoTrouble(t *testing.T, server *kms11test.Server) {
	t.Helper()
	wantUnharmed(t, server)
	log := server.Log(t)
	if logins := strings.Count(log, `"msg":"login"`); logins != 1 {
		t.Errorf("%d logins", logins)
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("logged: %s", line)
		}
	}
}

func faultCode(err error) string {
	var fault smithy.APIError
	if errors.As(err, &fault) {
		return fault.ErrorCode()
	}
	return fmt.Sprint(err)
}

// TestEveryByteOfACiphertext changes each byte in several ways, for each operation that decrypts,
// and knows which refusal has to come: docs/formats.md says what the byte is.
func TestEveryByteOfACiphertext(t *testing.T) {
	server := startTalking(t)
	client := server.Client(t)
	ctx := t.Context()
	key := createKey(t, client).KeyId
	context := map[string]string{"a": "b"}
	blob := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("plaintext"), EncryptionContext: context}))(t).CiphertextBlob

	const invalid = "InvalidCiphertextException"
	// want is the code for a bit of a byte, without and with the key's id in the request.
	want := func(offset int, flip byte) [2]string {
		if offset == 1 && flip == 1 || offset >= 2 && offset < 18 { // it names another key
			return [2]string{"AccessDeniedException", "IncorrectKeyException"}
		}
		return [2]string{invalid, invalid}
	}
	operations := map[string]func(blob []byte, keyID *string) error{
		"Decrypt": func(blob []byte, keyID *string) error {
			_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, KeyId: keyID, EncryptionContext: context})
			return err
		},
		"ReEncrypt": func(blob []byte, keyID *string) error {
			_, err := client.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: blob, SourceKeyId: keyID, DestinationKeyId: key, SourceEncryptionContext: context})
			return err
		},
	}
	for name, operation := range operations {
		for offset := range blob {
			for _, flip := range []byte{0x01, 0x80, 0xff} {
				damaged := bytes.Clone(blob)
				damaged[offset] ^= flip
				codes := want(offset, flip)
				for i, keyID := range []*string{nil, key} {
					if got := faultCode(operation(damaged, keyID)); got != codes[i] {
						t.Errorf("%s, byte %d ^ %#x, KeyId given %t: got %s, want %s", name, offset, flip, i == 1, got, codes[i])
					}
				}
			}
		}
		if err := operation(blob, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantNoTrouble(t, server)
}

// TestForgeriesCostNothing has more forgers at work than the server has sessions with its token,
// beside one client that means well.
func TestForgeriesCostNothing(t *testing.T) {
	server := startTalking(t)
	client := server.Client(t)
	ctx := t.Context()
	symmetric := createKey(t, client).KeyId
	create := func(spec types.KeySpec, usage types.KeyUsageType) *string {
		return must(client.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage}))(t).KeyMetadata.KeyId
	}
	rsa := create(types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt)
	signer := create(types.KeySpecRsa2048, types.KeyUsageTypeSignVerify)
	curve := create(types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	agreer := create(types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement)
	hmac := create(types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac)
	message := []byte("message")
	blob := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: symmetric, Plaintext: message}))(t).CiphertextBlob

	decryptRSA := func(blob []byte, algorithm types.EncryptionAlgorithmSpec) error {
		_, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: rsa, CiphertextBlob: blob, EncryptionAlgorithm: algorithm})
		return err
	}
	verify := func(key *string, algorithm types.SigningAlgorithmSpec, signature []byte) error {
		_, err := client.Verify(ctx, &kms.VerifyInput{KeyId: key, Message: message, SigningAlgorithm: algorithm, Signature: signature})
		return err
	}
	attempts := []struct {
		name, code string
		lengths    []int // of what is made up
		try        func(forged []byte) error
	}{
		{"symmetric ciphertext", "InvalidCiphertextException", []int{1, 9}, func(forged []byte) error {
			_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: append(bytes.Clone(blob[:len(blob)-len(forged)]), forged...)})
			return err
		}},
		{"RSA-OAEP SHA-1 ciphertext", "InvalidCiphertextException", []int{1, 255, 256, 257, 6144}, func(forged []byte) error {
			return decryptRSA(forged, types.EncryptionAlgorithmSpecRsaesOaepSha1)
		}},
		{"RSA-OAEP SHA-256 ciphertext", "InvalidCiphertextException", []int{1, 255, 256, 257, 6144}, func(forged []byte) error {
			return decryptRSA(forged, types.EncryptionAlgorithmSpecRsaesOaepSha256)
		}},
		{"PKCS #1 signature", "KMSInvalidSignatureException", []int{1, 255, 256, 257, 6144}, func(forged []byte) error {
			return verify(signer, types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, forged)
		}},
		{"PSS signature", "KMSInvalidSignatureException", []int{1, 255, 256, 257, 6144}, func(forged []byte) error {
			return verify(signer, types.SigningAlgorithmSpecRsassaPssSha512, forged)
		}},
		{"ECDSA signature", "KMSInvalidSignatureException", []int{1, 64, 70, 72, 6144}, func(forged []byte) error {
			return verify(curve, types.SigningAlgorithmSpecEcdsaSha256, forged)
		}},
		{"MAC", "KMSInvalidMacException", []int{1, 31, 32, 33, 6144}, func(forged []byte) error {
			_, err := client.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: hmac, Message: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Mac: forged})
			return err
		}},
		{"public key", "ValidationException", []int{1, 65, 91, 8192}, func(forged []byte) error {
			_, err := client.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: agreer, PublicKey: forged, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh})
			return err
		}},
		{"digest", "ValidationException", []int{1, 31, 33, 64, 4096}, func(forged []byte) error {
			_, err := client.Sign(ctx, &kms.SignInput{KeyId: curve, Message: forged, MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
			return err
		}},
	}
	var running sync.WaitGroup
	for _, attempt := range attempts {
		for _, fill := range []byte{0x00, 0x30, 0xff} {
			running.Go(func() {
				for range 5 {
					for _, length := range attempt.lengths {
						if got := faultCode(attempt.try(bytes.Repeat([]byte{fill}, length))); got != attempt.code {
							t.Errorf("a %s of %d bytes of %#x: got %s, want %s", attempt.name, length, fill, got, attempt.code)
						}
					}
				}
			})
		}
	}
	running.Go(func() {
		for range 50 {
			opened, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
			if err != nil || !bytes.Equal(opened.Plaintext, message) {
				t.Errorf("beside the forgers: %v", err)
			}
		}
	})
	running.Wait()
	wantNoTrouble(t, server)
}
