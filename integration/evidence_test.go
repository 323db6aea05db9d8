package integration_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// evidence confirms by a key that it has made something earlier: another key, or the same one with
// other material, fails. The error is the SDK's own if the request failed.
type evidence func(ctx context.Context, client *kms.Client) error

// evidenceOf has a key make something: a ciphertext, a signature, a MAC or a shared secret.
func evidenceOf(ctx context.Context, client *kms.Client, key *types.KeyMetadata) (evidence, error) {
	make, known := evidenceByUsage[key.KeyUsage]
	if !known {
		return nil, fmt.Errorf("no evidence is known for %s", key.KeyUsage)
	}
	return make(ctx, client, key)
}

// evidenceByUsage is the table behind evidenceOf. Nothing writes to it.
var evidenceByUsage = map[types.KeyUsageType]func(context.Context, *kms.Client, *types.KeyMetadata) (evidence, error){
	types.KeyUsageTypeEncryptDecrypt:    ciphertextOf,
	types.KeyUsageTypeSignVerify:        signatureOf,
	types.KeyUsageTypeGenerateVerifyMac: macOf,
	types.KeyUsageTypeKeyAgreement:      secretOf,
}

// testimony is what is encrypted or signed.
const testimony = "made by this key"

func ciphertextOf(ctx context.Context, client *kms.Client, key *types.KeyMetadata) (evidence, error) {
	algorithm := key.EncryptionAlgorithms[0]
	sealed, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, EncryptionAlgorithm: algorithm, Plaintext: []byte(testimony)})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, client *kms.Client) error {
		opened, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: key.KeyId, EncryptionAlgorithm: algorithm, CiphertextBlob: sealed.CiphertextBlob})
		if err == nil && string(opened.Plaintext) != testimony {
			return errors.New("it decrypts to other bytes")
		}
		return err
	}, nil
}

func signatureOf(ctx context.Context, client *kms.Client, key *types.KeyMetadata) (evidence, error) {
	algorithm := key.SigningAlgorithms[0]
	signed, err := client.Sign(ctx, &kms.SignInput{KeyId: key.KeyId, SigningAlgorithm: algorithm, Message: []byte(testimony)})
	if err != nil {
		return nil, err
	}
	public, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.KeyId})
	if err != nil {
		return nil, err
	}
	verify := func(ctx context.Context, client *kms.Client, signature []byte) error {
		_, err := client.Verify(ctx, &kms.VerifyInput{KeyId: key.KeyId, SigningAlgorithm: algorithm, Message: []byte(testimony), Signature: signature})
		return err
	}
	return func(ctx context.Context, client *kms.Client) error {
		if err := verify(ctx, client, signed.Signature); err != nil {
			return err
		}
		again, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.KeyId})
		if err != nil {
			return err
		}
		if !bytes.Equal(again.PublicKey, public.PublicKey) {
			return errors.New("it has another public key")
		}
		// Verify may need the public key only: the private key has to be there too.
		anew, err := client.Sign(ctx, &kms.SignInput{KeyId: key.KeyId, SigningAlgorithm: algorithm, Message: []byte(testimony)})
		if err != nil {
			return err
		}
		return verify(ctx, client, anew.Signature)
	}, nil
}

func macOf(ctx context.Context, client *kms.Client, key *types.KeyMetadata) (evidence, error) {
	algorithm := key.MacAlgorithms[0]
	made, err := client.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: key.KeyId, MacAlgorithm: algorithm, Message: []byte(testimony)})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, client *kms.Client) error {
		_, err := client.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: key.KeyId, MacAlgorithm: algorithm, Message: []byte(testimony), Mac: made.Mac})
		return err
	}, nil
}

func secretOf(ctx context.Context, client *kms.Client, key *types.KeyMetadata) (evidence, error) {
	mine, err := agreementCurves[key.KeySpec]().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	peer, err := x509.MarshalPKIXPublicKey(mine.PublicKey())
	if err != nil {
		return nil, err
	}
	in := kms.DeriveSharedSecretInput{KeyId: key.KeyId, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: peer}
	derived, err := client.DeriveSharedSecret(ctx, &in)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, client *kms.Client) error {
		again, err := client.DeriveSharedSecret(ctx, &in)
		if err == nil && !bytes.Equal(again.SharedSecret, derived.SharedSecret) {
			return errors.New("it derives another secret")
		}
		return err
	}, nil
}
