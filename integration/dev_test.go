package integration_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestDevMode checks the mode for laptops: no signature is checked, and an access key id of 12
// digits chooses the account.
func TestDevMode(t *testing.T) {
	server := kms11test.Start(t, "--dev")
	accounts := map[string]string{
		"AKIAIOSFODNN7EXAMPLE": kms11test.Account,
		"test":                 kms11test.Account,
		"444455556666":         "444455556666",
	}
	for accessKey, account := range accounts {
		t.Run(accessKey, func(t *testing.T) {
			client := server.ClientWith(t, aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: "any"})
			key := createKey(t, client)
			if !strings.Contains(*key.Arn, ":"+account+":key/") || *key.AWSAccountId != account {
				t.Errorf("the key is %s", *key.Arn)
			}
			sealed := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))(t)
			must(client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))(t)
		})
	}
	if !strings.Contains(server.Log(t), "dev") {
		t.Error("the log does not say that this is dev mode")
	}
}

// TestDevModeServesAnyRegion makes keys in Regions with names as users of emulators choose them.
func TestDevModeServesAnyRegion(t *testing.T) {
	server := kms11test.Start(t, "--dev")
	client := server.ClientWith(t, aws.Credentials{AccessKeyID: "test", SecretAccessKey: "any"})
	for _, region := range []string{"local", "mars-1", "us-east-1a", "eu-central-1"} {
		there := func(o *kms.Options) { o.Region = region }
		made := must(client.CreateKey(t.Context(), &kms.CreateKeyInput{}, there))(t).KeyMetadata
		if want := "arn:aws:kms:" + region + ":" + kms11test.Account + ":key/"; !strings.HasPrefix(*made.Arn, want) {
			t.Errorf("%s: the key is %s", region, *made.Arn)
		}
		sealed := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: made.Arn, Plaintext: []byte("x")}, there))(t)
		must(client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, KeyId: made.Arn}, there))(t)
		_, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: made.KeyId})
		wantCode(t, err, "NotFoundException", "")
	}
}

// TestDevModeIsNotTheDefault sends what dev mode takes to a server that is not in it.
func TestDevModeIsNotTheDefault(t *testing.T) {
	server := kms11test.Start(t)
	client := server.ClientWith(t, aws.Credentials{AccessKeyID: kms11test.Account, SecretAccessKey: "any"})
	_, err := client.ListKeys(t.Context(), &kms.ListKeysInput{})
	wantCode(t, err, "UnrecognizedClientException", "")
}
