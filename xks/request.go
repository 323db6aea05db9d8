package xks

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"unicode/utf8"
)

// What the proxy takes, in bytes. The specification asks for 4,300 of plaintext and 8,192 of
// additional authenticated data; more is UnsupportedOperationException.
const (
	maxPlaintext = 8192
	maxAAD       = 8192
	maxBody      = 64 << 10
	freeBody     = 16 << 10 // read of whoever asks, in bytes
)

// bytesField is a member with base64. Reading it does not fail for what is not base64, so that the
// operation can say what that means; its bytes are decoded straight out of the request.
type bytesField struct {
	set   bool
	bad   bool
	value []byte
}

// read takes the text of a JSON string.
func (f *bytesField) read(s *scanner) error {
	text, err := s.str()
	if err != nil {
		return err
	}
	f.set = true
	value := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(value, text)
	if err != nil || bytes.ContainsAny(text, "\r\n") {
		f.bad = true
		return nil
	}
	f.value = value[:n]
	return nil
}

// request is the body of every operation: each looks at its own members.
type request struct {
	Metadata           *RequestMetadata // nil if there is none
	AAD                bytesField
	Plaintext          bytesField
	Algorithm          *string
	Integrity          *string
	Ciphertext         bytesField
	CiphertextMetadata bytesField
	IV                 bytesField
	Tag                bytesField
}

// requestMembers are the members of a request. Nothing writes to it.
var requestMembers = []jsonMember[*request]{
	{"requestMetadata", func(r *request, s *scanner) error {
		r.Metadata = new(RequestMetadata)
		return members(s, metadataMembers, r.Metadata)
	}},
	{"additionalAuthenticatedData", func(r *request, s *scanner) error { return r.AAD.read(s) }},
	{"plaintext", func(r *request, s *scanner) error { return r.Plaintext.read(s) }},
	{"encryptionAlgorithm", func(r *request, s *scanner) error { return readOptional(&r.Algorithm, s) }},
	{"ciphertextDataIntegrityValueAlgorithm", func(r *request, s *scanner) error { return readOptional(&r.Integrity, s) }},
	{"ciphertext", func(r *request, s *scanner) error { return r.Ciphertext.read(s) }},
	{"ciphertextMetadata", func(r *request, s *scanner) error { return r.CiphertextMetadata.read(s) }},
	{"initializationVector", func(r *request, s *scanner) error { return r.IV.read(s) }},
	{"authenticationTag", func(r *request, s *scanner) error { return r.Tag.read(s) }},
}

// metadataMembers are those of requestMetadata. Nothing writes to it.
var metadataMembers = []jsonMember[*RequestMetadata]{
	{"awsPrincipalArn", func(m *RequestMetadata, s *scanner) error { return readText(&m.PrincipalARN, s) }},
	{"awsSourceVpc", func(m *RequestMetadata, s *scanner) error { return readText(&m.SourceVPC, s) }},
	{"awsSourceVpce", func(m *RequestMetadata, s *scanner) error { return readText(&m.SourceVPCE, s) }},
	{"kmsKeyArn", func(m *RequestMetadata, s *scanner) error { return readText(&m.KeyARN, s) }},
	{"kmsOperation", func(m *RequestMetadata, s *scanner) error { return readText(&m.Operation, s) }},
	{"kmsRequestId", func(m *RequestMetadata, s *scanner) error { return readText(&m.RequestID, s) }},
	{"kmsViaService", func(m *RequestMetadata, s *scanner) error { return readText(&m.ViaService, s) }},
}

func readText(into *string, s *scanner) error {
	text, err := s.str()
	*into = string(text)
	return err
}

func readOptional(into **string, s *scanner) error {
	*into = new(string)
	return readText(*into, s)
}

// read reads the JSON of a request.
func (r *request) read(body []byte) error {
	s := scanner{text: body}
	if err := members(&s, requestMembers, r); err != nil {
		return err
	}
	if !s.end() || !utf8.Valid(body) {
		return errJSON
	}
	return nil
}

// parse reads and checks the body of an operation. The error is an *Error. The request is given
// even then, with as much of its metadata as could be read, for the log.
func parse(op operation, body []byte) (*request, error) {
	r := new(request)
	if err := r.read(body); err != nil {
		return r, failure(ValidationException, "The request body is not a JSON object with members of the right types.")
	}
	if err := r.checkMetadata(op); err != nil {
		return r, err
	}
	switch op {
	case opEncrypt:
		return r, r.checkEncrypt()
	case opDecrypt:
		return r, r.checkDecrypt()
	}
	return r, nil
}

