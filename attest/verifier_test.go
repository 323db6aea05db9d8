package attest_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/attest/attesttest"
)

// now is the time of every test's verifier: certificates have whole seconds.
var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// recipientKey is one enclave's key for all tests: making one takes a while.
var recipientKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func verifier(roots *x509.CertPool) *attest.Verifier {
	return &attest.Verifier{Roots: roots, Now: func() time.Time { return now }}
}

// claimsOf are the payload of a document that verifies.
func claimsOf(t testing.TB, chain *attesttest.Chain) map[string]any {
	return attesttest.Claims(t, chain, &recipientKey().PublicKey)
}

func TestVerify(t *testing.T) {
	chain := attesttest.NewChain(t, now)
	claims := claimsOf(t, chain)
	claims["user_data"] = []byte("data")
	claims["nonce"] = bytes.Repeat([]byte{7}, 1024)
	untagged := chain.Document(t, claims)
	for name, document := range map[string][]byte{
		"untagged": untagged,
		"tag 18":   slices.Concat([]byte{0xd2}, untagged),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := verifier(chain.Roots()).Verify(document)
			if err != nil {
				t.Fatal(err)
			}
			if d.ModuleID != claims["module_id"] || !d.Timestamp.Equal(now) ||
				!d.PublicKey.Equal(&recipientKey().PublicKey) ||
				string(d.UserData) != "data" || len(d.Nonce) != 1024 || len(d.PCRs) != 16 {
				t.Errorf("the document says something else: %+v", d)
			}
		})
	}
}

