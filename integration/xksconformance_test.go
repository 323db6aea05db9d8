package integration_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// TestXKSConformance goes through version 1.0.3 of the external key store proxy API specification,
// by its sections, against both kinds of external key: a KMS key of the server, and a key object that
// was in the token before.
func TestXKSConformance(t *testing.T) {
	p := startXKS(t)
	key := must(p.Client(t).CreateKey(t.Context(), &kms.CreateKeyInput{}))(t).KeyMetadata
	p.admin(t, "key", "create", "--prefix", xksPrefix, "--id", "kms-key", "--key", aws.ToString(key.KeyId))
	value := p.importKey(t, "hsm-key")
	for _, id := range []string{"kms-key", "hsm-key"} {
		t.Run(id, func(t *testing.T) {
			t.Run("GetKeyMetadata", func(t *testing.T) { xksKeyMetadata(t, p, id) })
			t.Run("Encrypt and Decrypt", func(t *testing.T) { xksRoundTrip(t, p, id) })
			t.Run("binding", func(t *testing.T) { xksBinding(t, p, id) })
			t.Run("fields of Encrypt", func(t *testing.T) { xksEncryptFields(t, p, id) })
			t.Run("fields of Decrypt", func(t *testing.T) { xksDecryptFields(t, p, id) })
			t.Run("integrity value", func(t *testing.T) { xksIntegrity(t, p, id) })
		})
	}
	t.Run("AAD handed to the token", func(t *testing.T) { xksTokenAAD(t, p, "hsm-key", value) })
	t.Run("both IV lengths", func(t *testing.T) { xksIVLengths(t, p, "hsm-key", value) })
	t.Run("requestMetadata", func(t *testing.T) { xksRequestMetadata(t, p) })
	t.Run("GetHealthStatus", func(t *testing.T) { xksHealth(t, p) })
	t.Run("URIs", func(t *testing.T) { xksURIs(t, p) })
	t.Run("methods", func(t *testing.T) { xksMethods(t, p) })
	t.Run("authentication", func(t *testing.T) { xksAuthentication(t, p) })
	t.Run("curl", func(t *testing.T) { xksCurl(t, p) })
	p.Stop(t) // all lines are there then
	if log := p.Log(t); strings.Contains(log, b64([]byte("Hello World!"))) || strings.Contains(log, "Hello World!") {
		t.Error("a plaintext is in the log")
	} else if !strings.Contains(log, "kmsRequestId=4112f4d6-db54-4af4-ae30-c55a22a8dfae") {
		t.Error("kmsRequestId is not in the log")
	}
}

func xksKeyMetadata(t *testing.T, p *xksProxy, id string) {
	body := fields{"requestMetadata": xksMetadata("CreateKey")}
	got := p.ok(t, "/keys/"+id+"/metadata", body)
	var usage []string
	for _, u := range got["keyUsage"].([]any) {
		usage = append(usage, u.(string))
	}
	if got["keySpec"] != "AES_256" || got["keyStatus"] != "ENABLED" || len(usage) > 10 ||
		!slices.Contains(usage, "ENCRYPT") || !slices.Contains(usage, "DECRYPT") {
		t.Errorf("got %v", got)
	}
	// CreateKey has no key ARN yet.
	p.ok(t, "/keys/"+id+"/metadata", fields{"requestMetadata": with(xksMetadata("CreateKey"), "kmsKeyArn", nil)})
}

