package integration_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// oaep is RSAES-OAEP (RFC 8017, section 7.1) with what Go's standard library needs for it.
type oaep struct {
	algorithm types.EncryptionAlgorithmSpec
	hash      func() hash.Hash
}

func oaeps() []oaep {
	return []oaep{
		{types.EncryptionAlgorithmSpecRsaesOaepSha1, sha1.New},
		{types.EncryptionAlgorithmSpecRsaesOaepSha256, sha256.New},
	}
}

// most is the longest plaintext in bytes.
func (o oaep) most(key *rsa.PublicKey) int { return key.Size() - 2*o.hash().Size() - 2 }

// TestDecryptWhatWasEncryptedOutside encrypts with the public key in Go's standard library, as a
// client without access to the server does, and inside; both are decrypted inside.
func TestDecryptWhatWasEncryptedOutside(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	for _, spec := range []types.KeySpec{types.KeySpecRsa2048, types.KeySpecRsa4096} {
		key := newKey(t, client, spec, types.KeyUsageTypeEncryptDecrypt)
		public := publicKey(t, client, key.KeyId).(*rsa.PublicKey)
		for _, o := range oaeps() {
			t.Run(fmt.Sprint(spec, " ", o.algorithm), func(t *testing.T) {
				open := func(blob []byte) (*kms.DecryptOutput, error) {
					return client.Decrypt(ctx, &kms.DecryptInput{KeyId: key.KeyId, CiphertextBlob: blob, EncryptionAlgorithm: o.algorithm})
				}
				for _, size := range []int{1, 32, o.most(public)} {
					plaintext := make([]byte, size)
					_, _ = rand.Read(plaintext)
					outside := must(rsa.EncryptOAEP(o.hash(), rand.Reader, public, plaintext, nil))(t)
					inside := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: plaintext, EncryptionAlgorithm: o.algorithm}))(t)
					if *inside.KeyId != *key.Arn || inside.EncryptionAlgorithm != o.algorithm || len(inside.CiphertextBlob) != public.Size() {
						t.Errorf("Encrypt gave %d bytes by %s of %s", len(inside.CiphertextBlob), inside.EncryptionAlgorithm, *inside.KeyId)
					}
					for _, blob := range [][]byte{outside, inside.CiphertextBlob} {
						opened := must(open(blob))(t)
						if !bytes.Equal(opened.Plaintext, plaintext) || *opened.KeyId != *key.Arn || opened.KeyMaterialId != nil {
							t.Errorf("%d bytes: Decrypt gave other bytes, or the key %s", size, *opened.KeyId)
						}
					}
				}
				_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: make([]byte, o.most(public)+1), EncryptionAlgorithm: o.algorithm})
				wantCode(t, err, "ValidationException", fmt.Sprintf("Algorithm %s and key spec %s cannot encrypt data larger than %d bytes.", o.algorithm, spec, o.most(public)))

				good := must(rsa.EncryptOAEP(o.hash(), rand.Reader, public, []byte("x"), nil))(t)
				labelled := must(rsa.EncryptOAEP(o.hash(), rand.Reader, public, []byte("x"), []byte("label")))(t)
				damaged := bytes.Clone(good)
				damaged[len(damaged)-1] ^= 1
				for name, blob := range map[string][]byte{
					"a bit changed": damaged, "cut": good[:len(good)-1], "a byte": {7}, "longer": append(bytes.Clone(good), 0),
					"above the modulus": bytes.Repeat([]byte{0xff}, len(good)), "zero": make([]byte, len(good)), "with a label": labelled,
				} {
					if _, err := open(blob); err == nil {
						t.Errorf("%s: decrypted", name)
					} else {
						wantError[*types.InvalidCiphertextException](t, err, "")
					}
				}
			})
		}
	}
}

