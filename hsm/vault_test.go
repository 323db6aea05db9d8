package hsm_test

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

var anchorID = []byte("cks-test")

func vaultConfig(uri hsm.URI) hsm.VaultConfig {
	pin := hsm.NewPIN(os.Getenv(uri.PINSource[len("env:"):]))
	return hsm.VaultConfig{Config: hsm.Config{URI: uri}, PIN: pin, Anchor: anchorID, AnchorLabel: "the anchor"}
}

func openVault(t *testing.T, c hsm.VaultConfig) *hsm.Vault {
	t.Helper()
	v, err := hsm.OpenVault(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Errorf("close vault: %v", err)
		}
	})
	return v
}

func newVaultKey(t *testing.T, v *hsm.Vault, id string) kms.Material {
	t.Helper()
	m, err := v.GenerateKey(t.Context(), []byte(id), "label "+id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func vaultRoundTrip(t *testing.T, v *hsm.Vault, m *kms.Material) hsm.Sealed {
	t.Helper()
	sealed, err := v.Encrypt(t.Context(), m, []byte("aad"), []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Decrypt(t.Context(), m, sealed, []byte("aad")); err != nil || string(got) != "text" {
		t.Fatalf("Decrypt: %q, %v", got, err)
	}
	return sealed
}

func TestVaultKeys(t *testing.T) {
	v := openVault(t, vaultConfig(hsmtest.NewURI(t)))
	m := newVaultKey(t, v, "one")
	sealed := vaultRoundTrip(t, v, &m)
	changes := map[string]func(*hsm.Sealed, *[]byte){
		"aad":        func(_ *hsm.Sealed, aad *[]byte) { *aad = []byte("other") },
		"tag":        func(s *hsm.Sealed, _ *[]byte) { s.Ciphertext[len(s.Ciphertext)-1] ^= 1 },
		"long nonce": func(s *hsm.Sealed, _ *[]byte) { s.Nonce = append(s.Nonce, 1) },
		"half a tag": func(s *hsm.Sealed, _ *[]byte) { s.Ciphertext = s.Ciphertext[:8] },
	}
	if len(sealed.Nonce) != 0 {
		changes["nonce"] = func(s *hsm.Sealed, _ *[]byte) { s.Nonce[0] ^= 1 }
		changes["no nonce"] = func(s *hsm.Sealed, _ *[]byte) { s.Nonce = nil }
	}
	for name, change := range changes {
		forged := hsm.Sealed{Nonce: slices.Clone(sealed.Nonce), IV: sealed.IV, Ciphertext: slices.Clone(sealed.Ciphertext)}
		aad := []byte("aad")
		change(&forged, &aad)
		if _, err := v.Decrypt(t.Context(), &m, forged, aad); !errors.Is(err, hsm.ErrBadCiphertext) {
			t.Errorf("forged %s: %v", name, err)
		}
	}
	other := newVaultKey(t, v, "two")
	if _, err := v.Decrypt(t.Context(), &other, sealed, []byte("aad")); !errors.Is(err, hsm.ErrBadCiphertext) {
		t.Errorf("another key's ciphertext: %v", err)
	}
	if b, err := v.Random(t.Context(), 40); err != nil || len(b) != 40 {
		t.Errorf("Random: %d bytes, %v", len(b), err)
	}
	if _, err := v.Random(t.Context(), 0); err == nil {
		t.Error("no bytes are random bytes")
	}

	uses := []string{"DERIVE"}
	if ownScheme() == kms.DeriveNone {
		uses = []string{"ENCRYPT", "DECRYPT"}
	}
	want := map[string]string{"one": "label one", "two": "label two", string(anchorID): "the anchor"}
	for _, o := range hsm.VaultObjects(t, v) {
		if !o.Resting {
			continue
		}
		if want[o.ID] != o.Label || !o.Sensitive || o.Extractable || o.Public || o.ValueErr == nil {
			t.Errorf("object %q %q: %s", o.ID, o.Label, o)
		}
		if o.ID != string(anchorID) && !slices.Equal(o.Uses, uses) || o.ID == string(anchorID) && len(o.Uses) > 0 {
			t.Errorf("object %q may %v", o.ID, o.Uses)
		}
		delete(want, o.ID)
	}
	if len(want) > 0 {
		t.Errorf("not in the token: %v", want)
	}
}

// TestVaultReopens finds keys again, which were made by another login.
func TestVaultReopens(t *testing.T) {
	c := vaultConfig(hsmtest.NewURI(t))
	first, err := hsm.OpenVault(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	m := newVaultKey(t, first, "one")
	sealed := vaultRoundTrip(t, first, &m)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Encrypt(t.Context(), &m, nil, nil); err == nil {
		t.Error("a closed vault encrypts")
	}
	c.Anchored = true
	v := openVault(t, c)
	if got, err := v.Decrypt(t.Context(), &m, sealed, []byte("aad")); err != nil || string(got) != "text" {
		t.Fatalf("Decrypt: %q, %v", got, err)
	}
	// A call that was cut short left an object; making the key again ends with one.
	again := newVaultKey(t, v, "one")
	vaultRoundTrip(t, v, &again)
}

func TestVaultKeyDeleted(t *testing.T) {
	v := openVault(t, vaultConfig(hsmtest.NewURI(t)))
	m, other := newVaultKey(t, v, "one"), newVaultKey(t, v, "two")
	sealed := vaultRoundTrip(t, v, &m)
	osealed := vaultRoundTrip(t, v, &other)
	hsm.DeleteObject(t, v, "one")
	// It is missed within a second; a clock that stands still would wait for ever, so this one ends.
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, err := v.Encrypt(t.Context(), &m, nil, []byte("text"))
		if errors.Is(err, hsm.ErrKeyGone) {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("after the deletion: %v", err)
		}
	}
	if _, err := v.Decrypt(t.Context(), &m, sealed, []byte("aad")); !errors.Is(err, hsm.ErrKeyGone) {
		t.Errorf("Decrypt: %v", err)
	}
	if got, err := v.Decrypt(t.Context(), &other, osealed, []byte("aad")); err != nil || string(got) != "text" {
		t.Errorf("the other key: %v", err)
	}
	if err := v.Destroy(t.Context(), &m); err != nil {
		t.Errorf("destroying what is gone: %v", err)
	}
	if err := v.Destroy(t.Context(), &other); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Decrypt(t.Context(), &other, osealed, []byte("aad")); !errors.Is(err, hsm.ErrKeyGone) {
		t.Errorf("a destroyed key: %v", err)
	}
	if v.Down() != nil {
		t.Error("the token is down")
	}
}

func TestVaultPIN(t *testing.T) {
	c := vaultConfig(hsmtest.NewURI(t))
	logins := &logCounter{message: "login"}
	c.Logger = slog.New(logins)
	right := c.PIN
	c.PIN = hsm.NewPIN("not the PIN")
	_, err := hsm.OpenVault(t.Context(), c)
	if !errors.Is(err, hsm.ErrPIN) || !hsm.PINCounted(err) || errors.Is(err, hsm.ErrPINLocked) {
		t.Fatalf("a wrong PIN: %v", err)
	}
	if n := logins.n.Load(); n != 1 {
		t.Errorf("%d logins with a wrong PIN", n)
	}
	// A wrong PIN on a token that this process is logged in to would pass for a right one.
	c.PIN = right
	v := openVault(t, c)
	for _, pin := range []hsm.PIN{right, hsm.NewPIN("not the PIN")} {
		c.PIN = pin
		// Some tokens look at the PIN even so.
		if _, err := hsm.OpenVault(t.Context(), c); !errors.Is(err, hsm.ErrLoggedIn) && !errors.Is(err, hsm.ErrPIN) {
			t.Errorf("a second vault on the token: %v", err)
		}
	}
	m := newVaultKey(t, v, "one")
	vaultRoundTrip(t, v, &m)
	c.URI.Token = "no such token"
	if _, err := hsm.OpenVault(t.Context(), c); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("no token: %v", err)
	}
	if err := hsm.TokenPresent(t.Context(), c.URI); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("TokenPresent without the token: %v", err)
	}
}

func TestPINReasons(t *testing.T) {
	for _, c := range []struct {
		code           uint
		locked, noUser bool
	}{{0xA0, false, false}, {0xA4, true, false}, {0x102, false, true}} {
		err := hsm.ErrorOf("C_Login", c.code)
		if !errors.Is(err, hsm.ErrPIN) || errors.Is(err, hsm.ErrPINLocked) != c.locked || errors.Is(err, hsm.ErrNoUser) != c.noUser || !hsm.PINCounted(err) {
			t.Errorf("code 0x%X: %v", c.code, err)
		}
	}
}

// TestVaultAnchor: a token without the anchor that it had is not the store's.
func TestVaultAnchor(t *testing.T) {
	c := vaultConfig(hsmtest.NewURI(t))
	c.Anchored = true
	if _, err := hsm.OpenVault(t.Context(), c); !errors.Is(err, hsm.ErrWrongToken) {
		t.Fatalf("no anchor: %v", err)
	}
	c.Anchored = false
	openVault(t, c)
}

// TestVaultStorageVanishes has a library of its own, so that its restart disturbs nobody.
func TestVaultStorageVanishes(t *testing.T) {
	hsmtest.Require(t, hsmtest.GoneStorage)
	for _, own := range []bool{true, false} {
		name := map[bool]string{true: "own library", false: "shared library"}[own]
		t.Run(name, func(t *testing.T) {
			uri := hsmtest.NewURI(t)
			if own {
				uri.ModulePath = copyFile(t, uri.ModulePath)
			}
			bystander := hsmtest.Token(t)
			d := hsmtest.Domain(t, bystander)
			dm := newKey(t, d)
			dsealed := seal(t, d, &dm, "a", "text")
			v := openVault(t, vaultConfig(uri))
			m := newVaultKey(t, v, "one")
			sealed := vaultRoundTrip(t, v, &m)

			back := hide(t, hsm.TokenOf(v))
			defer back()
			for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				_, err := v.Decrypt(t.Context(), &m, sealed, []byte("aad"))
				if errors.Is(err, hsm.ErrTokenDown) {
					break
				}
				if err != nil || time.Now().After(end) {
					t.Fatalf("without storage: %v", err)
				}
			}
			if v.Down() == nil {
				t.Error("the token is not down")
			}
			mustOpen(t, d, &dm, dsealed, "a", "text")
			back()
			if !hsm.Settled(t, hsm.TokenOf(v)) {
				t.Fatal("the token did not come back")
			}
			if got, err := v.Decrypt(t.Context(), &m, sealed, []byte("aad")); err != nil || string(got) != "text" {
				t.Fatalf("Decrypt: %q, %v", got, err)
			}
			mustOpen(t, d, &dm, dsealed, "a", "text")
		})
	}
}

