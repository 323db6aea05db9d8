package integration_test

import (
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// kind is a key spec with a usage.
type kind struct {
	spec  types.KeySpec
	usage types.KeyUsageType
}

func (k kind) String() string { return fmt.Sprint(k.spec, " ", k.usage) }

func newKey(t testing.TB, client *kms.Client, spec types.KeySpec, usage types.KeyUsageType) *types.KeyMetadata {
	t.Helper()
	return must(client.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage}))(t).KeyMetadata
}

// publicKey is what GetPublicKey gives, as Go's standard library reads it. It does not know the
// curve secp256k1; the clients of the folder clients do.
func publicKey(t testing.TB, client *kms.Client, id *string) any {
	t.Helper()
	out := must(client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: id}))(t)
	return must(x509.ParsePKIXPublicKey(out.PublicKey))(t)
}

// TestEveryKindOfKey makes a key of each kind and asks what it can do: the same in the answers to
// CreateKey, DescribeKey and GetPublicKey, in AWS's order, which clients rely on. SoftHSM2 has no
// Ed25519ph, so that is not listed.
func TestEveryKindOfKey(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	for k, want := range map[kind]string{
		{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt}: "[SYMMETRIC_DEFAULT]",
		{types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt}:          "[RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256]",
		{types.KeySpecRsa2048, types.KeyUsageTypeSignVerify}:              "[RSASSA_PKCS1_V1_5_SHA_256 RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512]",
		{types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify}:          "[ECDSA_SHA_256]",
		{types.KeySpecEccNistP384, types.KeyUsageTypeSignVerify}:          "[ECDSA_SHA_384]",
		{types.KeySpecEccNistP521, types.KeyUsageTypeSignVerify}:          "[ECDSA_SHA_512]",
		{types.KeySpecEccSecgP256k1, types.KeyUsageTypeSignVerify}:        "[ECDSA_SHA_256]",
		{types.KeySpecEccNistEdwards25519, types.KeyUsageTypeSignVerify}:  "[ED25519_SHA_512]",
		{types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement}:        "[ECDH]",
		{types.KeySpecEccNistP384, types.KeyUsageTypeKeyAgreement}:        "[ECDH]",
		{types.KeySpecEccNistP521, types.KeyUsageTypeKeyAgreement}:        "[ECDH]",
		{types.KeySpecHmac224, types.KeyUsageTypeGenerateVerifyMac}:       "[HMAC_SHA_224]",
		{types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac}:       "[HMAC_SHA_256]",
		{types.KeySpecHmac384, types.KeyUsageTypeGenerateVerifyMac}:       "[HMAC_SHA_384]",
		{types.KeySpecHmac512, types.KeyUsageTypeGenerateVerifyMac}:       "[HMAC_SHA_512]",
	} {
		t.Run(k.String(), func(t *testing.T) {
			made := newKey(t, client, k.spec, k.usage)
			found := describe(t, client, *made.Arn)
			for _, m := range []*types.KeyMetadata{made, found} {
				//lint:ignore SA1019 AWS still sends the deprecated twin of KeySpec, and clients read it
				twin := m.CustomerMasterKeySpec
				if m.KeySpec != k.spec || string(twin) != string(k.spec) || m.KeyUsage != k.usage || m.KeyState != types.KeyStateEnabled {
					t.Errorf("it is a %s (%s) %s, %s", m.KeySpec, twin, m.KeyUsage, m.KeyState)
				}
				if got := algorithms(m.EncryptionAlgorithms, m.SigningAlgorithms, m.MacAlgorithms, m.KeyAgreementAlgorithms); got != want {
					t.Errorf("its algorithms are %s, want %s", got, want)
				}
				if symmetric := k.spec == types.KeySpecSymmetricDefault; symmetric != (m.CurrentKeyMaterialId != nil) {
					t.Errorf("CurrentKeyMaterialId is %q", aws.ToString(m.CurrentKeyMaterialId))
				}
			}
			public, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: made.KeyId})
			if k.spec == types.KeySpecSymmetricDefault || k.usage == types.KeyUsageTypeGenerateVerifyMac {
				var unsupported *types.UnsupportedOperationException
				wantCode(t, err, unsupported.ErrorCode(), "")
				return
			}
			public = must(public, err)(t)
			if *public.KeyId != *made.Arn || public.KeySpec != k.spec || public.KeyUsage != k.usage {
				t.Errorf("GetPublicKey gave %s, a %s %s", *public.KeyId, public.KeySpec, public.KeyUsage)
			}
			if got := algorithms(public.EncryptionAlgorithms, public.SigningAlgorithms, nil, public.KeyAgreementAlgorithms); got != want {
				t.Errorf("GetPublicKey lists %s, want %s", got, want)
			}
		})
	}
}

// algorithms prints the one list that is not empty.
func algorithms(encryption []types.EncryptionAlgorithmSpec, signing []types.SigningAlgorithmSpec, mac []types.MacAlgorithmSpec, agreement []types.KeyAgreementAlgorithmSpec) string {
	text := ""
	for _, list := range []struct {
		length int
		of     any
	}{{len(encryption), encryption}, {len(signing), signing}, {len(mac), mac}, {len(agreement), agreement}} {
		if list.length > 0 {
			text += fmt.Sprint(list.of)
		}
	}
	return text
}

func TestKindsThatAreNone(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	for name, c := range map[string]struct {
		in      kms.CreateKeyInput
		message string
	}{
		"no usage": {kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256},
			"You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."},
		"RSA agrees": {kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeKeyAgreement},
			"KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048"},
		"secp256k1 agrees": {kms.CreateKeyInput{KeySpec: types.KeySpecEccSecgP256k1, KeyUsage: types.KeyUsageTypeKeyAgreement},
			"KeyUsage KEY_AGREEMENT is not compatible with KeySpec ECC_SECG_P256K1"},
		"HMAC encrypts": {kms.CreateKeyInput{KeySpec: types.KeySpecHmac256, KeyUsage: types.KeyUsageTypeEncryptDecrypt},
			"KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec HMAC_256"},
		"symmetric signs": {kms.CreateKeyInput{KeyUsage: types.KeyUsageTypeSignVerify},
			"KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT"},
		//lint:ignore SA1019 clients still send the deprecated twin of KeySpec
		"two specs": {kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, CustomerMasterKeySpec: types.CustomerMasterKeySpecRsa2048, KeyUsage: types.KeyUsageTypeSignVerify},
			"You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated."},
		"no such spec": {kms.CreateKeyInput{KeySpec: "RSA_1024", KeyUsage: types.KeyUsageTypeSignVerify},
			"Value 'RSA_1024' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: ["},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.CreateKey(t.Context(), &c.in)
			wantCode(t, err, "ValidationException", c.message)
		})
	}
	if listed := must(client.ListKeys(t.Context(), &kms.ListKeysInput{}))(t); len(listed.Keys) != 0 {
		t.Errorf("refused requests left %d keys", len(listed.Keys))
	}
}
