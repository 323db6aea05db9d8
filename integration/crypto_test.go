package integration_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

const incorrectKey = "The key ID in the request does not identify a CMK that can perform this operation."

func TestEncryptDecrypt(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key, other := createKey(t, client), createKey(t, client)

	contexts := map[string]map[string]string{
		"no context":    nil,
		"empty context": {},
		"a context":     {"purpose": "test", "aws:s3:arn": "arn:aws:s3:::b", "": "empty name", "ключ": "値"},
	}
	for name, context := range contexts {
		for _, size := range []int{1, 15, 16, 17, 32, 4096} {
			t.Run(fmt.Sprintf("%s %d bytes", name, size), func(t *testing.T) {
				plaintext := make([]byte, size)
				_, _ = rand.Read(plaintext)
				sealed := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: plaintext, EncryptionContext: context}))(t)
				if *sealed.KeyId != *key.Arn || sealed.EncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault {
					t.Errorf("Encrypt gave the key %s, algorithm %s", *sealed.KeyId, sealed.EncryptionAlgorithm)
				}
				if overhead := len(sealed.CiphertextBlob) - size; overhead > 100 {
					t.Errorf("the ciphertext is %d bytes longer than the plaintext", overhead)
				}
				for _, keyID := range []*string{nil, key.KeyId, key.Arn} {
					opened := must(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: context, KeyId: keyID}))(t)
					if !bytes.Equal(opened.Plaintext, plaintext) || *opened.KeyId != *key.Arn {
						t.Errorf("Decrypt with KeyId %q gave other bytes, or the key %s", aws.ToString(keyID), *opened.KeyId)
					}
				}
			})
		}
	}

	sealed := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), EncryptionContext: map[string]string{"a": "b"}}))(t)
	for _, wrong := range []map[string]string{nil, {"a": "B"}, {"A": "b"}, {"a": "b", "c": "d"}} {
		_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: wrong})
		wantError[*types.InvalidCiphertextException](t, err, "")
	}
	_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: map[string]string{"a": "b"}, KeyId: other.KeyId})
	wantError[*types.IncorrectKeyException](t, err, incorrectKey)

	must(client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}))(t)
	_, err = client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: map[string]string{"a": "b"}})
	wantError[*types.DisabledException](t, err, *key.Arn+" is disabled.")
}

func TestSamePlaintextNeverTheSameCiphertext(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	key := createKey(t, client)
	seen := map[string]bool{}
	for range 200 {
		sealed := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: make([]byte, 32)}))(t)
		// GCM hides nothing when an IV is repeated: the encrypted part must differ, not only a header.
		tail := string(sealed.CiphertextBlob[len(sealed.CiphertextBlob)-48:])
		if seen[tail] {
			t.Fatal("two encryptions of one plaintext gave the same bytes")
		}
		seen[tail] = true
	}
}

func TestReEncrypt(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	from, to := createKey(t, client), createKey(t, client)
	oldContext, newContext := map[string]string{"stage": "old"}, map[string]string{"stage": "new"}
	plaintext := []byte("moves between keys")
	sealed := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: from.KeyId, Plaintext: plaintext, EncryptionContext: oldContext}))(t)

	for _, source := range []*string{nil, from.KeyId, from.Arn} {
		moved := must(client.ReEncrypt(ctx, &kms.ReEncryptInput{
			CiphertextBlob: sealed.CiphertextBlob, SourceKeyId: source, SourceEncryptionContext: oldContext,
			DestinationKeyId: to.KeyId, DestinationEncryptionContext: newContext,
		}))(t)
		if *moved.SourceKeyId != *from.Arn || *moved.KeyId != *to.Arn {
			t.Errorf("ReEncrypt from %s to %s", *moved.SourceKeyId, *moved.KeyId)
		}
		opened := must(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: moved.CiphertextBlob, KeyId: to.KeyId, EncryptionContext: newContext}))(t)
		if !bytes.Equal(opened.Plaintext, plaintext) {
			t.Error("the re-encrypted blob holds other bytes")
		}
	}

	in := kms.ReEncryptInput{CiphertextBlob: sealed.CiphertextBlob, SourceEncryptionContext: oldContext, DestinationKeyId: to.KeyId}
	wrongSource := in
	wrongSource.SourceKeyId = to.KeyId
	_, err := client.ReEncrypt(ctx, &wrongSource)
	wantError[*types.IncorrectKeyException](t, err, incorrectKey)
	wrongContext := in
	wrongContext.SourceEncryptionContext = newContext
	_, err = client.ReEncrypt(ctx, &wrongContext)
	wantError[*types.InvalidCiphertextException](t, err, "")
	must(client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: to.KeyId}))(t)
	_, err = client.ReEncrypt(ctx, &in)
	wantError[*types.DisabledException](t, err, *to.Arn+" is disabled.")
}

