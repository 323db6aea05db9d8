package xks

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/kms11/kms11/ops"
)

// do does an operation on a key and gives the JSON of its answer, in one line.
func (r *request) do(ctx context.Context, op operation, key *ops.ProxyKey, eventID string) ([]byte, error) {
	switch op {
	case opMetadata:
		return metadata(ctx, key)
	case opEncrypt:
		return r.encrypt(ctx, key, eventID)
	}
	return r.decrypt(ctx, key, eventID)
}

func metadata(ctx context.Context, key *ops.ProxyKey) ([]byte, error) {
	enabled, uses, err := key.Status(ctx)
	if err != nil {
		return nil, err
	}
	answer := MetadataResponse{KeySpec: KeySpecAES256, KeyUsage: uses[:min(len(uses), MaxKeyUsages)], KeyStatus: KeyDisabled}
	if enabled {
		answer.KeyStatus = KeyEnabled
	}
	return json.Marshal(answer)
}

func (r *request) encrypt(ctx context.Context, key *ops.ProxyKey, eventID string) ([]byte, error) {
	use := ops.ProxyUse{RequestID: r.usedBy(), EventID: eventID}
	if r.Integrity == nil {
		sealed, err := key.Encrypt(ctx, use, r.bind, r.Plaintext.value)
		if err != nil {
			return nil, err
		}
		return append(sealedAnswer(sealed), `"}`...), nil
	}
	// The value comes before the check, so that what is corrupted on the way to it cannot go out with a
	// right value (specification, appendix C).
	var value [sha256.Size]byte
	sealed, err := key.EncryptChecked(ctx, use, r.bind, r.Plaintext.value, func(sealed ops.ProxySealed) {
		ciphertext, tag := split(sealed)
		value = IntegrityValue(r.AAD.value, sealed.Metadata, sealed.IV, ciphertext, tag)
	})
	if err != nil {
		return nil, err
	}
	return append(appendBytes(sealedAnswer(sealed), `","ciphertextDataIntegrityValue":"`, value[:]), `"}`...), nil
}

// split gives the specification's ciphertext and its tag.
func split(sealed ops.ProxySealed) (ciphertext, tag []byte) {
	end := len(sealed.Ciphertext) - TagSize
	return sealed.Ciphertext[:end], sealed.Ciphertext[end:]
}

// sealedAnswer begins the answer with a message; the quotation mark behind its last member is missing.
func sealedAnswer(sealed ops.ProxySealed) []byte {
	ciphertext, tag := split(sealed)
	answer := make([]byte, 0, 256+base64.StdEncoding.EncodedLen(len(ciphertext)))
	answer = appendBytes(answer, `{"ciphertext":"`, ciphertext)
	if len(sealed.Metadata) > 0 {
		answer = appendBytes(answer, `","ciphertextMetadata":"`, sealed.Metadata)
	}
	answer = appendBytes(answer, `","initializationVector":"`, sealed.IV)
	return appendBytes(answer, `","authenticationTag":"`, tag)
}

func (r *request) decrypt(ctx context.Context, key *ops.ProxyKey, eventID string) ([]byte, error) {
	sealed := ops.ProxySealed{Metadata: r.CiphertextMetadata.value, IV: r.IV.value, Ciphertext: append(r.Ciphertext.value, r.Tag.value...)}
	plaintext, err := key.Decrypt(ctx, ops.ProxyUse{RequestID: r.usedBy(), EventID: eventID}, r.bind, sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	answer := make([]byte, 0, 32+base64.StdEncoding.EncodedLen(len(plaintext)))
	return append(appendBytes(answer, `{"plaintext":"`, plaintext), `"}`...), nil
}

// bind gives the additional authenticated data of a ciphertext with this metadata.
func (r *request) bind(metadata []byte) []byte {
	return BoundAAD(make([]byte, 0, 3+len(r.AAD.value)+len(metadata)), r.AAD.value, metadata)
}

// maxRequestID bounds the request id in a key's record of last use, in bytes.
const maxRequestID = 128

func (r *request) usedBy() string {
	id := r.Metadata.RequestID
	return id[:min(len(id), maxRequestID)]
}

// appendBytes appends a text and base64.
func appendBytes(to []byte, text string, value []byte) []byte {
	return base64.StdEncoding.AppendEncode(append(to, text...), value)
}

// errorAnswer is the JSON of an error.
func errorAnswer(e *Error) []byte {
	answer, err := json.Marshal(errorBody{Name: e.Name, Message: printable(e.Message)})
	if err != nil {
		return []byte(`{"errorName":"` + InternalException + `"}`)
	}
	return answer
}
