package ops

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
)

// testGrantTokens gives every operation that takes grant tokens some that are none.
func testGrantTokens(t *testing.T, k *keyring) {
	repeated := func(n int, token string) (tokens []string) {
		for range n {
			tokens = append(tokens, token)
		}
		return tokens
	}
	garbage := fault{kms.InvalidGrantTokenException, "The grant token is not valid."}
	for _, u := range k.uses() {
		operation, _ := kms.OperationByName(u.op)
		taken := !strings.HasSuffix(u.op, "ableKey") && u.op != "UpdateKeyDescription"
		if operation.GrantTokens != taken {
			t.Errorf("%s takes grant tokens: %t", u.op, operation.GrantTokens)
		}
		if !taken { // an unknown member is ignored
			k.with(u.key.KeyId, asItIs, func() { k.allowed(u.op, u.but("GrantTokens", []string{"garbage"})) })
			continue
		}
		k.allowed(u.op, u.but("GrantTokens", []string{}))
		for _, token := range []string{"garbage", "AAAA", base64.StdEncoding.EncodeToString(make([]byte, 200)), strings.Repeat("A", 8192)} {
			k.refused(u.op, u.but("GrantTokens", []string{token}), garbage)
		}
		k.refused(u.op, u.but("GrantTokens", repeated(10, "AAAA")), garbage)
		k.refused(u.op, u.but("GrantTokens", repeated(11, "A")), violation("'[A, A, A, A, A, A, A, A, A, A, A]' at 'grantTokens' failed to satisfy constraint: "+
			"Member must have length less than or equal to 10"))
		for _, token := range []string{"", strings.Repeat("A", 8193)} {
			k.refused(u.op, u.but("GrantTokens", []string{token}), violation("'["+token+"]' at 'grantTokens' failed to satisfy constraint: Member must satisfy constraint: "+
				"[Member must have length less than or equal to 8192, Member must have length greater than or equal to 1]"))
		}
	}
}

// withContext is a request with a member written as given: a map would put it in order.
func withContext(t testing.TB, request in, member, text string) json.RawMessage {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if text == "" {
		return body
	}
	return json.RawMessage(fmt.Sprintf(`%s,%q:%s}`, body[:len(body)-1], member, text))
}

// Encryption contexts as JSON. Those of one line are the same, those of different lines are not.
func sameContexts() [][]string {
	return [][]string{
		{``, `{}`, `null`, `{ }`},
		{`{"a":"1","b":"2"}`, `{"b":"2","a":"1"}`, `{"b":"x","a":"1","b":"2"}`, `{"\u0061":"1","b":"\u0032"}`},
		{`{"a":"1"}`},
		{`{"b":"2"}`},
		{`{"a":"1","b":"2","c":""}`},
		{`{"a":"2","b":"1"}`},
		{`{"A":"1","b":"2"}`},
		{`{"a":"1","B":"2"}`},
		{`{"a":"1","b":"2 "}`},
		{`{"a":"X"}`},
		{`{"a":"x"}`},
		{`{"a":""}`},
		{`{"":"a"}`},
		{`{"":""}`},
		{`{"ab":"c"}`},
		{`{"a":"bc"}`},
		{`{"a":"b","c":"d"}`},
		{`{"a":"bcd"}`},
		{`{"a":"b\u0000c"}`},
		{`{"a":"b\u0000\u0000\u0000\u0001cd"}`}, // what lengths of the keys alone would not keep apart
		{`{"a":"b\u0000\u0000\u0000\u0001c\u0000\u0000\u0000\u0001d"}`},
		{`{"aws:kms":"allowed"}`},
		{`{"é":"composed"}`, `{"\u00e9":"composed"}`},
		{`{"e\u0301":"composed"}`}, // the same letter in two code points is another text
		{`{"\ud83d\udd11":"key"}`, `{"🔑":"key"}`},
	}
}

