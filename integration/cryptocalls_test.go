package integration_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// keySet is a key of each usage.
type keySet map[types.KeyUsageType]*types.KeyMetadata

func newKeySet(t testing.TB, client *kms.Client) keySet {
	t.Helper()
	keys := keySet{}
	for _, k := range []kind{
		{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt},
		{types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify},
		{types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac},
		{types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement},
	} {
		keys[k.usage] = newKey(t, client, k.spec, k.usage)
	}
	return keys
}

// cryptoCall is a cryptographic operation that names a key. Its request is good for the key of
// that usage in the set.
type cryptoCall struct {
	operation string
	usage     types.KeyUsageType
	call      func(id *string, dryRun bool) (keyID string, err error) // the KeyId of the answer
}

// newCryptoCalls gives all cryptographic operations that name a key. What they need to have been
// encrypted or signed before is made now, by the keys of the set, which must be enabled.
func newCryptoCalls(t testing.TB, client *kms.Client, keys keySet) []cryptoCall {
	t.Helper()
	const (
		encrypts = types.KeyUsageTypeEncryptDecrypt
		signs    = types.KeyUsageTypeSignVerify
		macs     = types.KeyUsageTypeGenerateVerifyMac
		agrees   = types.KeyUsageTypeKeyAgreement
		ecdsa    = types.SigningAlgorithmSpecEcdsaSha256
		hmac     = types.MacAlgorithmSpecHmacSha256
		dataKey  = types.DataKeySpecAes256
		pair     = types.DataKeyPairSpecEccNistP256
	)
	ctx := t.Context()
	message := []byte("message")
	blob := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: keys[encrypts].KeyId, Plaintext: message}))(t).CiphertextBlob
	signature := must(client.Sign(ctx, &kms.SignInput{KeyId: keys[signs].KeyId, Message: message, SigningAlgorithm: ecdsa}))(t).Signature
	mac := must(client.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: keys[macs].KeyId, Message: message, MacAlgorithm: hmac}))(t).Mac
	peer := must(x509.MarshalPKIXPublicKey(must(ecdh.P256().GenerateKey(rand.Reader))(t).PublicKey()))(t)

	return []cryptoCall{
		{"Encrypt", encrypts, func(id *string, dry bool) (string, error) {
			out, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: message, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"Decrypt", encrypts, func(id *string, dry bool) (string, error) {
			out, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: id, CiphertextBlob: blob, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"ReEncrypt", encrypts, func(id *string, dry bool) (string, error) {
			out, err := client.ReEncrypt(ctx, &kms.ReEncryptInput{DestinationKeyId: id, CiphertextBlob: blob, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"GenerateDataKey", encrypts, func(id *string, dry bool) (string, error) {
			out, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: id, KeySpec: dataKey, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"GenerateDataKeyWithoutPlaintext", encrypts, func(id *string, dry bool) (string, error) {
			out, err := client.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: id, KeySpec: dataKey, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"GenerateDataKeyPair", encrypts, func(id *string, dry bool) (string, error) {
			out, err := client.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: pair, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"GenerateDataKeyPairWithoutPlaintext", encrypts, func(id *string, dry bool) (string, error) {
			out, err := client.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: id, KeyPairSpec: pair, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"Sign", signs, func(id *string, dry bool) (string, error) {
			out, err := client.Sign(ctx, &kms.SignInput{KeyId: id, Message: message, SigningAlgorithm: ecdsa, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"Verify", signs, func(id *string, dry bool) (string, error) {
			out, err := client.Verify(ctx, &kms.VerifyInput{KeyId: id, Message: message, Signature: signature, SigningAlgorithm: ecdsa, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"GenerateMac", macs, func(id *string, dry bool) (string, error) {
			out, err := client.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: id, Message: message, MacAlgorithm: hmac, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"VerifyMac", macs, func(id *string, dry bool) (string, error) {
			out, err := client.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: id, Message: message, Mac: mac, MacAlgorithm: hmac, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
		{"DeriveSharedSecret", agrees, func(id *string, dry bool) (string, error) {
			out, err := client.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: id, PublicKey: peer, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, DryRun: &dry})
			return idOf(err, func() *string { return out.KeyId })
		}},
	}
}

// idOf reads the KeyId of an answer if there is one.
func idOf(err error, keyID func() *string) (string, error) {
	if err != nil {
		return "", err
	}
	return aws.ToString(keyID()), nil
}
