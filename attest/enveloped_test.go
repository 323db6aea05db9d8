package attest_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kms11/kms11/attest"
)

// lengths of plaintexts: none, around a block, data keys, the longest that Decrypt takes, and more
// than fits a length of two octets.
var lengths = []int{0, 1, 15, 16, 17, 32, 1024, 4096, 70000}

func plaintext(n int) []byte { return bytes.Repeat([]byte{0x5a}, n) }

func TestEnvelopedDataByHand(t *testing.T) {
	key := recipientKey()
	for _, n := range lengths {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			message, err := attest.EnvelopedData(&key.PublicKey, plaintext(n))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(decrypt(t, key, message), plaintext(n)) {
				t.Error("another plaintext came back")
			}
		})
	}
}

func TestEnvelopedDataWithOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is missing: run `make deps`")
	}
	key := recipientKey()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	keyFile, messageFile := filepath.Join(directory, "key.pem"), filepath.Join(directory, "message.ber")
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for _, n := range lengths {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			message, err := attest.EnvelopedData(&key.PublicKey, plaintext(n))
			if err != nil {
				t.Fatal(err)
			}
			write(t, messageFile, message)
			var complaint bytes.Buffer
			command := exec.Command(openssl, "cms", "-decrypt", "-binary", "-inform", "DER", "-in", messageFile, "-inkey", keyFile)
			command.Stderr = &complaint
			opened, err := command.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, complaint.String())
			}
			if !bytes.Equal(opened, plaintext(n)) {
				t.Error("another plaintext came back")
			}
		})
	}
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEnvelopedDataIsAWSs compares with an answer of AWS KMS to GenerateDataKey, which
// github.com/edgebitio/enclaver publishes in crypto/cms/cms_test.go with the key that it is
// encrypted to. For the same key and a data key of the same length, ours is the same message but
// for what is random.
func TestEnvelopedDataIsAWSs(t *testing.T) {
	theirs := readBase64(t, "testdata/kms-ciphertext-for-recipient.b64")
	text, err := os.ReadFile("testdata/kms-ciphertext-for-recipient.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := attest.EnvelopedData(parsed.(*rsa.PublicKey), plaintext(32))
	if err != nil {
		t.Fatal(err)
	}
	e := dissect(t, theirs)
	if identifier := sha256.Sum256(block.Bytes); !bytes.Equal(theirs[e.keyIdentifier.from:e.keyIdentifier.to], identifier[:]) {
		t.Error("AWS names the key by something else than the SHA-256 of its SubjectPublicKeyInfo")
	}
	if dissect(t, ours) != e {
		t.Fatal("the parts are in other places than in AWS's message")
	}
	for _, random := range []span{e.encryptedKey, e.iv, e.content} {
		copy(ours[random.from:random.to], theirs[random.from:random.to])
	}
	if !bytes.Equal(ours, theirs) {
		t.Errorf("got  %x\nwant %x", ours, theirs)
	}
}

// TestEnvelopedDataIsFresh: neither the content key nor the IV is used twice.
func TestEnvelopedDataIsFresh(t *testing.T) {
	key := &recipientKey().PublicKey
	seen := map[string]bool{}
	for range 20 {
		message, err := attest.EnvelopedData(key, plaintext(32))
		if err != nil {
			t.Fatal(err)
		}
		e := dissect(t, message)
		for _, part := range []span{e.encryptedKey, e.iv, e.content} {
			value := string(message[part.from:part.to])
			if seen[value] {
				t.Fatal("a random part came twice")
			}
			seen[value] = true
		}
	}
}

func TestEnvelopedDataRefusesKeys(t *testing.T) {
	key := recipientKey().PublicKey
	bits := func(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(3), n-2) }
	for name, bad := range map[string]*rsa.PublicKey{
		"nil":           nil,
		"empty":         {},
		"2047 bits":     {N: bits(2047), E: 65537},
		"4097 bits":     {N: bits(4097), E: 65537},
		"even exponent": {N: key.N, E: 65536},
		"exponent 1":    {N: key.N, E: 1},
	} {
		if message, err := attest.EnvelopedData(bad, plaintext(1)); !errors.Is(err, attest.ErrPublicKey) || message != nil {
			t.Errorf("%s: got %v, want ErrPublicKey", name, err)
		}
	}
	if message, err := attest.EnvelopedData(&rsa.PublicKey{N: bits(2048), E: 65537}, plaintext(1)); err == nil || message != nil {
		t.Error("an even modulus is taken")
	}
}