func xksRoundTrip(t *testing.T, p *xksProxy, id string) {
	ivs := map[string]bool{}
	for _, plaintext := range [][]byte{[]byte("Hello World!"), {0}, bytes.Repeat([]byte{0x5a}, 32), bytes.Repeat([]byte("x"), 4300), bytes.Repeat([]byte("y"), 8192)} {
		for _, aad := range [][]byte{nil, {}, []byte("project=nile,department=marketing"), bytes.Repeat([]byte("a"), 8192)} {
			for _, integrity := range []any{nil, "SHA_256"} {
				sealed := p.ok(t, "/keys/"+id+"/encrypt", with(encryptBody(plaintext, aad), "ciphertextDataIntegrityValueAlgorithm", integrity))
				if n := len(decoded(t, sealed, "ciphertext")); n != len(plaintext) {
					t.Errorf("%d bytes of plaintext, %d of ciphertext", len(plaintext), n)
				}
				iv := decoded(t, sealed, "initializationVector")
				if len(iv) != 12 && len(iv) != 16 || ivs[string(iv)] {
					t.Errorf("the IV %x is too short or came twice", iv)
				}
				ivs[string(iv)] = true
				if n := len(decoded(t, sealed, "authenticationTag")); n != 16 {
					t.Errorf("a tag of %d bytes", n)
				}
				if _, there := sealed["ciphertextMetadata"]; there {
					if n := len(decoded(t, sealed, "ciphertextMetadata")); n < 1 || n > 20 {
						t.Errorf("metadata of %d bytes", n)
					}
				}
				if _, there := sealed["ciphertextDataIntegrityValue"]; there != (integrity != nil) {
					t.Errorf("an integrity value was asked for: %v, and given: %v", integrity != nil, there)
				}
				opened := p.ok(t, "/keys/"+id+"/decrypt", decryptBody(sealed, aad))
				if !bytes.Equal(decoded(t, opened, "plaintext"), plaintext) || len(opened) != 1 {
					t.Error("the plaintext does not come back")
				}
			}
		}
	}
}

// flip gives the Base64 of a member with one bit changed.
func flip(t *testing.T, object fields, name string) string {
	b := decoded(t, object, name)
	b[len(b)/2] ^= 1
	return b64(b)
}

// xksBinding holds that the tag covers every part and that none can be taken for another.
func xksBinding(t *testing.T, p *xksProxy, id string) {
	path := "/keys/" + id + "/decrypt"
	aad := []byte("project=nile")
	sealed := p.ok(t, "/keys/"+id+"/encrypt", encryptBody([]byte("Hello World!"), aad))
	good := decryptBody(sealed, aad)
	p.ok(t, path, good)
	other := p.ok(t, "/keys/"+id+"/encrypt", encryptBody([]byte("Hello World!"), aad))
	cases := map[string]fields{
		"another ciphertext": with(good, "ciphertext", flip(t, sealed, "ciphertext")),
		"another IV":         with(good, "initializationVector", flip(t, sealed, "initializationVector")),
		"another tag":        with(good, "authenticationTag", flip(t, sealed, "authenticationTag")),
		"another AAD":        with(good, "additionalAuthenticatedData", b64([]byte("project=nila"))),
		"no AAD":             with(good, "additionalAuthenticatedData", nil),
		"a message's IV":     with(good, "initializationVector", other["initializationVector"]),
		"a long IV":          with(good, "initializationVector", b64(append(decoded(t, sealed, "initializationVector"), 0, 0, 0, 1))),
		"a short ciphertext": with(good, "ciphertext", b64(decoded(t, sealed, "ciphertext")[:11])),
		"more metadata":      with(good, "ciphertextMetadata", b64(append([]byte{1}, metadataOf(t, sealed)...)[:min(20, 1+len(metadataOf(t, sealed)))])),
		"other metadata":     with(good, "ciphertextMetadata", b64([]byte{0, 0, 0, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7})),
		"short metadata":     with(good, "ciphertextMetadata", b64([]byte{1})),
		"AAD as metadata":    with(good, "ciphertextMetadata", b64(aad), "additionalAuthenticatedData", nil),
	}
	if metadata := metadataOf(t, sealed); len(metadata) > 0 {
		for i := range metadata {
			changed := bytes.Clone(metadata)
			changed[i] ^= 0x10
			cases[fmt.Sprintf("byte %d of the metadata", i)] = with(good, "ciphertextMetadata", b64(changed))
		}
		cases["no metadata"] = with(good, "ciphertextMetadata", nil)
		cases["metadata in the AAD"] = with(good, "ciphertextMetadata", nil, "additionalAuthenticatedData", b64(append(bytes.Clone(aad), metadata...)))
	}
	for what, body := range cases {
		p.call(t, path, body).refused(t, what, "InvalidCiphertextException")
	}
}