// TestAsymmetricCiphertextNeedsItsKey checks what an RSA ciphertext, which names neither key nor
// algorithm, needs beside it.
func TestAsymmetricCiphertextNeedsItsKey(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	asymmetric := newKey(t, client, types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt)
	symmetric := createKey(t, client)
	const algorithm = types.EncryptionAlgorithmSpecRsaesOaepSha256
	blob := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: asymmetric.KeyId, Plaintext: []byte("x"), EncryptionAlgorithm: algorithm}))(t).CiphertextBlob

	for name, c := range map[string]struct {
		in      kms.DecryptInput
		code    string
		message string
	}{
		"no key":                {kms.DecryptInput{EncryptionAlgorithm: algorithm}, "InvalidCiphertextException", ""},
		"no key, no algorithm":  {kms.DecryptInput{}, "InvalidCiphertextException", ""},
		"no algorithm":          {kms.DecryptInput{KeyId: asymmetric.KeyId}, "InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."},
		"another hash":          {kms.DecryptInput{KeyId: asymmetric.KeyId, EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha1}, "InvalidCiphertextException", ""},
		"a symmetric key":       {kms.DecryptInput{KeyId: symmetric.KeyId, EncryptionAlgorithm: algorithm}, "InvalidKeyUsageException", "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."},
		"an encryption context": {kms.DecryptInput{KeyId: asymmetric.KeyId, EncryptionAlgorithm: algorithm, EncryptionContext: map[string]string{"a": "b"}}, "ValidationException", "EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs."},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.CiphertextBlob = blob
			_, err := client.Decrypt(ctx, &c.in)
			wantCode(t, err, c.code, c.message)
		})
	}
	_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: asymmetric.KeyId, Plaintext: []byte("x"), EncryptionAlgorithm: algorithm, EncryptionContext: map[string]string{"a": "b"}})
	wantCode(t, err, "ValidationException", "EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs.")
	_, err = client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: asymmetric.KeyId, KeySpec: types.DataKeySpecAes256})
	var usage *types.InvalidKeyUsageException
	wantCode(t, err, usage.ErrorCode(), "")

	t.Run("ReEncrypt both ways", func(t *testing.T) {
		in := must(client.ReEncrypt(ctx, &kms.ReEncryptInput{
			CiphertextBlob: blob, SourceKeyId: asymmetric.KeyId, SourceEncryptionAlgorithm: algorithm,
			DestinationKeyId: symmetric.KeyId, DestinationEncryptionContext: map[string]string{"a": "b"},
		}))(t)
		if in.SourceEncryptionAlgorithm != algorithm || in.DestinationEncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault ||
			in.SourceKeyMaterialId != nil || aws.ToString(in.DestinationKeyMaterialId) != *symmetric.CurrentKeyMaterialId {
			t.Errorf("ReEncrypt from %s to %s", in.SourceEncryptionAlgorithm, in.DestinationEncryptionAlgorithm)
		}
		out := must(client.ReEncrypt(ctx, &kms.ReEncryptInput{
			CiphertextBlob: in.CiphertextBlob, SourceEncryptionContext: map[string]string{"a": "b"},
			DestinationKeyId: asymmetric.KeyId, DestinationEncryptionAlgorithm: algorithm,
		}))(t)
		opened := must(client.Decrypt(ctx, &kms.DecryptInput{KeyId: asymmetric.KeyId, CiphertextBlob: out.CiphertextBlob, EncryptionAlgorithm: algorithm}))(t)
		if string(opened.Plaintext) != "x" {
			t.Error("the plaintext changed on its way")
		}
	})
}

// TestPaddingOutsideCanBeForbidden runs one keystore with and without the setting. Without it
// SoftHSM2, which has OAEP with SHA-1 only, does the raw step of SHA-256; with it neither the list of
// algorithms nor Decrypt has SHA-256, and SHA-1 goes on.
func TestPaddingOutsideCanBeForbidden(t *testing.T) {
	server := kms11test.Start(t)
	ctx := t.Context()
	key := newKey(t, server.Client(t), types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt)
	public := publicKey(t, server.Client(t), key.KeyId).(*rsa.PublicKey)
	server.Stop(t)
	config := filepath.Join(t.TempDir(), "kms11.yaml")
	if err := os.WriteFile(config, []byte("forbidpaddingoutside: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := kms11test.StartIn(t, server.Dir, "--config", config).Client(t)
	for _, o := range oaeps() {
		blob := must(rsa.EncryptOAEP(o.hash(), rand.Reader, public, []byte("outside"), nil))(t)
		_, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: key.KeyId, CiphertextBlob: blob, EncryptionAlgorithm: o.algorithm})
		described := must(client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.KeyId}))(t)
		listed := slices.Contains(described.KeyMetadata.EncryptionAlgorithms, o.algorithm)
		var unsupported *types.UnsupportedOperationException
		switch forbidden := o.algorithm == types.EncryptionAlgorithmSpecRsaesOaepSha256; {
		case forbidden && (!errors.As(err, &unsupported) || listed):
			t.Errorf("%s: %v, listed %t; want UnsupportedOperationException and not listed", o.algorithm, err, listed)
		case !forbidden && (err != nil || !listed):
			t.Errorf("%s: %v, listed %t; want it to work", o.algorithm, err, listed)
		}
	}
}