func TestDataKeys(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key := createKey(t, client)
	context := map[string]string{"table": "users"}
	shapes := []struct {
		spec  types.DataKeySpec
		bytes *int32
		want  int
	}{
		{types.DataKeySpecAes256, nil, 32},
		{types.DataKeySpecAes128, nil, 16},
		{"", aws.Int32(1), 1},
		{"", aws.Int32(64), 64},
		{"", aws.Int32(1024), 1024},
	}
	for _, shape := range shapes {
		open := func(blob []byte) []byte {
			return must(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: context}))(t).Plaintext
		}
		clear := must(client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId, KeySpec: shape.spec, NumberOfBytes: shape.bytes, EncryptionContext: context}))(t)
		if len(clear.Plaintext) != shape.want || *clear.KeyId != *key.Arn || clear.CiphertextForRecipient != nil {
			t.Errorf("GenerateDataKey gave %d bytes of %d for %s", len(clear.Plaintext), shape.want, *clear.KeyId)
		}
		if !bytes.Equal(open(clear.CiphertextBlob), clear.Plaintext) {
			t.Error("the data key's blob holds other bytes than its plaintext")
		}
		hidden := must(client.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: key.KeyId, KeySpec: shape.spec, NumberOfBytes: shape.bytes, EncryptionContext: context}))(t)
		if data := open(hidden.CiphertextBlob); len(data) != shape.want || *hidden.KeyId != *key.Arn {
			t.Errorf("GenerateDataKeyWithoutPlaintext sealed %d bytes of %d for %s", len(data), shape.want, *hidden.KeyId)
		}
	}
	for _, in := range []kms.GenerateDataKeyInput{
		{KeyId: key.KeyId},
		{KeyId: key.KeyId, KeySpec: types.DataKeySpecAes256, NumberOfBytes: aws.Int32(32)},
	} {
		_, err := client.GenerateDataKey(ctx, &in)
		wantCode(t, err, "ValidationException", "Please specify either number of bytes or key spec.")
	}
}

func TestGenerateRandom(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	for _, size := range []int32{1, 32, 1024} {
		if out := must(client.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(size)}))(t); len(out.Plaintext) != int(size) {
			t.Errorf("asked for %d bytes, got %d", size, len(out.Plaintext))
		}
	}
	one := must(client.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(32)}))(t)
	two := must(client.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(32)}))(t)
	if bytes.Equal(one.Plaintext, two.Plaintext) {
		t.Error("the same random bytes twice")
	}
	_, err := client.GenerateRandom(ctx, &kms.GenerateRandomInput{})
	wantCode(t, err, "ValidationException", "NumberOfBytes is required.")
	_, err = client.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1025)})
	wantCode(t, err, "ValidationException", "Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024")
}

func TestDryRun(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key := createKey(t, client)
	sealed := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))(t)
	dry := aws.Bool(true)
	calls := map[string]func() error{
		"Encrypt": func() error {
			_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), DryRun: dry})
			return err
		},
		"Decrypt": func() error {
			_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, DryRun: dry})
			return err
		},
		"ReEncrypt": func() error {
			_, err := client.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: sealed.CiphertextBlob, DestinationKeyId: key.KeyId, DryRun: dry})
			return err
		},
		"GenerateDataKey": func() error {
			_, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId, KeySpec: types.DataKeySpecAes256, DryRun: dry})
			return err
		},
		"GenerateDataKeyWithoutPlaintext": func() error {
			_, err := client.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: key.KeyId, KeySpec: types.DataKeySpecAes256, DryRun: dry})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			wantError[*types.DryRunOperationException](t, call(), "The request would have succeeded, but the DryRun option is set.")
		})
	}
	must(client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}))(t)
	for name, call := range calls {
		t.Run(name+" on a disabled key", func(t *testing.T) {
			wantError[*types.DisabledException](t, call(), *key.Arn+" is disabled.")
		})
	}
	must(client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key.KeyId}))(t)
	_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: map[string]string{"a": "b"}, DryRun: dry})
	wantError[*types.InvalidCiphertextException](t, err, "")
}