func metadataOf(t *testing.T, sealed fields) []byte {
	if _, there := sealed["ciphertextMetadata"]; !there {
		return nil
	}
	return decoded(t, sealed, "ciphertextMetadata")
}

func xksEncryptFields(t *testing.T, p *xksProxy, id string) {
	path := "/keys/" + id + "/encrypt"
	good := encryptBody([]byte("Hello World!"), []byte("aad"))
	for what, c := range map[string]struct {
		body fields
		name string
	}{
		"no plaintext":                {with(good, "plaintext", nil), "ValidationException"},
		"an empty plaintext":          {with(good, "plaintext", ""), "ValidationException"},
		"plaintext that is a number":  {with(good, "plaintext", 7), "ValidationException"},
		"plaintext that is no Base64": {with(good, "plaintext", "SGVsbG8*"), "ValidationException"},
		"Base64 of another alphabet":  {with(good, "plaintext", "-_-_"), "ValidationException"},
		"Base64 without its padding":  {with(good, "plaintext", "SGVsbG8"), "ValidationException"},
		"Base64 in two lines":         {with(good, "plaintext", "SGVs\nbG8h"), "ValidationException"},
		"AAD that is no Base64":       {with(good, "additionalAuthenticatedData", "*"), "ValidationException"},
		"AAD that is a list":          {with(good, "additionalAuthenticatedData", []string{"YQ=="}), "ValidationException"},
		"no algorithm":                {with(good, "encryptionAlgorithm", nil), "ValidationException"},
		"another algorithm":           {with(good, "encryptionAlgorithm", "AES_CBC"), "ValidationException"},
		"the algorithm in lower case": {with(good, "encryptionAlgorithm", "aes_gcm"), "ValidationException"},
		"another integrity algorithm": {with(good, "ciphertextDataIntegrityValueAlgorithm", "SHA_512"), "ValidationException"},
		"an empty one":                {with(good, "ciphertextDataIntegrityValueAlgorithm", ""), "ValidationException"},
		"a plaintext of 8,193 bytes":  {with(good, "plaintext", b64(make([]byte, 8193))), "UnsupportedOperationException"},
		"an AAD of 8,193 bytes":       {with(good, "additionalAuthenticatedData", b64(make([]byte, 8193))), "UnsupportedOperationException"},
		"a body of 100,000 bytes":     {with(good, "plaintext", b64(make([]byte, 75_000))), "UnsupportedOperationException"},
	} {
		p.call(t, path, c.body).refused(t, what, c.name)
	}
	for what, body := range map[string]string{
		"no JSON": "hello", "no body": "", "a list": "[]", "null": "null", "half of it": `{"requestMetadata":{`, "two objects": `{} {}`,
	} {
		p.raw(t, path, body).refused(t, what, "ValidationException")
	}
	// Unknown members, here and there, are for later versions.
	p.ok(t, path, with(good, "somethingNew", fields{"a": []int{1}}, "requestMetadata", with(xksMetadata("Encrypt"), "sourceIdentity", "x", "tags", []string{"y"})))
	// A slash may be escaped in JSON.
	escaped := p.raw(t, path, strings.Replace(`{"requestMetadata":{"awsPrincipalArn":"a","kmsKeyArn":"k","kmsOperation":"o","kmsRequestId":"r"},"encryptionAlgorithm":"AES_GCM","plaintext":"////"}`, "////", `\/\/\/\/`, 1))
	if escaped.status != http.StatusOK {
		t.Errorf("escaped slashes: %v", escaped)
	}
}

