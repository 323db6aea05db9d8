package kms

import (
	"errors"
	"maps"
	"slices"
	"testing"
)

// The texts marked C are known from other AWS services of the same framework.
func TestSerializationTexts(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"string for an integer (C)", `{"NumberOfBytes":"1"}`, "STRING_VALUE can not be converted to an Integer"},
		{"boolean for an integer", `{"NumberOfBytes":true}`, "TRUE_VALUE can not be converted to an Integer"},
		{"fraction for an integer", `{"NumberOfBytes":1.5}`, "DECIMAL_VALUE can not be converted to an Integer"},
		{"exponent for an integer", `{"NumberOfBytes":1e2}`, "DECIMAL_VALUE can not be converted to an Integer"},
		{"33 bits", `{"NumberOfBytes":4294967297}`, "NUMBER_VALUE can not be converted to an Integer"},
		{"object for a scalar (C)", `{"NumberOfBytes":{}}`, "Start of structure or map found where not expected."},
		{"list for a scalar (C)", `{"NumberOfBytes":[]}`, "Start of list found where not expected"},
		{"number for a string (C)", `{"CustomKeyStoreId":1}`, "NUMBER_VALUE can not be converted to a String"},
		{"boolean for a string", `{"CustomKeyStoreId":false}`, "FALSE_VALUE can not be converted to a String"},
		{"scalar for a structure (C)", `{"Recipient":"x"}`, "Expected null"},
		{"list for a structure (C)", `{"Recipient":[]}`, "Start of list found where not expected"},
		{"number for a blob", `{"Recipient":{"AttestationDocument":1}}`, "NUMBER_VALUE can not be converted to a Blob"},
		{"unpadded base64", `{"Recipient":{"AttestationDocument":"AAA"}}`,
			"Base64 encoded length is expected a multiple of 4 bytes but found: 3"},
		{"URL base64", `{"Recipient":{"AttestationDocument":"__-_"}}`, "Invalid Base64 character"},
		{"line break in base64", `{"Recipient":{"AttestationDocument":"AA\n\n\n\n=="}}`, "Invalid Base64 character"},
		{"half an escape in base64", `{"Recipient":{"AttestationDocument":"\ud800"}}`, "Invalid Base64 character"},
		{"bits after the end", `{"Recipient":{"AttestationDocument":"AB=="}}`, "Invalid Base64 character"},
		{"half a surrogate pair", `{"CustomKeyStoreId":"\ud800"}`, "Unpaired surrogate in a string"},
		{"list for the request", `[]`, "Start of list found where not expected"},
		{"string for the request", `"x"`, "Expected null"},
		{"type before validation", `{"NumberOfBytes":0,"CustomKeyStoreId":1}`, "NUMBER_VALUE can not be converted to a String"},
		{"not JSON", `x`, ""},
		{"cut off", `{"NumberOfBytes":1`, ""},
		{"two values", `{"NumberOfBytes":1}{}`, ""},
		{"trailing garbage", `{"NumberOfBytes":1} x`, ""},
		{"trailing comma", `{"NumberOfBytes":1,}`, ""},
		{"white space only", ` `, ""},
		{"invalid UTF-8", "{\"CustomKeyStoreId\":\"\xff\"}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decodeOp(t, "GenerateRandom", c.body)
			checkError(t, err, SerializationException, c.want)
		})
	}
	for body, want := range map[string]string{
		`{"EncryptionContext":"x"}`:         "Expected map or null",
		`{"EncryptionContext":[]}`:          "Start of list found where not expected",
		`{"EncryptionContext":{"a":1}}`:     "NUMBER_VALUE can not be converted to a String",
		`{"EncryptionContext":{"a":["b"]}}`: "Start of list found where not expected",
		`{"GrantTokens":"x"}`:               "Expected list or null",
		`{"GrantTokens":{}}`:                "Start of structure or map found where not expected.",
		`{"DryRun":"true"}`:                 "STRING_VALUE can not be converted to a Boolean",
	} {
		_, err := decodeOp(t, "Encrypt", body)
		checkError(t, err, SerializationException, want)
	}
}