func TestConditionKeys(t *testing.T) {
	chain := attesttest.NewChain(t, now)
	claims := claimsOf(t, chain)
	for name, pcrs := range map[string]map[int][]byte{
		"with PCR0":    {0: bytes.Repeat([]byte{0xAB}, 48), 31: bytes.Repeat([]byte{1}, 32)},
		"without PCR0": {8: bytes.Repeat([]byte{2}, 64)},
	} {
		t.Run(name, func(t *testing.T) {
			claims["pcrs"] = pcrs
			d, err := verifier(chain.Roots()).Verify(chain.Document(t, claims))
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{
				"kms:RecipientAttestation:PCR0":        strings.Repeat("ab", 48),
				"kms:RecipientAttestation:ImageSha384": strings.Repeat("ab", 48),
				"kms:RecipientAttestation:PCR31":       strings.Repeat("01", 32),
			}
			if pcrs[0] == nil {
				want = map[string]string{"kms:RecipientAttestation:PCR8": strings.Repeat("02", 64)}
			}
			if got := d.ConditionKeys(); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestDocumentOwnsItsMemory: a caller may reuse the buffer of a request.
func TestDocumentOwnsItsMemory(t *testing.T) {
	chain := attesttest.NewChain(t, now)
	document := chain.Document(t, claimsOf(t, chain))
	d, err := verifier(chain.Roots()).Verify(document)
	if err != nil {
		t.Fatal(err)
	}
	clear(document)
	if want := sha512.Sum384([]byte{0}); !bytes.Equal(d.PCRs[0], want[:]) {
		t.Error("PCR0 changed with the buffer")
	}
}

// TestAge: the limit holds in both directions and does not depend on the certificates.
func TestAge(t *testing.T) {
	chain := attesttest.NewChain(t, now, func(_ int, c *x509.Certificate) {
		c.NotBefore = now.Add(-24 * time.Hour)
	})
	document := chain.Document(t, claimsOf(t, chain))
	cases := []struct {
		maxAge, age time.Duration
		want        error
	}{
		{0, attest.DefaultMaxAge, nil},
		{0, attest.DefaultMaxAge + time.Millisecond, attest.ErrExpired},
		{0, -attest.DefaultMaxAge, nil},
		{0, -attest.DefaultMaxAge - time.Millisecond, attest.ErrExpired},
		{time.Hour, time.Hour, nil},
		{time.Hour, time.Hour + time.Millisecond, attest.ErrExpired},
		{-time.Hour, 0, attest.ErrExpired},
	}
	for _, c := range cases {
		v := attest.Verifier{
			Roots:  chain.Roots(),
			Now:    func() time.Time { return now.Add(c.age) },
			MaxAge: c.maxAge,
		}
		if _, err := v.Verify(document); !errors.Is(err, c.want) {
			t.Errorf("max age %v, age %v: got %v, want %v", c.maxAge, c.age, err, c.want)
		}
	}
}

// TestZeroVerifier: the clock has a default, the roots have none; in particular they are not the
// system's, which are made to be the right ones here.
func TestZeroVerifier(t *testing.T) {
	chain := attesttest.NewChain(t, time.Now())
	document := chain.Document(t, claimsOf(t, chain))
	if _, err := (&attest.Verifier{Roots: chain.Roots()}).Verify(document); err != nil {
		t.Errorf("with the default clock: %v", err)
	}
	system := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(system, chain.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", system)
	for name, roots := range map[string]*x509.CertPool{"nil": nil, "empty": x509.NewCertPool()} {
		if _, err := (&attest.Verifier{Roots: roots}).Verify(document); !errors.Is(err, attest.ErrChain) {
			t.Errorf("%s roots: got %v, want ErrChain", name, err)
		}
	}
}

// realDocuments were made by Nitro hypervisors and published by those who asked for them: in the
// README of github.com/nostrband/noauth-enclaved, and in the Solidity tests of a verifier, which
// store it without the three bytes "ic_" of a field name. The second has a map of indefinite
// length. Neither holds an RSA key.
var realDocuments = []struct {
	file, module, pcr4 string
	made               time.Time
}{
	{
		file:   "testdata/nitro-eu-central-1-2025.b64",
		module: "i-0ffff615a409a72d7-enc0195f17eaba9b385",
		pcr4:   "6386cee86c94b2a713c98e1d883134e8f2c019a17a712eb950fde15e9d6667575569c4e5c5e66eb9c920369961025fd2",
		made:   time.UnixMilli(0x0195f1b5aca0),
	},
	{
		file:   "testdata/nitro-us-east-1-2026.b64",
		module: "i-0368fa67e156d6d23-enc019b8596b1a9dad6",
		pcr4:   "245617239e18ae8eb5150c2be45200db1e6b1e483d94c81d8386171eaad6cf641a1c90f1571f185426c82f77783feb37",
		made:   time.UnixMilli(0x019b8597a84a),
	},
}

func readBase64(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRealDocuments: AWS's own documents pass every check under AWS's own root, up to the key that
// they do not have, and none of the checks when they are changed.
func TestRealDocuments(t *testing.T) {
	root, err := attest.NitroRootG1()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	for _, real := range realDocuments {
		t.Run(real.file, func(t *testing.T) {
			document := readBase64(t, real.file)
			at := func(when time.Time) *attest.Verifier {
				return &attest.Verifier{Roots: roots, Now: func() time.Time { return when }}
			}
			if _, err := at(real.made).Verify(document); !errors.Is(err, attest.ErrPublicKey) {
				t.Errorf("when it was made: got %v, want ErrPublicKey", err)
			}
			if _, err := at(real.made.Add(attest.DefaultMaxAge + 1)).Verify(document); !errors.Is(err, attest.ErrExpired) {
				t.Errorf("later: got %v, want ErrExpired", err)
			}
			chain := attesttest.NewChain(t, real.made)
			other := attest.Verifier{Roots: chain.Roots(), Now: func() time.Time { return real.made }}
			if _, err := other.Verify(document); !errors.Is(err, attest.ErrChain) {
				t.Errorf("under another root: got %v, want ErrChain", err)
			}
			pcr4, err := hex.DecodeString(real.pcr4)
			if err != nil {
				t.Fatal(err)
			}
			offset := bytes.Index(document, pcr4)
			if offset < 0 || !bytes.Contains(document, []byte(real.module)) {
				t.Fatal("the file holds another document")
			}
			document[offset] ^= 1
			if _, err := at(real.made).Verify(document); !errors.Is(err, attest.ErrSignature) {
				t.Errorf("with another PCR4: got %v, want ErrSignature", err)
			}
		})
	}
}