// testContexts encrypts under every context and decrypts under every other.
func testContexts(t *testing.T, k *keyring) {
	key := k.symmetric()
	plaintext := []byte("under a context")
	corrupt := fault{kms.InvalidCiphertextException, ""}
	invoke := func(op string, request in, member, text string) (any, error) {
		return k.invoke(op, withContext(t, request, member, text))
	}
	lines := sameContexts()
	for i, line := range lines {
		for _, made := range line {
			out, err := invoke("Encrypt", in{"KeyId": key.KeyId, "Plaintext": plaintext}, "EncryptionContext", made)
			if err != nil {
				t.Fatalf("%s: %v", made, err)
			}
			blob := out.(*kms.EncryptResponse).CiphertextBlob
			for j, others := range lines {
				for _, other := range others {
					out, err := invoke("Decrypt", in{"CiphertextBlob": blob}, "EncryptionContext", other)
					_, reErr := invoke("ReEncrypt", in{"CiphertextBlob": blob, "DestinationKeyId": key.KeyId, "DryRun": true}, "SourceEncryptionContext", other)
					if i != j {
						wantError(t, err, corrupt.code, corrupt.text)
						wantError(t, reErr, corrupt.code, corrupt.text)
						continue
					}
					wantError(t, reErr, kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set.")
					if err != nil || !bytes.Equal(out.(*kms.DecryptResponse).Plaintext, plaintext) {
						t.Errorf("made under %s, opened under %s: %v", made, other, err)
					}
				}
			}
		}
	}
	testContextsOfOperations(t, k)
	testBadContexts(t, k)
}

// testContextsOfOperations: every operation that makes a ciphertext binds it to the context.
func testContextsOfOperations(t *testing.T, k *keyring) {
	key, other := k.symmetric(), k.createKey(nil)
	context, wrong := in{"Purpose": "test", "b": "2"}, in{"purpose": "test", "b": "2"}
	corrupt := fault{kms.InvalidCiphertextException, ""}
	bound := func(blob []byte, context in) {
		t.Helper()
		k.allowed("Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": context})
		k.refused("Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": wrong}, corrupt)
		k.refused("Decrypt", in{"CiphertextBlob": blob}, corrupt)
		k.refused("ReEncrypt", in{"CiphertextBlob": blob, "DestinationKeyId": other.KeyId, "DestinationEncryptionContext": context}, corrupt)
	}
	of := func(more in) in {
		request := in{"KeyId": key.KeyId, "EncryptionContext": context}
		maps.Copy(request, more)
		return request
	}
	blob := k.allowed("Encrypt", of(in{"Plaintext": []byte("x")})).(*kms.EncryptResponse).CiphertextBlob
	bound(blob, context)
	bound(k.allowed("GenerateDataKey", of(in{"NumberOfBytes": 8})).(*kms.GenerateDataKeyResponse).CiphertextBlob, context)
	bound(k.allowed("GenerateDataKeyWithoutPlaintext", of(in{"NumberOfBytes": 8})).(*kms.GenerateDataKeyWithoutPlaintextResponse).CiphertextBlob, context)
	bound(k.allowed("GenerateDataKeyPair", of(in{"KeyPairSpec": "ECC_NIST_P256"})).(*kms.GenerateDataKeyPairResponse).PrivateKeyCiphertextBlob, context)
	bound(k.allowed("GenerateDataKeyPairWithoutPlaintext", of(in{"KeyPairSpec": "ECC_NIST_P256"})).(*kms.GenerateDataKeyPairWithoutPlaintextResponse).PrivateKeyCiphertextBlob, context)
	// ReEncrypt takes a context off and puts another on.
	moved := in{"moved": "yes"}
	again := k.allowed("ReEncrypt", in{"CiphertextBlob": blob, "SourceEncryptionContext": context, "DestinationKeyId": other.KeyId,
		"DestinationEncryptionContext": moved}).(*kms.ReEncryptResponse).CiphertextBlob
	bound(again, moved)
	k.refused("Decrypt", in{"CiphertextBlob": again, "EncryptionContext": context}, corrupt)
	bare := k.allowed("ReEncrypt", in{"CiphertextBlob": again, "SourceEncryptionContext": moved, "DestinationKeyId": key.KeyId}).(*kms.ReEncryptResponse).CiphertextBlob
	k.allowed("Decrypt", in{"CiphertextBlob": bare})
	k.refused("Decrypt", in{"CiphertextBlob": bare, "EncryptionContext": moved}, corrupt)

	// An RSA key takes an empty context only.
	const oaep = "RSAES_OAEP_SHA_1"
	rsa := k.key("RSA_2048", encryptDecrypt)
	refused := validation("EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs.")
	encrypt := in{"KeyId": rsa.KeyId, "Plaintext": []byte("x"), "EncryptionAlgorithm": oaep, "EncryptionContext": in{}}
	padded := k.allowed("Encrypt", encrypt).(*kms.EncryptResponse).CiphertextBlob
	encrypt["EncryptionContext"] = context
	k.refused("Encrypt", encrypt, refused)
	decrypt := in{"KeyId": rsa.KeyId, "CiphertextBlob": padded, "EncryptionAlgorithm": oaep, "EncryptionContext": in{}}
	k.allowed("Decrypt", decrypt)
	decrypt["EncryptionContext"] = context
	k.refused("Decrypt", decrypt, refused)
	k.refused("ReEncrypt", in{"SourceKeyId": rsa.KeyId, "CiphertextBlob": padded, "SourceEncryptionAlgorithm": oaep, "SourceEncryptionContext": context,
		"DestinationKeyId": key.KeyId}, refused)
	k.refused("ReEncrypt", in{"CiphertextBlob": bare, "DestinationKeyId": rsa.KeyId, "DestinationEncryptionAlgorithm": oaep,
		"DestinationEncryptionContext": context}, refused)
}

// testBadContexts sends what is no map of texts. Anything else would make two contexts one.
func testBadContexts(t *testing.T, k *keyring) {
	for _, context := range []string{`[]`, `"a"`, `1`, `{"a":1}`, `{"a":null}`, `{"a":{}}`, `{"a":["b"]}`, `{"a":true}`} {
		for op, more := range map[string]in{"Encrypt": {"Plaintext": []byte("x")}, "GenerateDataKey": {"NumberOfBytes": 1}, "Decrypt": {"CiphertextBlob": []byte("x")}} {
			request := in{"KeyId": k.symmetric().KeyId}
			maps.Copy(request, more)
			_, err := k.invoke(op, withContext(t, request, "EncryptionContext", context))
			if code := kms.AsError(err).Code; err == nil || code != kms.SerializationException && code != kms.ValidationException {
				t.Errorf("%s with the context %s: %v", op, context, err)
			}
		}
	}
}