func TestDecodeLiberties(t *testing.T) {
	for name, body := range map[string]string{
		"plain":           `{"KeyId":"k","Plaintext":"aGk=","GrantTokens":["t"],"DryRun":true}`,
		"white space":     " {\r\n\"KeyId\" :\t\"k\" , \"Plaintext\":\"aGk=\",\"GrantTokens\" : [ \"t\" ] ,\"DryRun\":true } \n",
		"unknown members": `{"Zz":[{"a":"]}\\\""},1.5e3,null],"KeyId":"k","Plaintext":"aGk=","GrantTokens":["t"],"DryRun":true,"q":{}}`,
		"unknown text":    `{"\ud800":"\ud800","KeyId":"k","Plaintext":"aGk=","GrantTokens":["t"],"DryRun":true}`,
		"escaped names":   `{"\u004beyId":"k","Plaintext":"aGk=","GrantTokens":["t"],"DryRun":true}`,
		"escaped values":  `{"KeyId":"\u006b","Plaintext":"a\u0047k=","GrantTokens":["t"],"DryRun":true}`,
		"last one wins":   `{"KeyId":"x","KeyId":"k","Plaintext":"AA==","Plaintext":"aGk=","GrantTokens":["t"],"DryRun":true}`,
		"empty context":   `{"EncryptionContext":{},"KeyId":"k","Plaintext":"aGk=","GrantTokens":["t"],"DryRun":true}`,
		"null context":    `{"EncryptionContext":null,"KeyId":"k","Plaintext":"aGk=","GrantTokens":["t"],"DryRun":true}`,
	} {
		r := EncryptRequest{EncryptionAlgorithm: "left over"}
		if err := r.Decode([]byte(body)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.KeyId != "k" || string(r.Plaintext) != "hi" || !slices.Equal(r.GrantTokens, []string{"t"}) ||
			!r.DryRun || r.EncryptionContext != nil || r.EncryptionAlgorithm != "" {
			t.Errorf("%s: wrong contents", name)
		}
	}
}

// Two contexts that differ must not decode to the same map: the context is authenticated.
func TestEncryptionContexts(t *testing.T) {
	for context, want := range map[string]map[string]string{
		`{"a":"b"}`:                 {"a": "b"},
		`{"a":"b","a":"c"}`:         {"a": "c"},
		`{"":""}`:                   {"": ""},
		`{"\u00e9":"\ud83d\ude00"}`: {"é": "😀"},
		`{"a":"\ufffd"}`:            {"a": "\ufffd"},
		`{"a\u0000b":"/\/"}`:        {"a\x00b": "//"},
	} {
		r, err := decodeOp(t, "Encrypt", `{"KeyId":"k","Plaintext":"AA==","EncryptionContext":`+context+`}`)
		if err != nil {
			t.Errorf("%s: %v", context, err)
		} else if got := r.(*EncryptRequest).EncryptionContext; !maps.Equal(got, want) {
			t.Errorf("%s: got %q", context, got)
		}
	}
	for _, context := range []string{
		`{"a":"\ud800"}`, `{"a":"\uDC00"}`, `{"\udbff":"a"}`, `{"a":"\ud800\ud800"}`, `{"a":"\ud800x"}`,
		`{"a":"\ud800\n\udc00"}`, "{\"a\":\"\xed\xa0\x80\"}", "{\"a\xff\":\"b\"}",
	} {
		_, err := decodeOp(t, "Encrypt", `{"KeyId":"k","Plaintext":"AA==","EncryptionContext":`+context+`}`)
		if !errors.Is(err, SerializationException) {
			t.Errorf("%q: %v", context, err)
		}
	}
}

func TestDecodeKeepsNothingOfTheBody(t *testing.T) {
	body := []byte(`{"KeyId":"key","Plaintext":"aGk=","EncryptionContext":{"a":"b"}}`)
	var r EncryptRequest
	if err := r.Decode(body); err != nil {
		t.Fatal(err)
	}
	clear(body)
	if r.KeyId != "key" || string(r.Plaintext) != "hi" || r.EncryptionContext["a"] != "b" {
		t.Error("the request changed with the body")
	}
}
