package ops

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/kms"
)

// secretTexts are the members of requests that are texts and secret, or as good as.
func secretTexts() []string {
	return []string{"KeyStorePassword", "RawSecretAccessKey", "AccessKeyId", "GrantTokens", "GrantToken"}
}

// blobsOf gives every byte string in a request or an answer.
func blobsOf(v reflect.Value) (all [][]byte) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			all = blobsOf(v.Elem())
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			all = append(all, blobsOf(v.MapIndex(key))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				all = append(all, blobsOf(v.Field(i))...)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return [][]byte{bytes.Clone(v.Bytes())}
		}
		for i := range v.Len() {
			all = append(all, blobsOf(v.Index(i))...)
		}
	}
	return all
}

// loaded fills a request with secrets wherever it takes one, and with a key.
func loaded(v reflect.Value, keyID string, secret string) {
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case strings.HasSuffix(name, "KeyId") && field.Kind() == reflect.String && name != "AccessKeyId":
			field.SetString(keyID)
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Uint8:
			field.SetBytes([]byte(secret))
		case strings.HasPrefix(name, "GrantToken") && len(secret) > 1000:
			// No token is that long: it is repeated in the word about it, as at AWS.
			field.SetZero()
		case slices.Contains(secretTexts(), name) && field.Kind() == reflect.String:
			field.SetString(secret)
		case slices.Contains(secretTexts(), name):
			field.Set(reflect.ValueOf([]string{secret}))
		case field.Kind() == reflect.Pointer && field.Type().Elem().Kind() == reflect.Struct:
			field.Set(reflect.New(field.Type().Elem()))
			loaded(field.Elem(), keyID, secret)
		}
	}
}

// TestNoSecretInTheTrail runs every operation, many of them with success, and then looks for every
// byte string of every request and answer, and for texts that are secret, in the trail.
func TestNoSecretInTheTrail(t *testing.T) {
	h := newAudited(t)
	k := &keyring{harness: h.harness, keys: map[kind]*kms.KeyMetadata{}}
	for _, of := range []kind{{symmetricDefault, encryptDecrypt}, {"RSA_2048", encryptDecrypt}, {"ECC_NIST_P256", signVerify},
		{"HMAC_256", generateVerify}, {"ECC_NIST_P256", keyAgreement}} {
		k.keys[of] = k.createKey(in{"KeySpec": of.spec, "KeyUsage": of.usage})
	}
	var secrets [][]byte
	succeeded := map[string]bool{}
	run := func(op string, request any) {
		t.Helper()
		secrets = append(secrets, blobsOf(reflect.ValueOf(request))...)
		_, out, err := h.request(op, request)
		if out != nil {
			secrets = append(secrets, blobsOf(reflect.ValueOf(out))...)
		}
		if err == nil {
			succeeded[op] = true
		}
		if grant, ok := out.(*kms.CreateGrantResponse); ok {
			secrets = append(secrets, []byte(grant.GrantToken))
		}
	}
	key := k.symmetric().KeyId
	run("Encrypt", in{"KeyId": key, "Plaintext": []byte("a plaintext that must stay private"), "EncryptionContext": in{"a": "b"}})
	run("GenerateRandom", in{"NumberOfBytes": 32})
	run("CreateGrant", in{"KeyId": key, "GranteePrincipal": "arn:aws:iam::111122223333:root", "Operations": []string{"Decrypt"}})
	imported := k.createKey(in{"Origin": "EXTERNAL"})
	run("GetParametersForImport", in{"KeyId": imported.KeyId, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"})
	for _, u := range k.uses() {
		run(u.op, u.request)
	}
	run("EnableKey", in{"KeyId": key})
	const secret = "SECRETSECRETSECRETSECRETSECR" // of a form that passes most validation
	secrets = append(secrets, []byte(secret))
	for _, operation := range kms.Operations() {
		request := operation.NewRequest()
		loaded(reflect.ValueOf(request).Elem(), key, secret)
		run(operation.Name, request)
		long := strings.Repeat(secret, 300) // refused with a word about the value
		loaded(reflect.ValueOf(request).Elem(), key, long)
		run(operation.Name, request)
	}
	if len(succeeded) < 25 {
		t.Errorf("only %d operations succeeded", len(succeeded))
	}

	var text bytes.Buffer
	names := map[string]bool{}
	for line, err := range audit.Lines(h.dir, 1) {
		if err != nil {
			t.Fatal(err)
		}
		text.Write(line)
	}
	for _, r := range h.records() {
		names[r.EventName] = true
	}
	if len(names) < len(kms.Operations()) {
		t.Errorf("records of %d operations only", len(names))
	}
	slices.SortFunc(secrets, bytes.Compare)
	searched := 0
	for _, secret := range slices.CompactFunc(secrets, bytes.Equal) {
		if len(secret) < 8 {
			continue // could be there by chance
		}
		searched++
		for _, form := range []string{string(secret), base64.StdEncoding.EncodeToString(secret)[:len(secret)/3*4], hex.EncodeToString(secret)} {
			if at := bytes.Index(text.Bytes(), []byte(form)); at >= 0 {
				t.Errorf("the trail holds %.60q: %.400s", form, text.Bytes()[max(0, at-300):])
			}
		}
	}
	if searched < 25 || !strings.Contains(text.String(), key) { // else the search proves nothing
		t.Errorf("searched for %d secrets", searched)
	}
}
