package hsm_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

func TestGenerateKeyPair(t *testing.T) {
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), PairsAhead: -1})
	d := hsmtest.Domain(t, token)
	fixed := len(hsm.Objects(t, token))
	for _, spec := range []kms.DataKeyPairSpec{
		kms.DataKeyPairSpecRsa2048, kms.DataKeyPairSpecRsa3072, kms.DataKeyPairSpecRsa4096,
		kms.DataKeyPairSpecEccNistP256, kms.DataKeyPairSpecEccNistP384, kms.DataKeyPairSpecEccNistP521,
		kms.DataKeyPairSpecEccNistEdwards25519,
	} {
		if spec == kms.DataKeyPairSpecEccNistEdwards25519 && !hsmtest.Has(hsmtest.Ed25519) {
			continue // TestSupports sees to what is said instead
		}
		pair, err := d.GenerateKeyPair(t.Context(), spec)
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		key, err := x509.ParsePKCS8PrivateKey(pair.Private)
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		again, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, pair.Private) {
			t.Errorf("%s: the private key is not in the form of the standard library", spec)
		}
		if !bytes.Equal(marshalPublic(t, key.(crypto.Signer).Public()), pair.Public) {
			t.Errorf("%s: the public key is that of another private key", spec)
		}
		if r, ok := key.(*rsa.PrivateKey); ok && (r.E != 65537 || len(r.Primes) != 2) {
			t.Errorf("%s: exponent %d, %d primes", spec, r.E, len(r.Primes))
		}
		if len(pair.Private) > 4096 {
			t.Errorf("%s: a private key of %d bytes cannot be encrypted", spec, len(pair.Private))
		}
	}
	if n := len(hsm.Objects(t, token)); n != fixed {
		t.Errorf("%d objects before, %d after", fixed, n)
	}
	for _, spec := range []kms.DataKeyPairSpec{kms.DataKeyPairSpecMlKem768, "NONE"} {
		if spec == kms.DataKeyPairSpecMlKem768 && hsmtest.Has(hsmtest.MLKEM) {
			continue
		}
		if _, err := d.GenerateKeyPair(t.Context(), spec); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// TestKeyPairOfSecp256k1 asks OpenSSL, since the standard library does not have the curve: whether
// the private key is sound, its form, and its public half.
func TestKeyPairOfSecp256k1(t *testing.T) {
	hsmtest.Require(t, hsmtest.Secp256k1)
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed: run `make deps`")
	}
	pair, err := hsmtest.Domain(t).GenerateKeyPair(t.Context(), kms.DataKeyPairSpecEccSecgP256k1)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.der")
	if err := os.WriteFile(file, pair.Private, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []byte {
		out, err := exec.CommandContext(t.Context(), openssl, append([]string{"pkey", "-inform", "DER", "-in", file}, args...)...).Output()
		if err != nil {
			t.Fatalf("openssl pkey %v: %v", args, err)
		}
		return out
	}
	run("-check", "-noout")
	if !bytes.Equal(run("-pubout", "-outform", "DER"), pair.Public) {
		t.Error("OpenSSL computes another public key")
	}
	text := run("-outform", "DER")
	if len(text) == 0 || !bytes.Contains(pair.Private, text[len(text)-65:]) {
		t.Error("the private key does not hold its public half")
	}
}

// TestPairsAhead watches the pool: never more than its bound, filled in the background, drained
// by requests at once, and gone with the domain.
func TestPairsAhead(t *testing.T) {
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), PairsAhead: 2, Sessions: 2})
	d := hsmtest.Domain(t, token)
	fixed := len(hsm.Objects(t, token))
	if n := hsm.PairsReady(t, d); n != 0 {
		t.Errorf("%d pairs before the first request", n)
	}
	seen := map[string]bool{}
	var mu sync.Mutex
	generate := func() {
		pair, err := d.GenerateKeyPair(t.Context(), kms.DataKeyPairSpecRsa2048)
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if seen[string(pair.Public)] {
			t.Error("a pair is handed out twice")
		}
		seen[string(pair.Public)] = true
	}
	generate()
	waitFor(t, "the pool to fill", func() bool { return hsm.PairsReady(t, d) == 2 })
	var group sync.WaitGroup
	for range 6 {
		group.Go(generate)
	}
	group.Wait()
	waitFor(t, "the pool to fill again", func() bool { return hsm.PairsReady(t, d) == 2 })
	if n := len(hsm.Objects(t, token)) - fixed; n != 4 || len(seen) != 7 {
		t.Errorf("%d objects for two pairs; %d pairs handed out", n, len(seen))
	}
	// Pairs whose session was lost are made again.
	hsm.LoseLong(t, token)
	generate()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(hsm.Objects(t, token)); n != 3 {
		t.Errorf("%d objects after the domain was closed, not the three resting keys", n)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}