// checkMetadata wants what the operation requires; no value is looked at but for its length, and
// values that are not known are as good as others.
func (r *request) checkMetadata(op operation) error {
	m := r.Metadata
	if m == nil {
		return failure(ValidationException, "requestMetadata is missing.")
	}
	for _, field := range [...]struct {
		name, value string
		required    bool
	}{
		{"kmsRequestId", m.RequestID, true},
		{"kmsOperation", m.Operation, true},
		{"awsPrincipalArn", m.PrincipalARN, op != opHealth},
		{"kmsKeyArn", m.KeyARN, op == opEncrypt || op == opDecrypt},
	} {
		if field.required && field.value == "" {
			return failure(ValidationException, "requestMetadata."+field.name+" is missing.")
		}
	}
	for _, field := range [...]struct{ name, value string }{
		{"awsPrincipalArn", m.PrincipalARN}, {"kmsKeyArn", m.KeyARN},
	} {
		if len(field.value) > MaxARN {
			return failure(UnsupportedOperationException, fmt.Sprintf("requestMetadata.%s is longer than %d bytes.", field.name, MaxARN))
		}
	}
	return nil
}

func (r *request) checkAlgorithm() error {
	switch {
	case r.Algorithm == nil:
		return failure(ValidationException, "encryptionAlgorithm is missing.")
	case *r.Algorithm != AlgorithmAESGCM:
		return failure(ValidationException, "encryptionAlgorithm is not AES_GCM.")
	}
	return nil
}

func tooLong(name string, most int) error {
	return failure(UnsupportedOperationException, fmt.Sprintf("%s is longer than %d bytes.", name, most))
}

func (r *request) checkEncrypt() error {
	if err := r.checkAlgorithm(); err != nil {
		return err
	}
	switch {
	case r.Integrity != nil && *r.Integrity != IntegritySHA256:
		return failure(ValidationException, "ciphertextDataIntegrityValueAlgorithm is not SHA_256.")
	case !r.Plaintext.set || !r.Plaintext.bad && len(r.Plaintext.value) == 0:
		return failure(ValidationException, "plaintext is missing.")
	case r.Plaintext.bad:
		return failure(ValidationException, "plaintext is not Base64.")
	case r.AAD.bad:
		return failure(ValidationException, "additionalAuthenticatedData is not Base64.")
	case len(r.Plaintext.value) > maxPlaintext:
		return tooLong("plaintext", maxPlaintext)
	case len(r.AAD.value) > maxAAD:
		return tooLong("additionalAuthenticatedData", maxAAD)
	}
	return nil
}

// checkDecrypt: what is wrong with a ciphertext, its IV, its tag or its additional authenticated
// data, even that it is missing, is InvalidCiphertextException (specification, "Error codes").
func (r *request) checkDecrypt() error {
	if err := r.checkAlgorithm(); err != nil {
		return err
	}
	switch {
	case r.CiphertextMetadata.bad:
		return failure(ValidationException, "ciphertextMetadata is not Base64.")
	case len(r.CiphertextMetadata.value) > MaxCiphertextMetadata:
		return failure(ValidationException, fmt.Sprintf("ciphertextMetadata is longer than %d bytes.", MaxCiphertextMetadata))
	case len(r.Ciphertext.value) > maxPlaintext:
		return tooLong("ciphertext", maxPlaintext)
	case len(r.AAD.value) > maxAAD:
		return tooLong("additionalAuthenticatedData", maxAAD)
	case len(r.Ciphertext.value) == 0 || r.Ciphertext.bad:
		return failure(InvalidCiphertextException, "ciphertext is missing or not Base64.")
	case len(r.IV.value) != ShortIV && len(r.IV.value) != LongIV || r.IV.bad:
		return failure(InvalidCiphertextException, "initializationVector is not 12 or 16 bytes in Base64.")
	case len(r.Tag.value) != TagSize || r.Tag.bad:
		return failure(InvalidCiphertextException, "authenticationTag is not 16 bytes in Base64.")
	case r.AAD.bad:
		return failure(InvalidCiphertextException, "additionalAuthenticatedData is not Base64.")
	}
	return nil
}

// wipe clears the plaintext.
func (r *request) wipe() { clear(r.Plaintext.value) }
