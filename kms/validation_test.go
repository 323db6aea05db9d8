package kms

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

const oneError = "1 validation error detected: "

// decodeOp decodes a body as the request of an operation.
func decodeOp(t *testing.T, op, body string) (Request, error) {
	t.Helper()
	operation, ok := OperationByName(op)
	if !ok {
		t.Fatalf("no operation %s", op)
	}
	r := operation.NewRequest()
	return r, r.Decode([]byte(body))
}

// checkError compares the code and text of an error.
func checkError(t *testing.T, err error, code ErrorCode, message string) {
	t.Helper()
	var known *Error
	if !errors.As(err, &known) {
		t.Errorf("error %v, want %s", err, code)
	} else if known.Code != code || known.Message != message {
		t.Errorf("got  %s: %s\nwant %s: %s", known.Code, known.Message, code, message)
	}
}

// blob is the base64 of n zero bytes.
func blob(n int) string {
	text, _ := json.Marshal(make([]byte, n))
	return string(text)
}

// The texts marked R are recorded from AWS KMS, those marked C from other AWS services of the same
// framework; the others follow the same forms.
func TestValidationTexts(t *testing.T) {
	for _, c := range []struct{ name, op, body, want string }{
		{"too small (R)", "GenerateRandom", `{"NumberOfBytes":0}`, oneError +
			"Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"too large (R)", "GenerateRandom", `{"NumberOfBytes":1025}`, oneError +
			"Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024"},
		{"enum (R)", "GenerateMac", `{"KeyId":"k","Message":"AA==","MacAlgorithm":"INVALID"}`, oneError +
			"Value 'INVALID' at 'macAlgorithm' failed to satisfy constraint: " +
			"Member must satisfy enum value set: [HMAC_SHA_224, HMAC_SHA_256, HMAC_SHA_384, HMAC_SHA_512]"},
		{"list member (R)", "TagResource", `{"KeyId":"k","Tags":[{"TagKey":"a","TagValue":"` + strings.Repeat("v", 257) + `"}]}`, oneError +
			"Value '" + strings.Repeat("v", 257) + "' at 'tags.1.member.tagValue' failed to satisfy constraint: " +
			"Member must have length less than or equal to 256"},
		{"sensitive, too long (R)", "Encrypt", `{"KeyId":"k","Plaintext":` + blob(4097) + `}`, oneError +
			"Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"},
		{"sensitive, too short (R)", "Encrypt", `{"KeyId":"k","Plaintext":""}`, oneError +
			"Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"missing (C)", "GetKeyPolicy", `{}`, oneError +
			"Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{"null is missing", "GetKeyPolicy", `{"KeyId":null}`, oneError +
			"Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{"empty body", "GetKeyPolicy", ``, oneError +
			"Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{"names are case-sensitive", "GetKeyPolicy", `{"keyId":"k"}`, oneError +
			"Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{"pattern (C)", "CreateAlias", `{"AliasName":"alias/a b","TargetKeyId":"k"}`, oneError +
			"Value 'alias/a b' at 'aliasName' failed to satisfy constraint: " +
			"Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
		{"pattern matches the whole value", "CreateAlias", `{"AliasName":"alias/a\n","TargetKeyId":"k"}`, oneError +
			"Value 'alias/a\n' at 'aliasName' failed to satisfy constraint: " +
			"Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
		{"pattern and length (C)", "CreateAlias", `{"AliasName":"","TargetKeyId":"k"}`, "2 validation errors detected: " +
			"Value '' at 'aliasName' failed to satisfy constraint: " +
			"Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$; " +
			"Value '' at 'aliasName' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"several, in the model's order", "Encrypt", `{"EncryptionAlgorithm":"ROT13","Plaintext":""}`, "3 validation errors detected: " +
			"Value null at 'keyId' failed to satisfy constraint: Member must not be null; " +
			"Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
			"Value 'ROT13' at 'encryptionAlgorithm' failed to satisfy constraint: " +
			"Member must satisfy enum value set: [SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE]"},
		{"enum in a list (C)", "Decrypt", `{"CiphertextBlob":"AA==","DryRunModifiers":["IGNORE_CIPHERTEXT","X"]}`, oneError +
			"Value '[IGNORE_CIPHERTEXT, X]' at 'dryRunModifiers' failed to satisfy constraint: " +
			"Member must satisfy constraint: [Member must satisfy enum value set: [IGNORE_CIPHERTEXT]]"},
		{"string in a list (C)", "UntagResource", `{"KeyId":"k","TagKeys":["a",""]}`, oneError +
			"Value '[a, ]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: " +
			"[Member must have length less than or equal to 128, Member must have length greater than or equal to 1]"},
		{"list too long", "DescribeKey", `{"KeyId":"k","GrantTokens":["1","2","3","4","5","6","7","8","9","a","b"]}`, oneError +
			"Value '[1, 2, 3, 4, 5, 6, 7, 8, 9, a, b]' at 'grantTokens' failed to satisfy constraint: " +
			"Member must have length less than or equal to 10"},
		{"null in a list", "DescribeKey", `{"KeyId":"k","GrantTokens":["t",null]}`, oneError +
			"Value null at 'grantTokens.2.member' failed to satisfy constraint: Member must not be null"},
		{"null structure in a list", "TagResource", `{"KeyId":"k","Tags":[null]}`, oneError +
			"Value null at 'tags.1.member' failed to satisfy constraint: Member must not be null"},
		{"missing in a list", "TagResource", `{"KeyId":"k","Tags":[{"TagKey":"a","TagValue":""},{"TagKey":"b"}]}`, oneError +
			"Value null at 'tags.2.member.tagValue' failed to satisfy constraint: Member must not be null"},
		{"null in a map", "Encrypt", `{"KeyId":"k","Plaintext":"AA==","EncryptionContext":{"a":null}}`, oneError +
			"Value null at 'encryptionContext.a.member' failed to satisfy constraint: Member must not be null"},
		{"nested", "GenerateRandom", `{"NumberOfBytes":1,"Recipient":{"KeyEncryptionAlgorithm":"X","AttestationDocument":""}}`,
			"2 validation errors detected: Value 'X' at 'recipient.keyEncryptionAlgorithm' failed to satisfy constraint: " +
				"Member must satisfy enum value set: [RSAES_OAEP_SHA_256]; " +
				"Value at 'recipient.attestationDocument' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"after a list", "CreateKey", `{"Tags":[{"TagKey":"a","TagValue":"b"}],"XksKeyId":""}`, "2 validation errors detected: " +
			"Value '' at 'xksKeyId' failed to satisfy constraint: " +
			"Member must satisfy regular expression pattern: ^[a-zA-Z0-9-_.]+$; " +
			"Value '' at 'xksKeyId' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"after a structure", "DeriveSharedSecret", `{"Recipient":{},"KeyId":"k","KeyAgreementAlgorithm":"ECDH"}`, "3 validation errors detected: " +
			"Value null at 'publicKey' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'recipient.keyEncryptionAlgorithm' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'recipient.attestationDocument' failed to satisfy constraint: Member must not be null"},
		{"after a secret structure", "CreateCustomKeyStore", `{"CustomKeyStoreName":"n","XksProxyConnectivity":"X",` +
			`"XksProxyAuthenticationCredential":{"AccessKeyId":"hidden"}}`, "4 validation errors detected: " +
			"Value at 'xksProxyAuthenticationCredential.accessKeyId' failed to satisfy constraint: " +
			"Member must satisfy regular expression pattern: ^[A-Z2-7]+$; " +
			"Value at 'xksProxyAuthenticationCredential.accessKeyId' failed to satisfy constraint: " +
			"Member must have length greater than or equal to 20; " +
			"Value null at 'xksProxyAuthenticationCredential.rawSecretAccessKey' failed to satisfy constraint: Member must not be null; " +
			"Value 'X' at 'xksProxyConnectivity' failed to satisfy constraint: " +
			"Member must satisfy enum value set: [PUBLIC_ENDPOINT, VPC_ENDPOINT_SERVICE]"},
		{"sensitive string", "CreateCustomKeyStore", `{"CustomKeyStoreName":"n","KeyStorePassword":"hidden"}`, oneError +
			"Value at 'keyStorePassword' failed to satisfy constraint: Member must have length greater than or equal to 7"},
		{"conditionally required", "Decrypt", `{}`, oneError +
			"Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null"},
		{"narrowed window", "ScheduleKeyDeletion", `{"KeyId":"k","PendingWindowInDays":6}`, oneError +
			"Value '6' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value greater than or equal to 7"},
		{"narrowed limit", "ListResourceTags", `{"KeyId":"k","Limit":51}`, oneError +
			"Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50"},
		{"wide limit", "ListKeys", `{"Limit":1001}`, oneError +
			"Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{"negative", "ListKeys", `{"Limit":-1}`, oneError +
			"Value '-1' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decodeOp(t, c.op, c.body)
			checkError(t, err, ValidationException, c.want)
		})
	}
}

func TestAtMostTenViolations(t *testing.T) {
	_, err := decodeOp(t, "TagResource", `{"KeyId":"k","Tags":[`+strings.Repeat(`{},`, 20)+`{}]}`)
	var known *Error
	if !errors.As(err, &known) || !strings.HasPrefix(known.Message, "10 validation errors detected: ") {
		t.Errorf("got %v", err)
	}
}

// Lengths count UTF-16 code units, as in Java: a character outside the basic plane counts twice.
func TestLengthsAreUTF16(t *testing.T) {
	for key, ok := range map[string]bool{
		strings.Repeat("é", 128): true,
		strings.Repeat("é", 129): false,
		strings.Repeat("😀", 64):  true,
		strings.Repeat("😀", 65):  false,
	} {
		_, err := decodeOp(t, "UntagResource", `{"KeyId":"k","TagKeys":["`+key+`"]}`)
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v", len(key), err)
		}
	}
}

func TestAcceptedAtTheLimits(t *testing.T) {
	for op, body := range map[string]string{
		"Encrypt":              `{"KeyId":"k","Plaintext":` + blob(4096) + `}`,
		"GenerateRandom":       `{"NumberOfBytes":1024}`,
		"ScheduleKeyDeletion":  `{"KeyId":"k","PendingWindowInDays":30}`,
		"ListAliases":          `{"Limit":100}`,
		"ListResourceTags":     `{"KeyId":"k","Limit":50}`,
		"UpdateKeyDescription": `{"KeyId":"k","Description":""}`,
		"Decrypt":              `{"KeyId":"k","DryRun":true,"DryRunModifiers":["IGNORE_CIPHERTEXT"]}`,
		"CreateKey":            `{"Policy":"{\"a\":\"\u00ff\"}\n"}`,
		"ListKeys":             `{"Marker":"  ~\u00ff"}`,
	} {
		if _, err := decodeOp(t, op, body); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
}
