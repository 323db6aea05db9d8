package attest_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// reader takes BER elements (X.690) off a message, as a client without a library would: one octet
// of identifier, and a length that may be indefinite. It shares nothing with the code under test.
type reader struct {
	t    testing.TB
	data []byte
	at   int // offset in data
}

// header reads an element's identifier, which must be as given, and its length; -1 is indefinite.
func (r *reader) header(identifier byte) (length int) {
	r.t.Helper()
	if r.at+2 > len(r.data) || r.data[r.at] != identifier {
		r.t.Fatalf("offset %d: no element %#x", r.at, identifier)
	}
	first := r.data[r.at+1]
	r.at += 2
	switch {
	case first == 0x80:
		return -1
	case first < 0x80:
		return int(first)
	}
	for range first & 0x7f {
		length = length<<8 | int(r.data[r.at])
		r.at++
	}
	return length
}

// open enters an element of indefinite length, enter one of definite length.
func (r *reader) open(identifier byte) {
	r.t.Helper()
	if r.header(identifier) != -1 {
		r.t.Fatalf("offset %d: a definite length", r.at)
	}
}

func (r *reader) enter(identifier byte) {
	r.t.Helper()
	if r.header(identifier) < 0 {
		r.t.Fatalf("offset %d: an indefinite length", r.at)
	}
}

// take reads a primitive element and says where its content is.
func (r *reader) take(identifier byte) span {
	r.t.Helper()
	n := r.header(identifier)
	if n < 0 || r.at+n > len(r.data) {
		r.t.Fatalf("offset %d: length %d", r.at, n)
	}
	r.at += n
	return span{r.at - n, r.at}
}

// exactly reads an element that must have this content, in hex.
func (r *reader) exactly(identifier byte, content string) {
	r.t.Helper()
	if got := r.bytes(r.take(identifier)); hex.EncodeToString(got) != content {
		r.t.Fatalf("offset %d: %x, not %s", r.at, got, content)
	}
}

func (r *reader) bytes(s span) []byte { return r.data[s.from:s.to] }

type span struct{ from, to int }

// envelope is where the parts of an EnvelopedData are that differ from message to message.
type envelope struct{ keyIdentifier, encryptedKey, iv, content span }

// dissect reads an EnvelopedData of AWS's form, and nothing else.
func dissect(t testing.TB, message []byte) (e envelope) {
	t.Helper()
	r := &reader{t: t, data: message}
	r.open(0x30)                          // ContentInfo
	r.exactly(0x06, "2a864886f70d010703") // envelopedData
	r.open(0xa0)                          //
	r.open(0x30)                          // EnvelopedData
	r.exactly(0x02, "02")                 // version
	r.enter(0x31)                         // recipientInfos
	r.enter(0x30)                         // KeyTransRecipientInfo
	r.exactly(0x02, "02")                 // version
	e.keyIdentifier = r.take(0x80)        // subjectKeyIdentifier
	r.enter(0x30)                         // keyEncryptionAlgorithm
	r.exactly(0x06, "2a864886f70d010107") // rsaesOaep
	r.enter(0x30)                         // RSAES-OAEP-params
	r.enter(0xa0)                         // hashFunc
	r.enter(0x30)                         //
	r.exactly(0x06, "608648016503040201") // sha256
	r.exactly(0x05, "")                   // NULL
	r.enter(0xa1)                         // maskGenFunc
	r.enter(0x30)                         //
	r.exactly(0x06, "2a864886f70d010108") // mgf1
	r.enter(0x30)                         //
	r.exactly(0x06, "608648016503040201") // sha256
	r.exactly(0x05, "")                   // NULL
	e.encryptedKey = r.take(0x04)         // encryptedKey
	r.open(0x30)                          // EncryptedContentInfo
	r.exactly(0x06, "2a864886f70d010701") // data
	r.enter(0x30)                         // contentEncryptionAlgorithm
	r.exactly(0x06, "60864801650304012a") // aes256-CBC
	e.iv = r.take(0x04)                   //
	r.open(0xa0)                          // encryptedContent
	e.content = r.take(0x04)              //
	for range 5 {
		r.exactly(0x00, "") // end of contents
	}
	if r.at != len(message) {
		t.Fatalf("%d bytes follow the message", len(message)-r.at)
	}
	return e
}

// decrypt opens a message the way RFC 5652 says, padding included.
func decrypt(t testing.TB, key *rsa.PrivateKey, message []byte) []byte {
	t.Helper()
	e := dissect(t, message)
	r := &reader{t: t, data: message}
	contentKey, err := rsa.DecryptOAEP(sha256.New(), rand.Reader, key, r.bytes(e.encryptedKey), nil)
	if err != nil || len(contentKey) != 32 {
		t.Fatalf("content key: %v", err)
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		t.Fatal(err)
	}
	padded := make([]byte, e.content.to-e.content.from)
	cipher.NewCBCDecrypter(block, r.bytes(e.iv)).CryptBlocks(padded, r.bytes(e.content))
	padding := int(padded[len(padded)-1])
	if padding < 1 || padding > aes.BlockSize {
		t.Fatalf("padding of %d bytes", padding)
	}
	for _, b := range padded[len(padded)-padding:] {
		if int(b) != padding {
			t.Fatal("uneven padding")
		}
	}
	return padded[:len(padded)-padding]
}
