package attest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kms11/kms11/attest/attesttest"
)

// seed is a real document; seedTime is when it was made.
func seed(f *testing.F) []byte {
	f.Helper()
	text, err := os.ReadFile("testdata/nitro-eu-central-1-2025.b64")
	if err != nil {
		f.Fatal(err)
	}
	document, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		f.Fatal(err)
	}
	return document
}

var seedTime = time.UnixMilli(0x0195f1b5aca0)

// FuzzVerify reads arbitrary bytes as a document.
func FuzzVerify(f *testing.F) {
	document := seed(f)
	f.Add(document)
	f.Add(slices.Concat([]byte{tagSign1}, document))
	f.Add(document[:len(document)/2])
	root, err := NitroRootG1()
	if err != nil {
		f.Fatal(err)
	}
	v := Verifier{Roots: x509.NewCertPool(), Now: func() time.Time { return seedTime }}
	v.Roots.AddCert(root)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := v.Verify(data)
		if err == nil || d != nil {
			t.Fatal("accepted what AWS did not sign")
		}
		checkKind(t, err)
	})
}

// FuzzPayload reads arbitrary bytes as a payload whose signature has been checked.
func FuzzPayload(f *testing.F) {
	message, err := parseSign1(seed(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(message.Payload))
	recipient := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(3), 2046), E: 65537}
	f.Add(attesttest.Encode(f, attesttest.Claims(f, attesttest.NewChain(f, seedTime), recipient)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePayload(data)
		if err != nil {
			checkKind(t, err)
			return
		}
		if _, err := p.path(); err != nil {
			checkKind(t, err)
		}
		d, err := p.document()
		if err != nil {
			checkKind(t, err)
			return
		}
		if d.ModuleID == "" || d.PublicKey == nil || len(d.UserData) > maxOptional || len(d.Nonce) > maxOptional {
			t.Errorf("outside the limits: %+v", d)
		}
		if n := len(d.ConditionKeys()); n < 1 || n > maxPCRs+1 {
			t.Errorf("%d condition keys", n)
		}
		for index, value := range d.PCRs {
			if index < 0 || index >= maxPCRs || len(value) < 32 || len(value) > 64 {
				t.Errorf("PCR%d of %d bytes", index, len(value))
			}
		}
	})
}

func checkKind(t *testing.T, err error) {
	t.Helper()
	kinds := []error{ErrMalformed, ErrAlgorithm, ErrChain, ErrSignature, ErrExpired, ErrPublicKey}
	if !slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) }) {
		t.Errorf("an error of no kind: %v", err)
	}
}
