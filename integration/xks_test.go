package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/kms11/kms11/integration/kms11test"
)

// xksPrefix is the tenant of these tests.
const xksPrefix = "/example"

// xksProxy is a server with an external key store proxy, seen by a client that signs with AWS's own
// signer.
type xksProxy struct {
	*kms11test.Server
	endpoint string // scheme, host and port
	prefix   string
	key      aws.Credentials
	client   *http.Client
}

// startXKS starts a server with a proxy, a tenant and a credential of it. settings are more lines of
// the section xks. No test depends on how fast the machine is, so a request may take a minute.
func startXKS(t testing.TB, settings ...string) *xksProxy {
	t.Helper()
	p := &xksProxy{prefix: xksPrefix, client: &http.Client{Timeout: time.Minute}}
	listen := kms11test.FreeAddress(t)
	p.endpoint = "http://" + listen
	config := filepath.Join(t.TempDir(), "kms11.yaml")
	text := "xks:\n  timeout: 60000\n  listen: " + listen + "\n"
	for _, line := range settings {
		text += "  " + line + "\n"
		if strings.HasPrefix(line, "tls:") {
			p.endpoint = "https://" + listen
		}
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Server = kms11test.Start(t, "--config", config)
	p.admin(t, "tenant", "create", "--prefix", p.prefix)
	p.key = p.newCredential(t, p.prefix)
	return p
}

// admin runs a kms11 xks command that has to succeed and gives its output.
func (p *xksProxy) admin(t testing.TB, args ...string) string {
	t.Helper()
	output, code := p.tryAdmin(t, args...)
	if code != 0 {
		t.Fatalf("kms11 xks %q left with %d: %s", args, code, output)
	}
	return output
}

func (p *xksProxy) tryAdmin(t testing.TB, args ...string) (output string, code int) {
	t.Helper()
	return kms11test.Command(t, append(append([]string{"xks"}, args...), "--data", p.Dir)...)
}

// consoleFile is the JSON file that the AWS KMS console reads.
type consoleFile struct {
	XksProxyUriPath                  string
	XksProxyAuthenticationCredential struct{ AccessKeyId, RawSecretAccessKey string }
}

func (p *xksProxy) newCredential(t testing.TB, prefix string) aws.Credentials {
	t.Helper()
	var file consoleFile
	decoder := json.NewDecoder(strings.NewReader(p.admin(t, "credential", "create", "--prefix", prefix)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSuffix(prefix, "/") + "/kms/xks/v1"; file.XksProxyUriPath != want {
		t.Fatalf("the console's file names the path %s, not %s", file.XksProxyUriPath, want)
	}
	c := file.XksProxyAuthenticationCredential
	return aws.Credentials{AccessKeyID: c.AccessKeyId, SecretAccessKey: c.RawSecretAccessKey}
}

// token runs a PKCS#11 tool on the token that the server made.
func (p *xksProxy) token(t testing.TB, name string, args ...string) {
	t.Helper()
	runOnToken(t, p.Server, name, args...)
}

// importKey puts a known AES-256 key into the token with SoftHSM2's own tool, as the owner of an HSM
// has keys in it, and makes an external key of it.
func (p *xksProxy) importKey(t testing.TB, label string) (value []byte) {
	t.Helper()
	sum := sha256.Sum256([]byte(label))
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, sum[:], 0o600); err != nil {
		t.Fatal(err)
	}
	p.token(t, "softhsm2-util", "--import", file, "--aes", "--label", label, "--id", hex.EncodeToString(sum[:4]))
	p.admin(t, "key", "create", "--prefix", p.prefix, "--id", label, "--object", "pkcs11:token=kms11;object="+label)
	return sum[:]
}

// fields is a JSON object.
type fields = map[string]any

// with gives a copy of the object with these members set; nil takes one away.
func with(object fields, changes ...any) fields {
	changed := fields{}
	for name, value := range object {
		changed[name] = value
	}
	for i := 0; i < len(changes); i += 2 {
		name := changes[i].(string)
		if changes[i+1] == nil {
			delete(changed, name)
		} else {
			changed[name] = changes[i+1]
		}
	}
	return changed
}

// xksMetadata is the specification's example of requestMetadata.
func xksMetadata(operation string) fields {
	return fields{
		"awsPrincipalArn": "arn:aws:iam::123456789012:user/Alice",
		"kmsKeyArn":       "arn:aws:kms:us-east-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"kmsOperation":    operation,
		"kmsRequestId":    "4112f4d6-db54-4af4-ae30-c55a22a8dfae",
		"kmsViaService":   "ebs",
	}
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func encryptBody(plaintext, aad []byte) fields {
	body := fields{"requestMetadata": xksMetadata("Encrypt"), "plaintext": b64(plaintext), "encryptionAlgorithm": "AES_GCM"}
	if aad != nil {
		body["additionalAuthenticatedData"] = b64(aad)
	}
	return body
}

// decryptBody asks for the decryption of an answer of Encrypt.
func decryptBody(sealed fields, aad []byte) fields {
	body := fields{"requestMetadata": xksMetadata("Decrypt"), "encryptionAlgorithm": "AES_GCM"}
	for _, name := range []string{"ciphertext", "ciphertextMetadata", "initializationVector", "authenticationTag"} {
		if value, there := sealed[name]; there {
			body[name] = value
		}
	}
	if aad != nil {
		body["additionalAuthenticatedData"] = b64(aad)
	}
	return body
}

// xksAnswer is what the proxy said.
type xksAnswer struct {
	status int
	text   string
	fields fields
}

func (a xksAnswer) String() string { return fmt.Sprintf("%d %.300s", a.status, a.text) }

// newRequest makes an unsigned request to a path below the tenant's.
func (p *xksProxy) newRequest(t testing.TB, path string, body []byte) *http.Request {
	t.Helper()
	uri := p.endpoint + strings.TrimSuffix(p.prefix, "/") + "/kms/xks/v1" + path
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, uri, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}

func signXKS(t testing.TB, r *http.Request, body []byte, key aws.Credentials, service string, at time.Time) {
	t.Helper()
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(t.Context(), key, r, hex.EncodeToString(sum[:]), service, "eu-west-1", at); err != nil {
		t.Fatal(err)
	}
}

func (p *xksProxy) send(t testing.TB, r *http.Request) xksAnswer {
	t.Helper()
	response, err := p.client.Do(r)
	if err != nil {
		t.Error(err)
		return xksAnswer{}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	a := xksAnswer{status: response.StatusCode, text: string(text)}
	if json.Unmarshal(text, &a.fields) != nil {
		t.Errorf("%s: not JSON: %v", r.URL.Path, a)
	}
	if strings.Contains(a.text, "\n") || response.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: not one line of application/json: %v", r.URL.Path, a)
	}
	return a
}

// raw signs and sends a body as it is.
func (p *xksProxy) raw(t testing.TB, path, body string) xksAnswer {
	t.Helper()
	r := p.newRequest(t, path, []byte(body))
	signXKS(t, r, []byte(body), p.key, "kms-xks-proxy", time.Now())
	return p.send(t, r)
}

func (p *xksProxy) call(t testing.TB, path string, body fields) xksAnswer {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return p.raw(t, path, string(text))
}

// ok is call for a request that has to succeed.
func (p *xksProxy) ok(t testing.TB, path string, body fields) fields {
	t.Helper()
	a := p.call(t, path, body)
	if a.status != http.StatusOK {
		t.Fatalf("%s: %v", path, a)
	}
	return a.fields
}

// xksStatuses is the specification's table of errors.
var xksStatuses = map[string]int{
	"ValidationException": 400, "InvalidStateException": 400, "InvalidCiphertextException": 400, "InvalidKeyUsageException": 400,
	"AuthenticationFailedException": 401, "AccessDeniedException": 403, "KeyNotFoundException": 404, "InvalidUriPathException": 404,
	"ThrottlingException": 429, "UnsupportedOperationException": 501, "DependencyTimeoutException": 503, "InternalException": 500,
}

// refused checks that an answer is this error, with its status and a message as the specification
// wants it.
func (a xksAnswer) refused(t testing.TB, what, name string) {
	t.Helper()
	if a.status != xksStatuses[name] || a.fields["errorName"] != name {
		t.Errorf("%s: got %v, want %s", what, a, name)
	}
	message, _ := a.fields["errorMessage"].(string)
	if len(message) >= 512 || strings.ContainsFunc(message, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("%s: the message is not fewer than 512 of printable ASCII: %q", what, message)
	}
	for member := range a.fields {
		if member != "errorName" && member != "errorMessage" {
			t.Errorf("%s: an error has the member %s", what, member)
		}
	}
}

func decoded(t testing.TB, object fields, name string) []byte {
	t.Helper()
	text, ok := object[name].(string)
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		t.Fatalf("%s is not Base64: %v", name, object[name])
	}
	return b
}
