// Package hsmtest gives tests their own tokens: of SoftHSM2, or of the kind that the environment
// variable KMS11_HSMTEST names, as `make test-tokens` does.
//
// SoftHSM2 reads SOFTHSM2_CONF once, at C_Initialize, so a test process has one token directory:
// Main makes it, before any test runs, and removes it afterwards. Each test then makes tokens of
// its own in it. Test processes share nothing, so packages can be tested in parallel, with or
// without softhsm-config/with-softhsm.sh around them.
//
//	func TestMain(m *testing.M) { hsmtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		d := hsmtest.Domain(t)
//		…
//	}
package hsmtest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
)

// pinVariable is where the URIs of test tokens find their PIN.
const pinVariable = "KMS11_HSMTEST_PIN"

// Main makes a SoftHSM2 directory for this process, runs the tests and exits. It replaces
// SOFTHSM2_CONF, so it must be called before anything loads SoftHSM2.
func Main(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kms11-hsmtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := prepare(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func prepare(dir string) error {
	tokens := filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		return err
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Setenv("SOFTHSM2_CONF", conf); err != nil {
		return err
	}
	pin := make([]byte, 4) // openCryptoki takes no more than eight characters
	_, _ = rand.Read(pin)  // crypto/rand never fails
	return os.Setenv(pinVariable, hex.EncodeToString(pin))
}

// Module gives the path of SoftHSM2 as hsm.FindSoftHSM does. Without SoftHSM2 the test fails.
func Module(t testing.TB) string {
	t.Helper()
	path, err := hsm.FindSoftHSM()
	if err != nil {
		t.Fatalf("%v: run `make deps`, or set SOFTHSM2_MODULE to libsofthsm2.so", err)
	}
	return path
}

// TokenDir is the directory that holds all tokens of this process.
func TokenDir(t testing.TB) string {
	t.Helper()
	conf := os.Getenv("SOFTHSM2_CONF")
	if os.Getenv(pinVariable) == "" || conf == "" {
		t.Fatal("hsmtest.Main was not called: the package needs func TestMain(m *testing.M) { hsmtest.Main(m) }")
	}
	return filepath.Join(filepath.Dir(conf), "tokens")
}

// NewURI makes a fresh token and gives the URI that opens it. What a URI names lives until the test
// ends.
func NewURI(t testing.TB) hsm.URI {
	t.Helper()
	TokenDir(t)
	return parse(t, theKind().uri(t))
}

// NewURIOf is NewURI for a library that is SoftHSM2 in the end.
func NewURIOf(t testing.TB, module string) hsm.URI {
	t.Helper()
	TokenDir(t)
	return parse(t, initToken(t, module))
}

func parse(t testing.TB, text string) hsm.URI {
	t.Helper()
	uri, err := hsm.ParseURI(text)
	if err != nil {
		t.Fatal(err)
	}
	return uri
}

// newSoftHSM makes a token of SoftHSM2.
func newSoftHSM(t testing.TB) string {
	t.Helper()
	return initToken(t, Module(t))
}

// initToken makes a token on a free slot of a library.
func initToken(t testing.TB, module string) string {
	t.Helper()
	random := make([]byte, 6)
	_, _ = rand.Read(random) // crypto/rand never fails
	label := "test " + hex.EncodeToString(random)
	pin := hsm.NewPIN(os.Getenv(pinVariable))
	if err := hsm.InitToken(module, label, pin, pin); err != nil {
		t.Fatal(err)
	}
	return "pkcs11:token=" + strings.ReplaceAll(label, " ", "%20") + "?module-path=" + module + "&pin-source=env:" + pinVariable
}

// Open opens the token that c names, until the test ends.
func Open(t testing.TB, c hsm.Config) *hsm.Token {
	t.Helper()
	token, err := hsm.OpenToken(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := token.Close(); err != nil {
			t.Errorf("close token: %v", err)
		}
	})
	return token
}

// Token makes and opens a fresh token with the defaults.
func Token(t testing.TB) *hsm.Token {
	t.Helper()
	return Open(t, hsm.Config{URI: NewURI(t)})
}

// Domain makes a fresh domain: on the tokens, or on one fresh token if there are none.
func Domain(t testing.TB, tokens ...*hsm.Token) *hsm.Domain {
	t.Helper()
	if len(tokens) == 0 {
		tokens = []*hsm.Token{Token(t)}
	}
	d, err := hsm.CreateDomain(t.Context(), tokens)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close domain: %v", err)
		}
	})
	return d
}
