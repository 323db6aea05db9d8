package attest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
)

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}      // RFC 5652
	oidEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}      // RFC 5652
	oidRSAESOAEP     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}      // RFC 4055
	oidMGF1          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}      // RFC 4055
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}  // RFC 5754
	oidAES256CBC     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42} // RFC 3565
)

const (
	// syntaxVersion is 2 in both places because the recipient is named by a key identifier
	// (RFC 5652, sections 6.1 and 6.2.1). AWS's client refuses any other.
	syntaxVersion = 2
	// contentKeySize is that of AES-256.
	contentKeySize = 32
)

// keyTransRecipientInfo is the structure of RFC 5652, section 6.2.1.
type keyTransRecipientInfo struct {
	Version                int
	SubjectKeyIdentifier   []byte `asn1:"tag:0"`
	KeyEncryptionAlgorithm pkix.AlgorithmIdentifier
	EncryptedKey           []byte
}

// oaepParameters are RSAES-OAEP-params (RFC 4055, section 4.1). The label is empty, the default.
type oaepParameters struct {
	Hash pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
	MGF  pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
}

// EnvelopedData encrypts a plaintext to an RSA key of 2048 to 4096 bits in the form of AWS KMS's
// CiphertextForRecipient: a CMS EnvelopedData (RFC 5652, section 6) with one recipient, to whom a
// fresh AES-256 key goes by RSAES-OAEP with SHA-256 and MGF1 with SHA-256, and the plaintext under
// that key in CBC mode. The form has no authentication of its own; TLS has to provide it. It adds
// about 240 bytes and the length of the modulus. Errors are of kind ErrPublicKey, or crypto/rsa's.
//
// The structure is made here because no maintained Go library makes it: they name recipients by
// certificates, which an enclave does not have, or write DER. AWS writes the outer structures
// with indefinite lengths, and its client (aws-nitro-enclaves-sdk-c, source/cms.c) reads them
// exactly so; other clients were written against the same bytes.
func EnvelopedData(to *rsa.PublicKey, plaintext []byte) ([]byte, error) {
	if err := checkPublicKey(to); err != nil {
		return nil, err
	}
	key := make([]byte, contentKeySize)
	defer clear(key)
	rand.Read(key) // never fails: it ends the process instead
	recipients, err := recipientInfos(to, key)
	if err != nil {
		return nil, fmt.Errorf("encrypting to the recipient: %w", err)
	}
	content, err := encryptedContentInfo(key, plaintext)
	if err != nil {
		return nil, fmt.Errorf("encrypting to the recipient: %w", err)
	}
	var b builder
	contentType, version := b.marshal(oidEnvelopedData), b.marshal(syntaxVersion)
	if b.err != nil {
		return nil, fmt.Errorf("encrypting to the recipient: %w", b.err)
	}
	return indefinite(sequence, contentType,
		indefinite(context0, indefinite(sequence, version, recipients, content))), nil
}

// recipientInfos is a SET of one. The key identifier is the SHA-256 of the SubjectPublicKeyInfo,
// as in AWS's answers.
func recipientInfos(to *rsa.PublicKey, key []byte) ([]byte, error) {
	encryptedKey, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, to, key, nil)
	if err != nil {
		return nil, err
	}
	publicKey, err := x509.MarshalPKIXPublicKey(to)
	if err != nil {
		return nil, err
	}
	identifier := sha256.Sum256(publicKey)
	var b builder
	hash := pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}
	mgf := pkix.AlgorithmIdentifier{Algorithm: oidMGF1, Parameters: asn1.RawValue{FullBytes: b.marshal(hash)}}
	oaep := b.marshal(oaepParameters{hash, mgf})
	recipient := b.marshal(keyTransRecipientInfo{
		Version:                syntaxVersion,
		SubjectKeyIdentifier:   identifier[:],
		KeyEncryptionAlgorithm: pkix.AlgorithmIdentifier{Algorithm: oidRSAESOAEP, Parameters: asn1.RawValue{FullBytes: oaep}},
		EncryptedKey:           encryptedKey,
	})
	set := b.marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: recipient})
	return set, b.err
}

// encryptedContentInfo is the structure of RFC 5652, section 6.1, with the padding of section 6.3.
func encryptedContentInfo(key, plaintext []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	iv := make([]byte, aes.BlockSize)
	rand.Read(iv)
	// Padded and encrypted in place: no second copy of the plaintext is left behind.
	padding := aes.BlockSize - len(plaintext)%aes.BlockSize
	content := make([]byte, len(plaintext)+padding)
	for i := copy(content, plaintext); i < len(content); i++ {
		content[i] = byte(padding)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(content, content)

	var b builder
	algorithm := pkix.AlgorithmIdentifier{Algorithm: oidAES256CBC, Parameters: asn1.RawValue{FullBytes: b.marshal(iv)}}
	info := indefinite(sequence, b.marshal(oidData), b.marshal(algorithm),
		indefinite(context0, b.marshal(content)))
	return info, b.err
}

// builder marshals DER and keeps the first error.
type builder struct{ err error }

func (b *builder) marshal(value any) []byte {
	der, err := asn1.Marshal(value)
	if b.err == nil {
		b.err = err
	}
	return der
}

// Identifier octets of constructed types.
const (
	sequence = 0x30
	context0 = 0xa0
)

// indefinite encloses parts in a constructed type of indefinite length (X.690, section 8.1.3.6).
// encoding/asn1 writes DER only, which has none.
func indefinite(identifier byte, parts ...[]byte) []byte {
	const toBeContinued = 0x80
	endOfContents := []byte{0, 0}
	return slices.Concat([]byte{identifier, toBeContinued}, slices.Concat(parts...), endOfContents)
}