// TestVaultSessionsLost loses sessions under load.
func TestVaultSessionsLost(t *testing.T) {
	v := openVault(t, vaultConfig(hsmtest.NewURI(t)))
	m := newVaultKey(t, v, "one")
	sealed := vaultRoundTrip(t, v, &m)
	for _, lose := range []func(testing.TB, *hsm.Token){hsm.LoseShort, hsm.LoseHolder, hsm.LoseAll} {
		lose(t, hsm.TokenOf(v))
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if got, err := v.Decrypt(t.Context(), &m, sealed, []byte("aad")); err != nil || string(got) != "text" {
					t.Errorf("Decrypt after the loss: %v", err)
				}
			})
		}
		group.Wait()
		vaultRoundTrip(t, v, &m)
	}
}

// TestVaultEvicts: message keys give way, the keys themselves never go with them.
func TestVaultEvicts(t *testing.T) {
	c := vaultConfig(hsmtest.NewURI(t))
	c.Handles, c.RunMessages = 2, 1
	v := openVault(t, c)
	var keys []kms.Material
	for _, id := range []string{"a", "b", "c", "d"} {
		keys = append(keys, newVaultKey(t, v, id))
	}
	var sealed []hsm.Sealed
	for range 3 {
		for i := range keys {
			sealed = append(sealed, vaultRoundTrip(t, v, &keys[i]))
		}
	}
	for i, s := range sealed {
		if _, err := v.Decrypt(t.Context(), &keys[i%len(keys)], s, []byte("aad")); err != nil {
			t.Error(err)
		}
	}
	resting := 0
	for _, o := range hsm.VaultObjects(t, v) {
		if o.Resting {
			resting++
		}
	}
	if resting != len(keys)+1 {
		t.Errorf("%d token objects, not %d keys and the anchor", resting, len(keys))
	}
}

func copyFile(t *testing.T, path string) string {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return to
}