func xksDecryptFields(t *testing.T, p *xksProxy, id string) {
	path := "/keys/" + id + "/decrypt"
	aad := []byte("aad")
	good := decryptBody(p.ok(t, "/keys/"+id+"/encrypt", encryptBody([]byte("Hello World!"), aad)), aad)
	for what, c := range map[string]struct {
		body fields
		name string
	}{
		"no algorithm":             {with(good, "encryptionAlgorithm", nil), "ValidationException"},
		"another algorithm":        {with(good, "encryptionAlgorithm", "AES_CBC"), "ValidationException"},
		"an IV that is a number":   {with(good, "initializationVector", 7), "ValidationException"},
		"metadata of 21 bytes":     {with(good, "ciphertextMetadata", b64(make([]byte, 21))), "ValidationException"},
		"metadata that are no B64": {with(good, "ciphertextMetadata", "*"), "ValidationException"},
		"no ciphertext":            {with(good, "ciphertext", nil), "InvalidCiphertextException"},
		"an empty ciphertext":      {with(good, "ciphertext", ""), "InvalidCiphertextException"},
		"a ciphertext of no B64":   {with(good, "ciphertext", "*"), "InvalidCiphertextException"},
		"no IV":                    {with(good, "initializationVector", nil), "InvalidCiphertextException"},
		"an IV of 11 bytes":        {with(good, "initializationVector", b64(make([]byte, 11))), "InvalidCiphertextException"},
		"an IV of 13 bytes":        {with(good, "initializationVector", b64(make([]byte, 13))), "InvalidCiphertextException"},
		"an IV of 17 bytes":        {with(good, "initializationVector", b64(make([]byte, 17))), "InvalidCiphertextException"},
		"no tag":                   {with(good, "authenticationTag", nil), "InvalidCiphertextException"},
		"a tag of 12 bytes":        {with(good, "authenticationTag", b64(make([]byte, 12))), "InvalidCiphertextException"},
		"a tag of 17 bytes":        {with(good, "authenticationTag", b64(make([]byte, 17))), "InvalidCiphertextException"},
		"AAD that is no Base64":    {with(good, "additionalAuthenticatedData", "*"), "InvalidCiphertextException"},
		"8,193 bytes":              {with(good, "ciphertext", b64(make([]byte, 8193))), "UnsupportedOperationException"},
		"an AAD of 8,193 bytes":    {with(good, "additionalAuthenticatedData", b64(make([]byte, 8193))), "UnsupportedOperationException"},
	} {
		p.call(t, path, c.body).refused(t, what, c.name)
	}
	p.ok(t, path, with(good, "somethingNew", true))
}

// integrityValue is appendix C of the specification, written independently of the server.
func integrityValue(aad, metadata, iv, ciphertext, tag []byte) []byte {
	sum := sha256.Sum256(slices.Concat(aad, metadata, iv, ciphertext, tag))
	return sum[:]
}

func xksIntegrity(t *testing.T, p *xksProxy, id string) {
	published := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	aad := []byte("project=nile,department=marketing")
	got := integrityValue(aad, []byte("key_version=1"), published("HMrlRw85cAJUd5Ax"), published("ghxkK1txeDNn3q8Y"), published("vBxN2ncH1oEkR8WVXpmyYQ=="))
	if b64(got) != "qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=" {
		t.Fatal("the specification's example does not come out")
	}
	for _, with := range [][]byte{nil, aad} {
		body := encryptBody([]byte("Hello World!"), with)
		body["ciphertextDataIntegrityValueAlgorithm"] = "SHA_256"
		sealed := p.ok(t, "/keys/"+id+"/encrypt", body)
		want := integrityValue(with, metadataOf(t, sealed), decoded(t, sealed, "initializationVector"), decoded(t, sealed, "ciphertext"), decoded(t, sealed, "authenticationTag"))
		if !bytes.Equal(decoded(t, sealed, "ciphertextDataIntegrityValue"), want) {
			t.Errorf("the integrity value is not that of the answer: %v", sealed)
		}
	}
}

// specAAD is the AAD for the key manager as the specification composes it.
func specAAD(aad, metadata []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(aad)))
	b = append(b, aad...)
	b = append(b, byte(len(metadata)))
	return append(b, metadata...)
}

func knownGCM(t *testing.T, value []byte, ivSize int) cipher.AEAD {
	block, err := aes.NewCipher(value)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, ivSize)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

