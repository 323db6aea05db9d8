package xks

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/sigv4"
)

// toyProxy is a proxy with a key in memory, for a doctor to examine. What its fields say is wrong with
// it are the faults of proxies that exist.
type toyProxy struct {
	gcm      cipher.AEAD
	verifier *sigv4.Verifier

	unboundMetadata, wrongIntegrity, sameIV, shortTag                bool
	stateAs401, teapot, knownOperationsOnly, getIsFine, anySignature bool
	smallOnly, emptyMetadataOK, disabled, html                       bool
}

func newToyProxy(t *testing.T) *toyProxy {
	block, err := aes.NewCipher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	p := new(toyProxy)
	if p.gcm, err = cipher.NewGCM(block); err != nil {
		t.Fatal(err)
	}
	p.verifier = sigv4.NewVerifier(sigv4.Config{
		Service: ServiceName, RegionOK: func(string) bool { return true },
		Lookup: func(_ context.Context, id string) (sigv4.Credential, error) {
			if id != testAccessKeyID {
				return sigv4.Credential{}, sigv4.ErrUnknownKey
			}
			return sigv4.Credential{Secret: testSecret}, nil
		},
	})
	return p
}

func (p *toyProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	answer, err := p.answer(r, body)
	status := http.StatusOK
	var known *Error
	if errors.As(err, &known) {
		if status, answer = known.HTTPStatus, errorAnswer(known); p.html {
			answer = []byte("<html>" + known.Name)
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func (p *toyProxy) answer(r *http.Request, body []byte) ([]byte, error) {
	at, ok := targetOf(r)
	if !ok || at.prefix != "/example" {
		return nil, failure(InvalidUriPathException, "")
	}
	if r.Method != http.MethodPost && !p.getIsFine {
		return nil, errMethod
	}
	if r.Method != http.MethodPost {
		return nil, nil
	}
	if _, err := p.verifier.Verify(r, body); err != nil && !p.anySignature {
		return nil, failure(AuthenticationFailedException, "")
	}
	in, err := parse(at.operation, body)
	if err != nil && !(p.emptyMetadataOK && at.operation == opHealth) {
		if p.stateAs401 {
			return nil, &Error{HTTPStatus: 401, Name: ValidationException}
		}
		return nil, err
	}
	if p.knownOperationsOnly && strings.Contains(in.Metadata.Operation, "Bulk") {
		return nil, failure(ValidationException, "")
	}
	if at.operation == opHealth {
		return marshalled(HealthResponse{1, "v", "m", "e", []EKMDetails{{"1", "m", StatusActive}}}), nil
	}
	if at.keyID != "k" {
		if p.teapot {
			return nil, &Error{HTTPStatus: http.StatusTeapot, Name: KeyNotFoundException}
		}
		return nil, failure(KeyNotFoundException, "")
	}
	return p.crypto(at.operation, in)
}

func (p *toyProxy) crypto(op operation, in *request) ([]byte, error) {
	metadata := []byte("key_version=1")
	bound := func(m []byte) []byte {
		if p.unboundMetadata {
			m = nil
		}
		return BoundAAD(nil, in.AAD.value, m)
	}
	switch op {
	case opMetadata:
		status := KeyEnabled
		if p.disabled {
			status = KeyDisabled
		}
		return marshalled(MetadataResponse{KeySpecAES256, []string{UsageEncrypt, UsageDecrypt}, status}), nil
	case opEncrypt:
		if p.smallOnly && len(in.Plaintext.value) > 4096 {
			return nil, failure(UnsupportedOperationException, "")
		}
		iv := make([]byte, ShortIV)
		if !p.sameIV {
			_, _ = rand.Read(iv)
		}
		sealed := p.gcm.Seal(nil, iv, in.Plaintext.value, bound(metadata))
		end := len(sealed) - TagSize
		out := EncryptResponse{Ciphertext: sealed[:end], Metadata: metadata, IV: iv, Tag: sealed[end:]}
		if in.Integrity != nil {
			sum := IntegrityValue(in.AAD.value, metadata, iv, out.Ciphertext, out.Tag)
			if out.Integrity = sum[:]; p.wrongIntegrity {
				out.Integrity = bent(sum[:])
			}
		}
		if p.shortTag {
			out.Tag = out.Tag[:12]
		}
		return marshalled(out), nil
	}
	if len(in.IV.value) != ShortIV {
		return nil, failure(InvalidCiphertextException, "")
	}
	text, err := p.gcm.Open(nil, in.IV.value, append(in.Ciphertext.value, in.Tag.value...), bound(in.CiphertextMetadata.value))
	if err != nil {
		return nil, failure(InvalidCiphertextException, "")
	}
	return marshalled(DecryptResponse{text}), nil
}

// examine gives the findings on a proxy, those that do not depend on the machine's speed.
func examine(t *testing.T, p *toyProxy) []Finding {
	t.Helper()
	server := httptest.NewServer(p)
	defer server.Close()
	var findings []Finding
	d := &Doctor{
		Config: ClientConfig{Endpoint: server.URL, URIPath: "/example/kms/xks/v1", AccessKeyID: testAccessKeyID, Secret: testSecret, Region: "us-east-1"},
		KeyID:  "k",
		Report: func(f Finding) {
			if !strings.Contains(f.Check, "250 ms") && !strings.Contains(f.Check, "quick") {
				findings = append(findings, f)
			}
		},
	}
	if _, err := d.Examine(t.Context()); err != nil {
		t.Fatal(err)
	}
	return findings
}

func TestDoctorFindsFaults(t *testing.T) {
	for what, c := range map[string]struct {
		fault func(*toyProxy)
		check string // that has to fail; empty: none
		aws   string
	}{
		"nothing":                          {func(*toyProxy) {}, "", ""},
		"metadata that are not bound":      {func(p *toyProxy) { p.unboundMetadata = true }, "Decrypt: other ciphertextMetadata", ""},
		"a wrong integrity value":          {func(p *toyProxy) { p.wrongIntegrity = true }, "Encrypt: with AAD and integrity value", "KMSInvalidStateException: AWS KMS cannot interpret"},
		"one IV for all":                   {func(p *toyProxy) { p.sameIV = true }, "Encrypt: another IV each time", ""},
		"a short tag":                      {func(p *toyProxy) { p.shortTag = true }, "Encrypt: with AAD and integrity value", "cannot interpret"},
		"validation errors as 401":         {func(p *toyProxy) { p.stateAs401 = true }, "health: an empty requestMetadata", ""},
		"a key that is not found as 418":   {func(p *toyProxy) { p.teapot = true }, "GetKeyMetadata: a key that does not exist", ""},
		"only operations that it knows":    {func(p *toyProxy) { p.knownOperationsOnly = true }, "Encrypt: an unknown kmsOperation is taken", "cannot interpret"},
		"an answer to GET":                 {func(p *toyProxy) { p.getIsFine = true }, "GET /health is 405", ""},
		"no look at signatures":            {func(p *toyProxy) { p.anySignature = true }, "a wrong secret access key", ""},
		"plaintexts of 4,096 bytes only":   {func(p *toyProxy) { p.smallOnly = true }, "Encrypt: a plaintext of 4300 bytes with an AAD of 0", "does not support the requested cryptographic operation"},
		"health without request metadata":  {func(p *toyProxy) { p.emptyMetadataOK = true }, "health: an empty requestMetadata", ""},
		"a disabled key":                   {func(p *toyProxy) { p.disabled = true }, "GetKeyMetadata: keyStatus fits CreateKey", "XksKeyInvalidConfigurationException"},
		"errors in a language of browsers": {func(p *toyProxy) { p.html = true }, "a wrong secret access key", "cannot interpret"},
	} {
		t.Run(what, func(t *testing.T) {
			p := newToyProxy(t)
			c.fault(p)
			found := c.check == ""
			for _, f := range examine(t, p) {
				if f.Grade == Failed && f.Check == c.check && strings.Contains(f.AWS, c.aws) {
					found = true
				}
				if f.Grade == Failed && c.check == "" {
					t.Errorf("%+v", f)
				}
			}
			if !found {
				t.Errorf("not found: %s", c.check)
			}
		})
	}
}

// TestVerdicts: the doctor says what this service would answer in AWS KMS's place.
func TestVerdicts(t *testing.T) {
	for name := range statuses {
		if v := verdictOn(failure(name, "")); v.Crypto != kms.KMSInvalidStateException || v.Text == "" || v.Management == "" || v.CreateKey == "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	for _, err := range []error{ErrTimeout, ErrTLS, ErrUnreachable} {
		if v := verdictOn(err); v.Management != kms.XksProxyUriUnreachableException || v.CreateKey != kms.CustomKeyStoreInvalidStateException || v.Text == "" {
			t.Errorf("%v: %+v", err, v)
		}
	}
	for _, err := range []error{ErrMalformed, &Error{HTTPStatus: 400, Name: "Strange"}} {
		if v := verdictOn(err); v != verdictOn(failure(ValidationException, "")) {
			t.Errorf("%v: %+v", err, v)
		}
	}
}

// TestDoctorWithoutTLS: where there is no connection nothing is said of TLS but why.
func TestDoctorWithoutTLS(t *testing.T) {
	plain := httptest.NewServer(newToyProxy(t))
	defer plain.Close()
	stranger := httptest.NewTLSServer(newToyProxy(t))
	defer stranger.Close()
	for what, endpoint := range map[string]string{
		"plain HTTP":                strings.Replace(plain.URL, "http:", "https:", 1),
		"an authority of strangers": stranger.URL,
	} {
		var found []Finding
		d := &Doctor{
			Config: ClientConfig{Endpoint: endpoint, URIPath: "/example/kms/xks/v1", AccessKeyID: testAccessKeyID, Secret: testSecret, Region: "us-east-1"},
			Report: func(f Finding) {
				if strings.HasPrefix(f.Check, "TLS") {
					found = append(found, f)
				}
			},
		}
		if failed, err := d.Examine(t.Context()); err != nil || failed == 0 {
			t.Errorf("%s: %d failed, %v", what, failed, err)
		}
		if len(found) != 2 || found[0].Grade != Failed || !strings.Contains(found[0].Detail, "tls: ") || found[1].Grade != Skipped {
			t.Errorf("%s: %+v", what, found)
		}
	}
}
