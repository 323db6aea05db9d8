package integration_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestNothingSecretIsLeftAbout uses a server in every way a secret passes through it, then looks
// for the secrets in its log and in every file it wrote.
func TestNothingSecretIsLeftAbout(t *testing.T) {
	server := kms11test.Start(t)
	ctx := t.Context()
	client := server.Client(t)
	key := createKey(t, client)

	plaintext := []byte("a plaintext that must stay private")
	sealed := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: plaintext}))(t)
	must(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))(t)
	dataKey := must(client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId, KeySpec: types.DataKeySpecAes256}))(t).Plaintext
	random := must(client.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(32)}))(t).Plaintext
	pair := must(client.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: key.KeyId, KeyPairSpec: types.DataKeyPairSpecEccNistP384}))(t)
	agrees := newKey(t, client, types.KeySpecEccNistP384, types.KeyUsageTypeKeyAgreement)
	shared := must(derive(t, client, agrees.KeyId, pair.PublicKey))(t).SharedSecret
	rsaKey := newKey(t, client, types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt)
	rsaPlaintext := []byte("a plaintext for RSA only")
	const oaepSHA256 = types.EncryptionAlgorithmSpecRsaesOaepSha256
	rsaSealed := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: rsaKey.KeyId, Plaintext: rsaPlaintext, EncryptionAlgorithm: oaepSHA256}))(t)
	must(client.Decrypt(ctx, &kms.DecryptInput{KeyId: rsaKey.KeyId, CiphertextBlob: rsaSealed.CiphertextBlob, EncryptionAlgorithm: oaepSHA256}))(t)
	// Refused requests are the likeliest to be logged with what they carried.
	tooLong := bytes.Repeat([]byte("too long a plaintext "), 200)
	if _, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: tooLong}); err == nil {
		t.Error("4,200 bytes were encrypted")
	}
	if _, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String("no-key"), Plaintext: plaintext}); err == nil {
		t.Error("a key that is none encrypted")
	}
	walk(t, server.Dir, func(path string, info fs.FileInfo) {
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v: others can reach it", path, info.Mode())
		}
	})
	server.Stop(t)

	secrets := map[string][]byte{
		"secret access key":      []byte(server.Admin(t).Key.SecretAccessKey),
		"PIN":                    readPIN(t, server.Dir, userPINFile),
		"security officer's PIN": readPIN(t, server.Dir, soPINFile),
		"plaintext":              plaintext,
		"data key":               dataKey,
		"random bytes":           random,
		"refused plaintext":      tooLong[:42],
		"private data key":       pair.PrivateKeyPlaintext,
		"shared secret":          shared,
		"RSA plaintext":          rsaPlaintext,
	}
	// The files that exist to hold a secret.
	holders := map[string]string{"secret access key": "admin.env", "PIN": userPINFile, "security officer's PIN": soPINFile}

	for name, secret := range secrets {
		if form := holds([]byte(server.Log(t)), secret); form != "" {
			t.Errorf("the log holds the %s%s", name, form)
		}
	}
	files, inHolders := 0, 0
	walk(t, server.Dir, func(path string, info fs.FileInfo) {
		if !info.Mode().IsRegular() {
			return
		}
		files++
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, secret := range secrets {
			switch form := holds(data, secret); {
			case form != "" && path == filepath.Join(server.Dir, holders[name]):
				inHolders++
			case form != "":
				t.Errorf("%s holds the %s%s", path, name, form)
			}
		}
	})
	if files < 5 { // admin.env, two PINs, the keystore, the token's objects
		t.Errorf("looked at %d files only", files)
	}
	if inHolders != len(holders) { // else the search itself finds nothing
		t.Errorf("%d of %d secrets are where they belong", inHolders, len(holders))
	}
}

// holds gives how secret occurs in data, or "". A secret of fewer than 8 bytes could occur by
// chance, and is too short besides.
func holds(data, secret []byte) string {
	if len(secret) < 8 {
		return " (of fewer than 8 bytes)"
	}
	digits := hex.EncodeToString(secret)
	for form, text := range map[string]string{
		" as it is":          string(secret),
		" in base64":         base64.StdEncoding.EncodeToString(secret),
		" in URL base64":     base64.RawURLEncoding.EncodeToString(secret),
		" in hex":            digits,
		" in upper-case hex": strings.ToUpper(digits),
	} {
		if bytes.Contains(data, []byte(text)) {
			return form
		}
	}
	return ""
}

func walk(t testing.TB, dir string, visit func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		visit(path, info)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// userPINFile and soPINFile hold the PINs of the token that serve makes, below the data directory.
const (
	userPINFile = "token/user.pin"
	soPINFile   = "token/so.pin"
)

func readPIN(t testing.TB, dir, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimRight(data, "\n")
}