// xksTokenAAD opens what the proxy made with a known key outside, with nothing but the specification.
func xksTokenAAD(t *testing.T, p *xksProxy, id string, value []byte) {
	for _, aad := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte("b"), 8192)} {
		sealed := p.ok(t, "/keys/"+id+"/encrypt", encryptBody([]byte("Hello World!"), aad))
		iv := decoded(t, sealed, "initializationVector")
		text, err := knownGCM(t, value, len(iv)).Open(nil, iv, append(decoded(t, sealed, "ciphertext"), decoded(t, sealed, "authenticationTag")...), specAAD(aad, metadataOf(t, sealed)))
		if err != nil || string(text) != "Hello World!" {
			t.Errorf("AAD of %d bytes: %v", len(aad), err)
		}
	}
}

// xksIVLengths decrypts what another proxy made under the same key, with either IV and with metadata
// of its own.
func xksIVLengths(t *testing.T, p *xksProxy, id string, value []byte) {
	for _, size := range []int{12, 16} {
		for _, metadata := range [][]byte{nil, []byte("key_version=1")} {
			iv, aad := bytes.Repeat([]byte{9}, size), []byte("project=nile")
			made := knownGCM(t, value, size).Seal(nil, iv, []byte("Hello World!"), specAAD(aad, metadata))
			sealed := fields{"ciphertext": b64(made[:12]), "authenticationTag": b64(made[12:]), "initializationVector": b64(iv)}
			if metadata != nil {
				sealed["ciphertextMetadata"] = b64(metadata)
			}
			opened := p.ok(t, "/keys/"+id+"/decrypt", decryptBody(sealed, aad))
			if string(decoded(t, opened, "plaintext")) != "Hello World!" {
				t.Errorf("an IV of %d bytes", size)
			}
			p.call(t, "/keys/"+id+"/decrypt", with(decryptBody(sealed, aad), "ciphertextMetadata", b64([]byte("key_version=2")))).
				refused(t, "other metadata", "InvalidCiphertextException")
		}
	}
}

func xksRequestMetadata(t *testing.T, p *xksProxy) {
	sealed := p.ok(t, "/keys/hsm-key/encrypt", encryptBody([]byte("Hello World!"), nil))
	operations := map[string]fields{
		"/health":                {},
		"/keys/hsm-key/metadata": {},
		"/keys/hsm-key/encrypt":  encryptBody([]byte("Hello World!"), nil),
		"/keys/hsm-key/decrypt":  decryptBody(sealed, nil),
	}
	required := map[string][]string{
		"/health":                {"kmsRequestId", "kmsOperation"},
		"/keys/hsm-key/metadata": {"kmsRequestId", "kmsOperation", "awsPrincipalArn"},
		"/keys/hsm-key/encrypt":  {"kmsRequestId", "kmsOperation", "awsPrincipalArn", "kmsKeyArn"},
		"/keys/hsm-key/decrypt":  {"kmsRequestId", "kmsOperation", "awsPrincipalArn", "kmsKeyArn"},
	}
	for path, body := range operations {
		full := xksMetadata("Encrypt")
		for what, metadata := range map[string]any{"none": nil, "empty": fields{}, "a text": "x", "a list": []int{}} {
			p.call(t, path, with(body, "requestMetadata", metadata)).refused(t, path+": requestMetadata: "+what, "ValidationException")
		}
		only := fields{}
		for _, name := range required[path] {
			only[name] = full[name]
			for what, value := range map[string]any{"missing": nil, "empty": "", "a number": 7} {
				p.call(t, path, with(body, "requestMetadata", with(full, name, value))).refused(t, path+": "+name+" "+what, "ValidationException")
			}
		}
		long := strings.Repeat("x", 2048)
		for what, metadata := range map[string]fields{
			"only what is required":   only,
			"an operation of later":   with(full, "kmsOperation", "BulkEverything"),
			"a request id of no form": with(full, "kmsRequestId", "no UUID: é \" \\ \u0000"),
			"AWS Internal":            with(full, "awsPrincipalArn", "AWS Internal"),
			"a service":               with(full, "awsPrincipalArn", "ec2.amazonaws.com"),
			"ARNs of 2,048":           with(full, "awsPrincipalArn", long, "kmsKeyArn", long),
			"VPC and endpoint":        with(full, "awsSourceVpc", "vpc-1", "awsSourceVpce", "vpce-1"),
			"empty optional members":  with(full, "kmsViaService", "", "awsSourceVpc", ""),
		} {
			if a := p.call(t, path, with(body, "requestMetadata", metadata)); a.status != http.StatusOK {
				t.Errorf("%s: %s: %v", path, what, a)
			}
		}
		if path != "/health" {
			p.call(t, path, with(body, "requestMetadata", with(full, "awsPrincipalArn", long+"x"))).refused(t, "an ARN of 2,049", "UnsupportedOperationException")
		}
	}
}

