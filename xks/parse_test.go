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

// TestRefusedRequestsHaveAName: the log tells of a request that is refused whose it is, wherever in the body
// that is.
func TestRefusedRequestsHaveAName(t *testing.T) {
	for _, body := range []string{
		`{"encryptionAlgorithm":5,` + goodMetadata + `}`,
		`{"plaintext":["AA=="],` + goodMetadata + `,"unknown":{}}`,
		`{"plaintext":"AA==","plaintext":"AA==",` + goodMetadata + `}`,
		`{` + goodMetadata + `,` + goodMetadata + `}`,
		`{` + goodMetadata + `} x`,
		"{\"unknown\":\"\xff\"," + goodMetadata + `}`,
		`{"requestMetadata":{"kmsOperation":1,"kmsRequestId":"r"}}`,
	} {
		r, err := parse(opEncrypt, []byte(body))
		var known *Error
		if !errors.As(err, &known) || known.Name != ValidationException {
			t.Errorf("%s: %v", body, err)
		}
		if r.Metadata == nil || r.Metadata.RequestID != "r" {
			t.Errorf("%s: metadata %+v", body, r.Metadata)
		}
	}
}

// FuzzRequest: whatever the body, an operation gets what the specification promises it, or the client
// one of its errors. JSON and Base64 mean here what they mean to encoding/json.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		`{` + goodMetadata + `}`,
		`{` + goodMetadata + `,"plaintext":"SGVsbG8gV29ybGQh","encryptionAlgorithm":"AES_GCM","additionalAuthenticatedData":"YQ=="}`,
		`{` + goodMetadata + `,"ciphertext":"AAAA","ciphertextMetadata":"AA==","encryptionAlgorithm":"AES_GCM","initializationVector":"AAAAAAAAAAAAAAAA","authenticationTag":"AAAAAAAAAAAAAAAAAAAAAA=="}`,
		`{` + goodMetadata + `,"plaintext":"\/\/\/\/","encryptionAlgorithm":"AES_GCM"}`,
		`{"requestMetadata":{}}`, `{"x":[1,{"y":"]"}],` + goodMetadata + `,"PLAINTEXT":1e3}`, `{"requestMetadat\u0061":null, "x":[}`, `null`, `[]`, `{"plaintext":null}`, `{"plaintext":"A\u0041=="}`,
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
			var plain, metadata map[string]json.RawMessage // whose names are not folded
			if json.Unmarshal(body, &plain) != nil || json.Unmarshal(plain["requestMetadata"], &metadata) != nil {
				t.Fatalf("%s: %q is no JSON", op, body)
			}
			for name, got := range map[string]string{"kmsRequestId": m.RequestID, "kmsOperation": m.Operation, "awsPrincipalArn": m.PrincipalARN, "kmsKeyArn": m.KeyARN} {
				var want string
				if raw, there := metadata[name]; there && json.Unmarshal(raw, &want) != nil || want != got {
					t.Errorf("%s: %q: %s is read as %q", op, body, name, got)
				}
			}
			looked := map[string]bytesField{"additionalAuthenticatedData": r.AAD, "plaintext": r.Plaintext}
			if op == opDecrypt {
				looked = map[string]bytesField{"additionalAuthenticatedData": r.AAD, "ciphertext": r.Ciphertext, "initializationVector": r.IV, "authenticationTag": r.Tag, "ciphertextMetadata": r.CiphertextMetadata}
			}
			for name, got := range looked {
				var want []byte
				if raw, there := plain[name]; (op == opEncrypt || op == opDecrypt) && (there && json.Unmarshal(raw, &want) != nil || string(want) != string(got.value)) {
					t.Errorf("%s: %q: %s is read in another way", op, body, name)
				}
			}
		}
	})
}

// nested is a request whose metadata have a member of that many brackets, in two of their own.
func nested(deep int) string {
	return `{"requestMetadata":{"kmsRequestId":"r","kmsOperation":"o","x":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + `}}`
}

// TestRequestJSON: which bodies are requests at all, and by which names members count.
func TestRequestJSON(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"plain":                             {`{` + goodMetadata + `}`, true},
		"space everywhere":                  {" {\t\"requestMetadata\" :\r\n{ \"kmsRequestId\" : \"r\" , \"kmsOperation\":\"o\" } , \"x\" : [ 1 ] } ", true},
		"a name with an escape":             {`{"requestM\u0065tadata":{"kmsRequestId":"r","kmsOperation":"o"}}`, true},
		"unknown members":                   {`{"a":[{"b":"]}\""},-1.5e3,null],"c":{},"d":true,"a":1,` + goodMetadata + `}`, true},
		"null for an unknown member":        {`{"a":null,` + goodMetadata + `}`, true},
		"null for a member":                 {`{"plaintext":null,` + goodMetadata + `}`, true},
		"the name of a member, in capitals": {`{"PLAINTEXT":5,` + goodMetadata + `}`, true},
		"an empty body":                     {``, false},
		"null":                              {`null`, false},
		"a list":                            {`[]`, false},
		"no end":                            {`{` + goodMetadata, false},
		"more than one":                     {`{` + goodMetadata + `}{}`, false},
		"a comma too many":                  {`{` + goodMetadata + `,}`, false},
		"no comma":                          {`{"a":1 ` + goodMetadata + `}`, false},
		"no colon":                          {`{"a" 1,` + goodMetadata + `}`, false},
		"a name that is no string":          {`{a:1,` + goodMetadata + `}`, false},
		"an unknown member without value":   {`{"a":,` + goodMetadata + `}`, false},
		"an unknown member, no JSON":        {`{"a":[1}],` + goodMetadata + `}`, false},
		"a bad escape":                      {`{"a":"\x",` + goodMetadata + `}`, false},
		"a bad escape in a member":          {`{"plaintext":"\x",` + goodMetadata + `}`, false},
		"a control character":               {"{\"plaintext\":\"A\nAA\"," + goodMetadata + `}`, false},
		"not UTF-8":                         {"{\"a\":\"\xff\"," + goodMetadata + `}`, false},
		"a number":                          {`{"plaintext":5,` + goodMetadata + `}`, false},
		"nearly null":                       {`{"plaintext":nul,` + goodMetadata + `}`, false},
		"a member twice":                    {`{"plaintext":"AAAA",` + goodMetadata + `,"plaintext":"AAAA"}`, false},
		"a member twice, once null":         {`{"plaintext":null,` + goodMetadata + `,"plaintext":"AAAA"}`, false},
		"a member twice, once escaped":      {`{"plaintext":"AAAA",` + goodMetadata + `,"plain\u0074ext":"AAAA"}`, false},
		"metadata's member twice":           {`{"requestMetadata":{"kmsRequestId":"r","kmsOperation":"o","kmsOperation":"p"}}`, false},
		"metadata in capitals":              {`{"requestMetadata":{"KMSREQUESTID":"r","kmsOperation":"o"}}`, false},
		"metadata of a wrong type":          {`{"requestMetadata":{"kmsRequestId":7,"kmsOperation":"o"}}`, false},
		"brackets to the last":              {nested(9998), true},
		"a bracket too many":                {nested(9999), false},
		"metadata that are a text":          {`{"requestMetadata":"x"}`, false},
	} {
		r, err := parse(opHealth, []byte(c.body))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (r.Metadata.RequestID != "r" || r.Metadata.Operation != "o" || r.Plaintext.set) {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
}
