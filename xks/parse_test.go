package xks

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	long := "/" + strings.Repeat("p", 116)
	for path, want := range map[string]target{
		"/kms/xks/v1/health":                        {"/", opHealth, ""},
		"/a/kms/xks/v1/health":                      {"/a", opHealth, ""},
		"/a/b-_9/kms/xks/v1/keys/K.1_-/metadata":    {"/a/b-_9", opMetadata, "K.1_-"},
		"/kms/xks/v1/keys/k/encrypt":                {"/", opEncrypt, "k"},
		"/a/kms/xks/v1/keys/k/decrypt":              {"/a", opDecrypt, "k"},
		"/kms/xks/v1/kms/xks/v1/keys/keys/metadata": {"/kms/xks/v1", opMetadata, "keys"},
		long + "/kms/xks/v1/health":                 {long, opHealth, ""},
	} {
		if got, ok := parsePath(path); !ok || got != want {
			t.Errorf("%s: %+v, %v", path, got, ok)
		}
	}
	for _, path := range []string{
		"", "/", "/health", "kms/xks/v1/health", "/kms/xks/v1", "/kms/xks/v1/", "/kms/xks/v1/healt", "/kms/xks/v1/health/", "//kms/xks/v1/health",
		"/a//kms/xks/v1/health", "/a.b/kms/xks/v1/health", "/%61/kms/xks/v1/health", "/kms/xks/v1/keys", "/kms/xks/v1/keys/k", "/kms/xks/v1/keys//encrypt",
		"/kms/xks/v1/keys/k/health", "/kms/xks/v1/keys/k/encrypt/", "/kms/xks/v1/keys/a%2Fb/encrypt", "/kms/xks/v1/keys/../health", "/kms/xks/v1/keys/./encrypt",
		long + "p/kms/xks/v1/health", "/kms/xks/v2/health",
	} {
		if got, ok := parsePath(path); ok {
			t.Errorf("%q is taken for %+v", path, got)
		}
	}
	for prefix, path := range map[string]string{"/": "/kms/xks/v1", "/a/b": "/a/b/kms/xks/v1"} {
		if URIPathOf(prefix) != path || PrefixOf(path) != prefix {
			t.Errorf("%s and %s", prefix, path)
		}
	}
}

// FuzzPath: what is taken is of the specification's form, and has one spelling.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"/kms/xks/v1/health", "/a/kms/xks/v1/keys/k/encrypt", "/kms/xks/v1/kms/xks/v1/keys/keys/metadata", "/%2e/kms/xks/v1/health", "/kms/xks/v1/keys/../decrypt"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := parsePath(path)
		if !ok {
			return
		}
		back := URIPathOf(got.prefix)
		if !ValidURIPath(back) {
			t.Errorf("%q has the URI path %q", path, back)
		}
		if got.operation == opHealth {
			back += "/health"
		} else {
			if !ValidKeyID(got.keyID) {
				t.Errorf("%q has the key %q", path, got.keyID)
			}
			back += "/keys/" + got.keyID + "/" + string(got.operation)
		}
		if back != path {
			t.Errorf("%q is written back as %q", path, back)
		}
	})
}

const goodMetadata = `"requestMetadata":{"awsPrincipalArn":"a","kmsKeyArn":"k","kmsOperation":"o","kmsRequestId":"r"}`

// FuzzRequest: whatever the body, an operation gets what the specification promises it, or the client
// one of its errors. Base64 means here what it means to encoding/json.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		`{` + goodMetadata + `}`,
		`{` + goodMetadata + `,"plaintext":"SGVsbG8gV29ybGQh","encryptionAlgorithm":"AES_GCM","additionalAuthenticatedData":"YQ=="}`,
		`{` + goodMetadata + `,"ciphertext":"AAAA","ciphertextMetadata":"AA==","encryptionAlgorithm":"AES_GCM","initializationVector":"AAAAAAAAAAAAAAAA","authenticationTag":"AAAAAAAAAAAAAAAAAAAAAA=="}`,
		`{` + goodMetadata + `,"plaintext":"\/\/\/\/","encryptionAlgorithm":"AES_GCM"}`,
		`{"requestMetadata":{}}`, `null`, `[]`, `{"plaintext":null}`, `{"plaintext":"A\u0041=="}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range []operation{opHealth, opMetadata, opEncrypt, opDecrypt} {
			r, err := parse(op, body)
			if r == nil {
				t.Fatal("no request for the log")
			}
			var known *Error
			if err != nil {
				if !errors.As(err, &known) || !known.Known() || known.Message != printable(known.Message) {
					t.Errorf("%s: %v", op, err)
				}
				continue
			}
			m := r.Metadata
			if m.RequestID == "" || m.Operation == "" || op != opHealth && m.PrincipalARN == "" {
				t.Errorf("%s: %+v", op, m)
			}
			var plain struct{ Plaintext, AdditionalAuthenticatedData, Ciphertext, InitializationVector, AuthenticationTag []byte }
			if op != opEncrypt && op != opDecrypt {
				continue
			}
			if json.Unmarshal(body, &plain) != nil {
				continue // a member that this operation does not look at
			}
			switch {
			case op == opEncrypt && (string(plain.Plaintext) != string(r.Plaintext.value) || string(plain.AdditionalAuthenticatedData) != string(r.AAD.value)),
				op == opDecrypt && (string(plain.Ciphertext) != string(r.Ciphertext.value) || string(plain.InitializationVector) != string(r.IV.value) || string(plain.AuthenticationTag) != string(r.Tag.value)):
				t.Errorf("%s: %q is read in another way", op, body)
			}
		}
	})
}