func xksHealth(t *testing.T, p *xksProxy) {
	got := p.ok(t, "/health", fields{"requestMetadata": fields{"kmsRequestId": "r", "kmsOperation": "KmsHealthCheck"}})
	size, _ := got["xksProxyFleetSize"].(float64)
	if size < 1 || size != float64(int(size)) {
		t.Errorf("xksProxyFleetSize is %v", got["xksProxyFleetSize"])
	}
	for _, name := range []string{"xksProxyVendor", "xksProxyModel", "ekmVendor"} {
		if s, _ := got[name].(string); s == "" {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	fleet, _ := got["ekmFleetDetails"].([]any)
	if len(fleet) < 1 || len(fleet) > 10 {
		t.Fatalf("%d key managers", len(fleet))
	}
	for _, e := range fleet {
		details := e.(fields)
		if details["id"] == "" || details["model"] == "" || details["healthStatus"] != "ACTIVE" && details["healthStatus"] != "DEGRADED" {
			t.Errorf("got %v", details)
		}
	}
}

func xksURIs(t *testing.T, p *xksProxy) {
	body := fields{"requestMetadata": xksMetadata("DescribeKey")}
	for _, path := range []string{
		"", "/", "/healthy", "/health/", "/keys", "/keys/", "/keys/hsm-key", "/keys/hsm-key/", "/keys/hsm-key/sign", "/keys/hsm-key/encrypt/",
		"/keys//metadata", "/keys/hsm-key/metadata/x", "/keys/./metadata", "/keys/../health", "/keys/hsm%2Dkey/metadata", "/keys/a%2Fb/metadata",
		"/keys/" + strings.Repeat("k", 129) + "/metadata", "/keys/h~m/metadata", "//health", "/health?x=1", "/KEYS/hsm-key/metadata",
	} {
		p.call(t, path, body).refused(t, path, "InvalidUriPathException")
	}
	p.call(t, "/keys/"+strings.Repeat("k", 128)+"/metadata", body).refused(t, "a long key id", "KeyNotFoundException")
	p.call(t, "/keys/no.such_key-1/metadata", body).refused(t, "an unknown key", "KeyNotFoundException")
	p.call(t, "/keys/no.such_key-1/encrypt", encryptBody([]byte("x"), nil)).refused(t, "an unknown key", "KeyNotFoundException")
	elsewhere := *p
	for _, prefix := range []string{"/", "/exampl", "/example/x", "/Example", "/example/kms/xks/v1/x"} {
		elsewhere.prefix = prefix
		elsewhere.call(t, "/health", body).refused(t, prefix, "InvalidUriPathException")
	}
}

func xksMethods(t *testing.T, p *xksProxy) {
	for _, path := range []string{"/health", "/keys/hsm-key/metadata", "/keys/hsm-key/encrypt", "/keys/hsm-key/decrypt", "/keys/unknown/encrypt"} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			r := p.newRequest(t, path, nil)
			r.Method = method
			signXKS(t, r, nil, p.key, "kms-xks-proxy", time.Now())
			if a := p.send(t, r); a.status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %v", method, path, a)
			}
		}
	}
	response, err := p.client.Get(p.endpoint + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the load balancer's GET: %s", response.Status)
	}
}

