package ops_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/testkit"
)

// TestNothingSecretAtRest looks for keys that are known out here in the keystore, in the token's
// files, in what package hsm logs and in the text of errors. No test from outside can: it knows no
// key.
func TestNothingSecretAtRest(t *testing.T) {
	hsmtest.Require(t, hsmtest.GoneStorage)
	var log testkit.Log
	token := hsmtest.Open(t, hsm.Config{
		URI:    hsmtest.NewURI(t),
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	domain := hsmtest.Domain(t, token)
	o := newOutside(t, domain)
	administrator, err := o.service.CreateAdministrator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.service.Credential(t.Context(), administrator.ID); err != nil {
		t.Fatal(err)
	}
	plaintext := []byte("a plaintext that must stay private")
	out := o.must("Encrypt", kms.EncryptRequest{KeyId: singleKey, Plaintext: plaintext}).(*kms.EncryptResponse)
	o.must("Decrypt", kms.DecryptRequest{CiphertextBlob: out.CiphertextBlob})
	dataKey := o.must("GenerateDataKey", kms.GenerateDataKeyRequest{KeyId: singleKey, KeySpec: kms.DataKeySpecAes256}).(*kms.GenerateDataKeyResponse)
	pair := o.must("GenerateDataKeyPair", kms.GenerateDataKeyPairRequest{KeyId: singleKey, KeyPairSpec: kms.DataKeyPairSpecEccNistP256}).(*kms.GenerateDataKeyPairResponse)
	b, _ := o.open(out.CiphertextBlob, singleKey, nil)

	var said bytes.Buffer
	damaged := bytes.Clone(out.CiphertextBlob)
	damaged[len(damaged)-1] ^= 1
	for name, in := range map[string]any{
		"Decrypt":         kms.DecryptRequest{CiphertextBlob: damaged},
		"Encrypt":         kms.EncryptRequest{KeyId: "none", Plaintext: plaintext},
		"GenerateDataKey": kms.GenerateDataKeyRequest{KeyId: singleKey},
		"ReEncrypt":       kms.ReEncryptRequest{CiphertextBlob: damaged, DestinationKeyId: multiKey},
	} {
		_, err := o.invoke(name, in)
		if err == nil {
			t.Errorf("%s succeeds", name)
		}
		fmt.Fprintf(&said, "%v %+v %#v\n", err, err, kms.AsError(err))
	}
	o.close()

	secrets := map[string][]byte{
		"PIN":               []byte(os.Getenv("KMS11_HSMTEST_PIN")),
		"secret access key": []byte(administrator.Secret),
		"plaintext":         plaintext,
		"data key":          dataKey.Plaintext,
		"private key":       pair.PrivateKeyPlaintext,
		"message key":       b.messageKey(t, o.materials[singleKey][1]),
	}
	for id, materials := range o.materials {
		for i, material := range materials {
			secrets[fmt.Sprintf("material %d of %s", i+1, id)] = material
		}
	}
	places := map[string][]byte{"the log": []byte(log.String()), "the errors": said.Bytes()}
	for _, root := range []string{o.path, hsmtest.TokenDir(t)} {
		readFiles(t, root, places)
	}
	if len(places) < 6 { // the log, the errors, the keystore, the domain's three keys
		t.Errorf("looked in %d places only", len(places))
	}
	for place, data := range places {
		for name, secret := range secrets {
			if form := findSecret(t, data, secret); form != "" {
				t.Errorf("%s holds the %s %s", place, name, form)
			}
		}
	}
}

// findSecret gives the form in which data holds the secret, or "".
func findSecret(t *testing.T, data, secret []byte) string {
	t.Helper()
	if len(secret) < 8 {
		t.Fatalf("a secret of %d bytes can occur by chance", len(secret))
	}
	forms := map[string]string{
		"as it is":          string(secret),
		"in hex":            hex.EncodeToString(secret),
		"in upper-case hex": strings.ToUpper(hex.EncodeToString(secret)),
		"as Go prints it":   strings.Trim(fmt.Sprint(secret), "[]"),
	}
	// In base64 a secret looks different behind 0, 1 or 2 bytes. What depends on the neighbours is
	// left away: 4 characters at each end.
	for before := range 3 {
		behind := append(make([]byte, before), secret...)
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "URL base64": base64.RawURLEncoding} {
			text := encoding.EncodeToString(behind)
			forms[fmt.Sprintf("in %s, shifted by %d", name, before)] = text[4 : len(text)-4]
		}
	}
	for form, text := range forms {
		if bytes.Contains(data, []byte(text)) {
			return form
		}
	}
	return ""
}

// TestFindSecret shows that the search finds.
func TestFindSecret(t *testing.T) {
	secret := []byte("\xfb\xff secret \xbf\xfe")
	for _, text := range []string{
		string(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprint(secret),
		base64.StdEncoding.EncodeToString(secret),
		base64.StdEncoding.EncodeToString([]byte("a" + string(secret) + "b")),
		base64.URLEncoding.EncodeToString([]byte("ab" + string(secret))),
		base64.RawURLEncoding.EncodeToString([]byte("abc" + string(secret) + "bcd")),
	} {
		if findSecret(t, []byte("before "+text+" after"), secret) == "" {
			t.Errorf("not found in %q", text)
		}
	}
	if form := findSecret(t, []byte("before and after"), secret); form != "" {
		t.Errorf("found %s where it is not", form)
	}
}

func readFiles(t *testing.T, root string, into map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			into[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
