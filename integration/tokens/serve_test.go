package tokens_test

import (
	"bytes"
	"crypto/mlkem"
	"encoding/asn1"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// start serves on the token, with a data directory of its own.
func start(t *testing.T) *kms11test.Server {
	t.Helper()
	uri := os.Getenv("KMS11_TOKEN")
	if uri == "" {
		t.Fatal("KMS11_TOKEN names no token: `make test-tokens` does")
	}
	config := configOf(t, uri)
	// Not t.TempDir: a socket's path, which is in there, has to be shorter than test names can be.
	parent, err := os.MkdirTemp("", "kms11-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	dir := filepath.Join(parent, "data")
	if out, code := kms11test.Command(t, "init", "--data", dir, "--config", config, "--account", kms11test.Account); code != 0 {
		t.Fatalf("kms11 init ends with %d: %s", code, out)
	}
	return kms11test.StartIn(t, dir, "--config", config)
}

// configOf is a configuration file that names the token.
func configOf(t *testing.T, uri string) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kms11.yaml")
	if err := os.WriteFile(config, []byte("tokens:\n  - \""+uri+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// A use makes something with a key, and gives what checks it after a restart.
type use func(t *testing.T, client *kms.Client, key *string) (check func(t *testing.T, client *kms.Client))

// uses are one of each family and usage.
var uses = []struct {
	spec  types.KeySpec
	usage types.KeyUsageType
	use   use
}{
	{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt, encrypts(types.EncryptionAlgorithmSpecSymmetricDefault)},
	{types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt, encrypts(types.EncryptionAlgorithmSpecRsaesOaepSha256)},
	{types.KeySpecSm2, types.KeyUsageTypeEncryptDecrypt, encrypts(types.EncryptionAlgorithmSpecSm2pke)},
	{types.KeySpecRsa2048, types.KeyUsageTypeSignVerify, signs(types.SigningAlgorithmSpecRsassaPssSha256)},
	{types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify, signs(types.SigningAlgorithmSpecEcdsaSha256)},
	{types.KeySpecEccSecgP256k1, types.KeyUsageTypeSignVerify, signs(types.SigningAlgorithmSpecEcdsaSha256)},
	{types.KeySpecEccNistEdwards25519, types.KeyUsageTypeSignVerify, signs(types.SigningAlgorithmSpecEd25519Sha512)},
	{types.KeySpecMlDsa44, types.KeyUsageTypeSignVerify, signs(types.SigningAlgorithmSpecMlDsaShake256)},
	{types.KeySpecMlDsa65, types.KeyUsageTypeSignVerify, signs(types.SigningAlgorithmSpecMlDsaShake256)},
	{types.KeySpecMlDsa87, types.KeyUsageTypeSignVerify, signs(types.SigningAlgorithmSpecMlDsaShake256)},
	{types.KeySpecHmac512, types.KeyUsageTypeGenerateVerifyMac, macs},
	{types.KeySpecMlKem512, types.KeyUsageTypeEncapsulateDecapsulate, encapsulates},
	{types.KeySpecMlKem768, types.KeyUsageTypeEncapsulateDecapsulate, encapsulates},
	{types.KeySpecMlKem1024, types.KeyUsageTypeEncapsulateDecapsulate, encapsulates},
}

var message = []byte("message")

func encrypts(algorithm types.EncryptionAlgorithmSpec) use {
	return func(t *testing.T, client *kms.Client, key *string) func(*testing.T, *kms.Client) {
		out := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key, Plaintext: message, EncryptionAlgorithm: algorithm}))(t)
		return func(t *testing.T, client *kms.Client) {
			got := must(client.Decrypt(t.Context(), &kms.DecryptInput{KeyId: key, CiphertextBlob: out.CiphertextBlob, EncryptionAlgorithm: algorithm}))(t)
			if !bytes.Equal(got.Plaintext, message) {
				t.Error("another plaintext")
			}
		}
	}
}

func signs(algorithm types.SigningAlgorithmSpec) use {
	return func(t *testing.T, client *kms.Client, key *string) func(*testing.T, *kms.Client) {
		out := must(client.Sign(t.Context(), &kms.SignInput{KeyId: key, Message: message, SigningAlgorithm: algorithm}))(t)
		return func(t *testing.T, client *kms.Client) {
			must(client.Verify(t.Context(), &kms.VerifyInput{KeyId: key, Message: message, Signature: out.Signature, SigningAlgorithm: algorithm}))(t)
			_, err := client.Verify(t.Context(), &kms.VerifyInput{KeyId: key, Message: []byte("another"), Signature: out.Signature, SigningAlgorithm: algorithm})
			if bad := new(types.KMSInvalidSignatureException); !errors.As(err, &bad) {
				t.Errorf("another message: %v", err)
			}
			must(client.Sign(t.Context(), &kms.SignInput{KeyId: key, Message: message, SigningAlgorithm: algorithm}))(t)
		}
	}
}

func macs(t *testing.T, client *kms.Client, key *string) func(*testing.T, *kms.Client) {
	out := must(client.GenerateMac(t.Context(), &kms.GenerateMacInput{KeyId: key, Message: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha512}))(t)
	return func(t *testing.T, client *kms.Client) {
		must(client.VerifyMac(t.Context(), &kms.VerifyMacInput{KeyId: key, Message: message, Mac: out.Mac, MacAlgorithm: types.MacAlgorithmSpecHmacSha512}))(t)
	}
}

// encapsulates encapsulates by the service and, where the standard library has the parameter set, by
// that with the public key.
func encapsulates(t *testing.T, client *kms.Client, key *string) func(*testing.T, *kms.Client) {
	const algorithm = types.EncapsulationAlgorithmSpecMlKem
	out := must(client.Encapsulate(t.Context(), &kms.EncapsulateInput{KeyId: key, EncapsulationAlgorithm: algorithm}))(t)
	secrets := map[string][]byte{string(out.SharedSecretCiphertextBlob): out.SharedSecret}
	var info struct {
		Algorithm struct{ OID asn1.ObjectIdentifier }
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(must(client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: key}))(t).PublicKey, &info); err != nil {
		t.Fatal(err)
	}
	if public, err := mlkem.NewEncapsulationKey768(info.Key.Bytes); err == nil {
		secret, ciphertext := public.Encapsulate()
		secrets[string(ciphertext)] = secret
	}
	return func(t *testing.T, client *kms.Client) {
		for ciphertext, secret := range secrets {
			in := &kms.DecapsulateInput{KeyId: key, EncapsulationAlgorithm: algorithm, SharedSecretCiphertextBlob: []byte(ciphertext)}
			if got := must(client.Decapsulate(t.Context(), in))(t); !bytes.Equal(got.SharedSecret, secret) || len(secret) != 32 {
				t.Errorf("another secret, of %d bytes", len(got.SharedSecret))
			}
			in.SharedSecretCiphertextBlob = in.SharedSecretCiphertextBlob[1:]
			_, err := client.Decapsulate(t.Context(), in)
			if bad := new(types.InvalidCiphertextException); !errors.As(err, &bad) {
				t.Errorf("a ciphertext that is cut: %v", err)
			}
		}
	}
}

// TestServe makes a key of each family, uses it, and uses it again after a restart.
func TestServe(t *testing.T) {
	server := start(t)
	client := server.Client(t)
	lacks := strings.Fields(os.Getenv("KMS11_TOKEN_LACKS"))
	var checks []func(*testing.T, *kms.Client)
	for _, u := range uses {
		name := string(u.spec) + " " + string(u.usage)
		made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: u.spec, KeyUsage: u.usage})
		if slices.Contains(lacks, string(u.spec)) {
			if bad := new(types.UnsupportedOperationException); !errors.As(err, &bad) {
				t.Errorf("%s, which the token is said to lack: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Run(name, func(t *testing.T) {
			check := u.use(t, client, made.KeyMetadata.Arn)
			check(t, client)
			checks = append(checks, check)
		})
	}
	server.Stop(t)
	server.Restart(t)
	again := server.Client(t)
	for _, check := range checks {
		check(t, again)
	}
}
