package clients_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestCLIKeys has the CLI use a key of each kind and checks outside, with Go's standard library.
func TestCLIKeys(t *testing.T) {
	aws := newCLI(t, kms11test.Start(t))
	message := []byte("\x00 a message \xff")
	digest := sha256.Sum256(message)
	create := func(spec, usage string) (arn string, signing []string) {
		t.Helper()
		var made metadata
		aws.ask(t, &made, "create-key", "--key-spec", spec, "--key-usage", usage)
		return made.KeyMetadata.Arn, made.KeyMetadata.SigningAlgorithms
	}
	public := func(arn string) any {
		t.Helper()
		var answer struct{ PublicKey, KeyId string }
		aws.ask(t, &answer, "get-public-key", "--key-id", arn)
		key, err := x509.ParsePKIXPublicKey(decode(t, answer.PublicKey))
		if err != nil || answer.KeyId != arn {
			t.Fatalf("get-public-key of %s gave %s, %v", arn, answer.KeyId, err)
		}
		return key
	}

	for _, c := range []struct {
		spec, algorithm string
		verifies        func(key any, signature []byte) bool
	}{
		{"RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", func(key any, signature []byte) bool {
			return rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), crypto.SHA256, digest[:], signature) == nil
		}},
		{"ECC_NIST_P256", "ECDSA_SHA_256", func(key any, signature []byte) bool {
			return ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digest[:], signature)
		}},
		{"ECC_NIST_EDWARDS25519", "ED25519_SHA_512", func(key any, signature []byte) bool {
			return ed25519.Verify(key.(ed25519.PublicKey), message, signature)
		}},
	} {
		arn, signing := create(c.spec, "SIGN_VERIFY")
		if !slices.Contains(signing, c.algorithm) {
			t.Errorf("%s lists %q", c.spec, signing)
		}
		key := public(arn)
		inputs := map[string]string{"RAW": aws.write(t, "message", message)}
		if c.spec != "ECC_NIST_EDWARDS25519" {
			inputs["DIGEST"] = aws.write(t, "digest", digest[:])
		}
		for kind, input := range inputs {
			request := []string{"--key-id", arn, "--message", input, "--message-type", kind, "--signing-algorithm", c.algorithm}
			var signed struct{ Signature, KeyId string }
			aws.ask(t, &signed, append([]string{"sign"}, request...)...)
			signature := decode(t, signed.Signature)
			if !c.verifies(key, signature) || signed.KeyId != arn {
				t.Errorf("%s of a %s does not verify outside", c.algorithm, kind)
			}
			var verified struct{ SignatureValid bool }
			aws.ask(t, &verified, append([]string{"verify", "--signature", aws.write(t, "signature", signature)}, request...)...)
			if !verified.SignatureValid {
				t.Errorf("%s of a %s does not verify inside", c.algorithm, kind)
			}
			signature[len(signature)-1] ^= 1
			aws.refused(t, "An error occurred (KMSInvalidSignatureException) when calling the Verify operation",
				append([]string{"verify", "--signature", aws.write(t, "signature", signature)}, request...)...)
		}
		aws.refused(t, "(InvalidKeyUsageException) when calling the GenerateMac operation: "+arn+" key usage is SIGN_VERIFY which is not valid for GenerateMac.",
			"generate-mac", "--key-id", arn, "--message", "x", "--mac-algorithm", "HMAC_SHA_256")
	}

	arn, _ := create("HMAC_256", "GENERATE_VERIFY_MAC")
	request := []string{"--key-id", arn, "--message", aws.write(t, "message", message), "--mac-algorithm", "HMAC_SHA_256"}
	var made struct{ Mac string }
	aws.ask(t, &made, append([]string{"generate-mac"}, request...)...)
	mac := decode(t, made.Mac)
	var valid struct{ MacValid bool }
	aws.ask(t, &valid, append([]string{"verify-mac", "--mac", aws.write(t, "mac", mac)}, request...)...)
	if len(mac) != 32 || !valid.MacValid {
		t.Errorf("a MAC of %d bytes, valid %v", len(mac), valid.MacValid)
	}
	mac[0] ^= 1
	aws.refused(t, "(KMSInvalidMacException)", append([]string{"verify-mac", "--mac", aws.write(t, "mac", mac)}, request...)...)

	arn, _ = create("ECC_NIST_P384", "KEY_AGREEMENT")
	mine, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := x509.MarshalPKIXPublicKey(mine.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := public(arn).(*ecdsa.PublicKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := mine.ECDH(theirs)
	if err != nil {
		t.Fatal(err)
	}
	var derived struct{ SharedSecret, KeyOrigin string }
	aws.ask(t, &derived, "derive-shared-secret", "--key-id", arn, "--key-agreement-algorithm", "ECDH", "--public-key", aws.write(t, "peer", peer))
	if !bytes.Equal(decode(t, derived.SharedSecret), secret) || derived.KeyOrigin != "AWS_KMS" {
		t.Error("the two sides derive different secrets")
	}
	aws.refused(t, "(ValidationException)", "derive-shared-secret", "--key-id", arn, "--key-agreement-algorithm", "ECDH", "--public-key", "InvalidPublicKey")

	arn, _ = create("RSA_2048", "ENCRYPT_DECRYPT")
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public(arn).(*rsa.PublicKey), message, nil)
	if err != nil {
		t.Fatal(err)
	}
	var opened struct{ Plaintext string }
	aws.ask(t, &opened, "decrypt", "--key-id", arn, "--encryption-algorithm", "RSAES_OAEP_SHA_256", "--ciphertext-blob", aws.write(t, "sealed", sealed))
	if !bytes.Equal(decode(t, opened.Plaintext), message) {
		t.Error("decrypt gave other bytes than were encrypted outside")
	}

	arn, _ = create("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	for _, command := range []string{"generate-data-key-pair", "generate-data-key-pair-without-plaintext"} {
		var pair struct{ PrivateKeyPlaintext, PrivateKeyCiphertextBlob, PublicKey string }
		aws.ask(t, &pair, command, "--key-id", arn, "--key-pair-spec", "ECC_NIST_P256", "--encryption-context", "pair=cli")
		aws.ask(t, &opened, "decrypt", "--encryption-context", "pair=cli", "--ciphertext-blob", aws.write(t, "sealed", decode(t, pair.PrivateKeyCiphertextBlob)))
		if clear := !strings.HasSuffix(command, "without-plaintext"); clear != (pair.PrivateKeyPlaintext != "") || clear && opened.Plaintext != pair.PrivateKeyPlaintext {
			t.Errorf("%s: the blob holds another private key", command)
		}
		private, err := x509.ParsePKCS8PrivateKey(decode(t, opened.Plaintext))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := private.(crypto.Signer).Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.ParsePKIXPublicKey(decode(t, pair.PublicKey))
		if err != nil || !ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digest[:], signature) {
			t.Errorf("%s: the pair does not belong together", command)
		}
	}
}
