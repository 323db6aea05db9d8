package integration_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestNothingSecretAtDebugLevel has a server log all it can about requests that carry secrets, good
// and bad ones, and about keys that it hands out.
func TestNothingSecretAtDebugLevel(t *testing.T) {
	server := startTalking(t)
	client := server.Client(t)
	ctx := t.Context()
	key := createKey(t, client).KeyId
	plaintext := "a plaintext that must stay private"
	encoded := base64.StdEncoding.EncodeToString([]byte(plaintext))

	// Requests that fail at every stage.
	for _, c := range []struct{ operation, body string }{
		{"Encrypt", `{"KeyId":"` + *key + `","Plaintext":"` + encoded + `"`},
		{"Encrypt", `{"KeyId":"` + *key + `","Plaintext":"` + plaintext + `"}`},
		{"Encrypt", `{"KeyId":"` + *key + `","Plaintext":{"` + encoded + `":1}}`},
		{"Encrypt", `{"KeyId":"` + *key + `","EncryptionAlgorithm":"RSAES_OAEP_SHA_1","Plaintext":"` + encoded + `"}`},
		{"Encrypt", `{"KeyId":"` + unknownKey + `","Plaintext":"` + encoded + `"}`},
		{"Encrypt", `{"Plaintext":"` + encoded + `"}`},
		{"Encrypt", `{"KeyId":"` + *key + `","Plaintext":"` + strings.Repeat(encoded, 200) + `"}`},
		{"Sign", `{"KeyId":"` + *key + `","SigningAlgorithm":"ECDSA_SHA_256","Message":"` + encoded + `"}`},
		{"Decrypt", `{"CiphertextBlob":"` + encoded + `"}`},
		{"Nope", `{"Plaintext":"` + encoded + `"}`},
	} {
		answer := server.Call(t, c.operation, []byte(c.body))
		if answer.Status < 400 || answer.Status > 499 {
			t.Errorf("%s: got %d", c.operation, answer.Status)
		}
		if form := holdsAnywhere(answer.Body, []byte(plaintext)); form != "" {
			t.Errorf("the answer to %s repeats the plaintext%s", c.operation, form)
		}
	}
	unsigned := server.NewRequest(t, "Encrypt", []byte(`{"Plaintext":"`+encoded+`"}`))
	wantFault(t, must(kms11test.Send(unsigned))(t), "MissingAuthenticationTokenException", "")

	sealed := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte(plaintext)}))(t)
	must(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))(t)
	pair := must(client.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: key, KeyPairSpec: types.DataKeyPairSpecEccNistP256}))(t)
	secrets := map[string][]byte{
		"plaintext":              []byte(plaintext),
		"secret access key":      []byte(server.Admin(t).Key.SecretAccessKey),
		"PIN":                    readPIN(t, server.Dir, userPINFile),
		"security officer's PIN": readPIN(t, server.Dir, soPINFile),
		"private key":            pair.PrivateKeyPlaintext,
		"data key":               must(client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key, KeySpec: types.DataKeySpecAes256}))(t).Plaintext,
		"random bytes":           must(client.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(32)}))(t).Plaintext,
	}
	wantUnharmed(t, server)
	server.Stop(t)

	log := server.Log(t)
	if refusals := strings.Count(log, `"level":"DEBUG"`); refusals < 10 {
		t.Errorf("the log tells of %d things: the search proves nothing", refusals)
	}
	for name, secret := range secrets {
		if form := holdsAnywhere([]byte(log), secret); form != "" {
			t.Errorf("the log holds the %s%s", name, form)
		}
	}
}

// holdsAnywhere is holds for a secret that may be part of something longer: base64 looks different
// then, by where in a group of three bytes the secret begins.
func holdsAnywhere(data, secret []byte) string {
	for skip := range 3 {
		part := secret[skip:]
		if form := holds(data, part[:len(part)/3*3]); form != "" {
			return fmt.Sprintf("%s, but for %d bytes", form, skip)
		}
	}
	return ""
}