func xksAuthentication(t *testing.T, p *xksProxy) {
	body := []byte(`{"requestMetadata":{"kmsRequestId":"r","kmsOperation":"KmsHealthCheck"}}`)
	wrong := p.key
	wrong.SecretAccessKey = strings.Repeat("A", 43)
	unknown := p.key
	unknown.AccessKeyID = strings.Repeat("A", 24)
	odd := p.key
	odd.AccessKeyID = "AKIAIOSFODNN7EXAMPLE10" // 1 and 0 are not of the alphabet
	for what, c := range map[string]struct {
		key     aws.Credentials
		service string
		at      time.Duration
		change  func(*http.Request)
		ok      bool
	}{
		"as it should be":      {p.key, "kms-xks-proxy", 0, nil, true},
		"4 minutes ago":        {p.key, "kms-xks-proxy", -4 * time.Minute, nil, true},
		"4 minutes from now":   {p.key, "kms-xks-proxy", 4 * time.Minute, nil, true},
		"6 minutes ago":        {p.key, "kms-xks-proxy", -6 * time.Minute, nil, false},
		"6 minutes from now":   {p.key, "kms-xks-proxy", 6 * time.Minute, nil, false},
		"another secret":       {wrong, "kms-xks-proxy", 0, nil, false},
		"another access key":   {unknown, "kms-xks-proxy", 0, nil, false},
		"an id of another set": {odd, "kms-xks-proxy", 0, nil, false},
		"another service":      {p.key, "kms", 0, nil, false},
		"another time": {p.key, "kms-xks-proxy", 0, func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().Add(-time.Minute).UTC().Format("20060102T150405Z"))
		}, false},
		"no time":      {p.key, "kms-xks-proxy", 0, func(r *http.Request) { r.Header.Del("X-Amz-Date") }, false},
		"no signature": {p.key, "kms-xks-proxy", 0, func(r *http.Request) { r.Header.Del("Authorization") }, false},
		"another path": {p.key, "kms-xks-proxy", 0, func(r *http.Request) { r.URL.Path = "/example/kms/xks/v1/keys/hsm-key/metadata" }, false},
		"another host": {p.key, "kms-xks-proxy", 0, func(r *http.Request) { r.Host = "elsewhere.example" }, false},
	} {
		r := p.newRequest(t, "/health", body)
		signXKS(t, r, body, c.key, c.service, time.Now().Add(c.at))
		if c.change != nil {
			c.change(r)
		}
		a := p.send(t, r)
		if c.ok {
			if a.status != http.StatusOK {
				t.Errorf("%s: %v", what, a)
			}
			continue
		}
		a.refused(t, what, "AuthenticationFailedException")
	}
	r := p.newRequest(t, "/health", body)
	signXKS(t, r, []byte(`{"requestMetadata":{"kmsRequestId":"r","kmsOperation":"Another"}}`), p.key, "kms-xks-proxy", time.Now())
	p.send(t, r).refused(t, "another body", "AuthenticationFailedException")
}

// xksCurl sends the specification's appendix D: curl is the one client that its authors recommend.
func xksCurl(t *testing.T, p *xksProxy) {
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is missing: apt-get install curl")
	}
	const body = `{"requestMetadata":{"awsPrincipalArn":"arn:aws:iam::123456789012:user/Alice","kmsKeyArn":"arn:aws:kms:us-east-2:123456789012:/key/1234abcd-12ab-34cd-56ef-1234567890ab",` +
		`"kmsOperation":"GenerateDataKey","kmsRequestId":"4112f4d6-db54-4af4-ae30-c55a22a8dfae"},"plaintext":"SGVsbG8gV29ybGQh","encryptionAlgorithm":"AES_GCM"}`
	cmd := exec.Command(path, "--silent", "--show-error", "--fail-with-body", "--aws-sigv4", "aws:amz:us-east-1:kms-xks-proxy", "--config", "-",
		"-X", "POST", "-H", "Content-Type:application/json", "--data", body, p.endpoint+xksPrefix+"/kms/xks/v1/keys/hsm-key/encrypt")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("user = \"%s:%s\"\n", p.key.AccessKeyID, p.key.SecretAccessKey))
	output, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(output), `{"ciphertext":"`) {
		t.Errorf("%v: %s", err, output)
	}
}
