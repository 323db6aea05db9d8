package attest_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/attest/attesttest"
)

func TestNitroRootG1(t *testing.T) {
	root, err := attest.NitroRootG1()
	if err != nil {
		t.Fatal(err)
	}
	// As printed in the AWS Nitro Enclaves user guide, "Verifying the root of trust".
	const printed = "64:1A:03:21:A3:E2:44:EF:E4:56:46:31:95:D6:06:31:" +
		"7E:D7:CD:CC:3C:17:56:E0:98:93:F3:C6:8F:79:BB:5B"
	sum := sha256.Sum256(root.Raw)
	if hex.EncodeToString(sum[:]) != strings.ToLower(strings.ReplaceAll(printed, ":", "")) {
		t.Error("the fingerprint is another one")
	}
	if got := root.Subject.String(); got != "CN=aws.nitro-enclaves,OU=AWS,O=Amazon,C=US" {
		t.Errorf("the subject is %s", got)
	}
	if err := root.CheckSignatureFrom(root); err != nil {
		t.Error(err)
	}
}

func TestParseRoots(t *testing.T) {
	one, two := attesttest.NewChain(t, now), attesttest.NewChain(t, now)
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	rootDER := one.Certificates[attesttest.Root].Raw
	notForSigning := attesttest.NewChain(t, now, func(_ int, c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	cases := []struct {
		name string
		text []byte
		want int // certificates; 0 is an error
	}{
		{"one", one.RootPEM(), 1},
		{"two", slices.Concat(one.RootPEM(), []byte("\n \r\n"), two.RootPEM(), []byte("\n")), 2},
		{"without a last line break", bytes.TrimSpace(one.RootPEM()), 1},
		{"nothing", nil, 0},
		{"blank", []byte(" \n"), 0},
		{"DER", rootDER, 0},
		{"text before", slices.Concat([]byte("the root:\n"), one.RootPEM()), 0},
		{"text after", slices.Concat(one.RootPEM(), []byte("that was it\n")), 0},
		{"cut off", one.RootPEM()[:200], 0},
		{"second one cut off", slices.Concat(one.RootPEM(), two.RootPEM()[:200]), 0},
		{"a private key among them", slices.Concat(one.RootPEM(), block("PRIVATE KEY", []byte{1})), 0},
		{"a certificate that is none", block("CERTIFICATE", []byte{1}), 0},
		{"an enclave's certificate", block("CERTIFICATE", one.Certificates[attesttest.Enclave].Raw), 0},
		{"a CA that may not sign", notForSigning.RootPEM(), 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			roots, err := attest.ParseRoots(c.text)
			if len(roots) != c.want || (err == nil) != (c.want > 0) {
				t.Errorf("got %d certificates and %v, want %d", len(roots), err, c.want)
			}
		})
	}
}
