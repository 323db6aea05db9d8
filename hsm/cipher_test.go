package hsm_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// known puts a known key under the domain key and gives it twice: wrapped, and as it is.
func known(t testing.TB, d *hsm.Domain) (kms.Material, []byte) {
	t.Helper()
	key := []byte("0123456789abcdef0123456789ABCDEF")
	given := bytes.Clone(key)
	m, err := d.WrapKey(t.Context(), hsm.KeyRequest{Spec: kms.KeySpecSymmetricDefault}, given)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(given, make([]byte, 32)) {
		t.Error("WrapKey did not wipe the caller's key")
	}
	return m, key
}

// TestEncryptRandom: a data key and its ciphertext, and the sizes that are refused.
func TestEncryptRandom(t *testing.T) {
	d := hsmtest.Domain(t)
	m, material := known(t, d)
	for _, n := range []int{1, 32, 1024} {
		plaintext, sealed, err := d.EncryptRandom(t.Context(), &m, []byte("aad"), n)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := messageKey(t, material, sealed.Nonce).Open(nil, sealed.IV, sealed.Ciphertext, []byte("aad"))
		if err != nil || !bytes.Equal(opened, plaintext) || len(plaintext) != n {
			t.Errorf("%d bytes: %d came, and the standard library does not find them in the ciphertext: %v", n, len(plaintext), err)
		}
	}
	for _, n := range []int{-1, 0, 1<<16 + 1} {
		if plaintext, _, err := d.EncryptRandom(t.Context(), &m, nil, n); err == nil || plaintext != nil {
			t.Errorf("%d bytes were made", n)
		}
	}
	hsm.CheckDrawn(t, d)
}

// messageKey is the derivation of kms.DeriveECB by the standard library, written independently of
// the package: AES(material, 1 || nonce) || AES(material, 2 || nonce). Without a nonce it is that of
// kms.DeriveNone: the material itself.
func messageKey(t testing.TB, material, nonce []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(material)
	if err != nil {
		t.Fatal(err)
	}
	var key []byte
	if len(nonce) == 0 {
		key = material
	}
	for counter := byte(1); counter <= 2 && len(nonce) != 0; counter++ {
		in := append([]byte{counter}, nonce...)
		out := make([]byte, 16)
		block.Encrypt(out, in)
		key = append(key, out...)
	}
	if block, err = aes.NewCipher(key); err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

func TestAgainstStandardLibrary(t *testing.T) {
	d := hsmtest.Domain(t)
	m, material := known(t, d)
	for _, text := range []string{"", "x", "sixteen bytes ok", strings.Repeat("long", 1024)} {
		for _, aad := range []string{"", "aad"} {
			sealed := seal(t, d, &m, aad, text)
			gcm := messageKey(t, material, sealed.Nonce)
			got, err := gcm.Open(nil, sealed.IV, sealed.Ciphertext, []byte(aad))
			if err != nil || string(got) != text {
				t.Errorf("%d bytes: the standard library opens the token's ciphertext: %v", len(text), err)
			}
			nonce, iv := bytes.Repeat([]byte{0x42}, len(sealed.Nonce)), bytes.Repeat([]byte{0x24}, 12)
			made := messageKey(t, material, nonce).Seal(nil, iv, []byte(text), []byte(aad))
			mustOpen(t, d, &m, hsm.Sealed{Nonce: nonce, IV: iv, Ciphertext: made}, aad, text)
		}
	}
}

func TestForged(t *testing.T) {
	d := hsmtest.Domain(t)
	m, other := newKey(t, d), newKey(t, d)
	sealed := seal(t, d, &m, "aad", "text")
	flip := func(b []byte, i int) []byte {
		if len(b) == 0 {
			return []byte{0x80}
		}
		c := bytes.Clone(b)
		c[(i+len(c))%len(c)] ^= 0x80
		return c
	}
	for _, c := range []struct {
		name   string
		m      *kms.Material
		sealed hsm.Sealed
		aad    string
	}{
		{"tag", &m, hsm.Sealed{Nonce: sealed.Nonce, IV: sealed.IV, Ciphertext: flip(sealed.Ciphertext, -1)}, "aad"},
		{"text", &m, hsm.Sealed{Nonce: sealed.Nonce, IV: sealed.IV, Ciphertext: flip(sealed.Ciphertext, 0)}, "aad"},
		{"iv", &m, hsm.Sealed{Nonce: sealed.Nonce, IV: flip(sealed.IV, 0), Ciphertext: sealed.Ciphertext}, "aad"},
		{"nonce", &m, hsm.Sealed{Nonce: flip(sealed.Nonce, 0), IV: sealed.IV, Ciphertext: sealed.Ciphertext}, "aad"},
		{"aad", &m, sealed, "other"},
		{"key", &other, sealed, "aad"},
		{"cut", &m, hsm.Sealed{Nonce: sealed.Nonce, IV: sealed.IV, Ciphertext: sealed.Ciphertext[:16]}, "aad"},
		{"no tag", &m, hsm.Sealed{Nonce: sealed.Nonce, IV: sealed.IV, Ciphertext: sealed.Ciphertext[:15]}, "aad"},
		{"no text", &m, hsm.Sealed{Nonce: sealed.Nonce, IV: sealed.IV}, "aad"},
		{"no iv", &m, hsm.Sealed{Nonce: sealed.Nonce, Ciphertext: sealed.Ciphertext}, "aad"},
		{"no nonce", &m, hsm.Sealed{IV: sealed.IV, Ciphertext: sealed.Ciphertext}, "aad"},
		{"long nonce", &m, hsm.Sealed{Nonce: make([]byte, 17), IV: sealed.IV, Ciphertext: sealed.Ciphertext}, "aad"},
	} {
		if c.name == "no nonce" && len(sealed.Nonce) == 0 {
			continue // none is right
		}
		before := hsm.Cached(t, d)
		got, err := d.Decrypt(t.Context(), c.m, c.sealed, []byte(c.aad))
		if !errors.Is(err, hsm.ErrBadCiphertext) || errors.Is(err, hsm.ErrTokenDown) || got != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		// A material may come in; keys of nonces that nobody made may not stay.
		if after := hsm.Cached(t, d); after > before+1 || c.m == &m && after > before {
			t.Errorf("%s: %d handles before, %d after", c.name, before, after)
		}
		// The forgery costs no session.
		mustOpen(t, d, &m, sealed, "aad", "text")
	}
}

func TestRuns(t *testing.T) {
	hsmtest.Require(t, hsmtest.Derivation)
	for _, c := range []struct{ limit, messages, runs int }{{1, 5, 5}, {3, 7, 3}, {0, 20, 1}} {
		t.Run(fmt.Sprint(c.limit), func(t *testing.T) {
			token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), RunMessages: c.limit, RunSeconds: 3600})
			d := hsmtest.Domain(t, token)
			m := newKey(t, d)
			nonces, ivs := map[string]int{}, map[string]bool{}
			for range c.messages {
				sealed := seal(t, d, &m, "a", "text")
				nonces[string(sealed.Nonce)]++
				ivs[string(sealed.Nonce)+string(sealed.IV)] = true
				mustOpen(t, d, &m, sealed, "a", "text")
			}
			if len(nonces) != c.runs || len(ivs) != c.messages {
				t.Errorf("%d messages in %d runs with %d IVs", c.messages, len(nonces), len(ivs))
			}
			for _, n := range nonces {
				if c.limit > 0 && n > c.limit {
					t.Errorf("a run of %d messages", n)
				}
			}
		})
	}
}

// TestCacheBound has far more keys in use than the cache may hold.
func TestCacheBound(t *testing.T) {
	const bound, keys, workers, rounds = 4, 12, 32, 12
	for _, limit := range []int{1, 5, 0} {
		token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), Handles: bound, RunMessages: limit})
		d := hsmtest.Domain(t, token)
		fixed := len(hsm.Objects(t, token))
		var materials [keys]kms.Material
		for i := range materials {
			materials[i] = newKey(t, d)
		}
		var mu sync.Mutex
		ivs := map[string]bool{}
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				for r := range rounds {
					m := &materials[(w*7+r*5)%keys]
					sealed, err := d.Encrypt(t.Context(), m, nil, []byte(m.ID))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					ivs[m.ID+string(sealed.Nonce)+string(sealed.IV)] = true
					mu.Unlock()
					if got, err := d.Decrypt(t.Context(), m, sealed, nil); err != nil || string(got) != m.ID {
						t.Errorf("Decrypt: %v", err)
					}
					if r == rounds/2 {
						d.Forget(m.ID)
					}
				}
			})
		}
		group.Wait()
		if len(ivs) != workers*rounds {
			t.Errorf("limit %d: %d messages with %d pairs of key and IV", limit, workers*rounds, len(ivs))
		}
		objects := len(hsm.Objects(t, token)) - fixed
		if cached := hsm.Cached(t, d); cached > bound || objects != cached {
			t.Errorf("limit %d: %d cached handles, %d objects, bound %d", limit, cached, objects, bound)
		}
		for _, m := range materials {
			d.Forget(m.ID)
		}
		if left := len(hsm.Objects(t, token)) - fixed; left != 0 {
			t.Errorf("limit %d: %d objects left of forgotten keys", limit, left)
		}
	}
}

// TestColdKey has many goroutines ask for one key that is not in the token yet.
func TestColdKey(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	m := newKey(t, d)
	sealed := seal(t, d, &m, "a", "text")
	d.Forget(m.ID)
	before := len(hsm.Objects(t, token))
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if _, err := d.Decrypt(t.Context(), &m, sealed, []byte("a")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	want := 2
	if len(sealed.Nonce) == 0 {
		want = 1 // the material is the message key
	}
	if made := len(hsm.Objects(t, token)) - before; made != want {
		t.Errorf("%d objects for one material and one message key, not %d", made, want)
	}
}

func TestContextEnds(t *testing.T) {
	d := hsmtest.Domain(t)
	m := newKey(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Encrypt(ctx, &m, nil, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Encrypt: %v", err)
	}
	mustOpen(t, d, &m, seal(t, d, &m, "", "x"), "", "x")
}

func TestWrapKeyLength(t *testing.T) {
	d := hsmtest.Domain(t)
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := d.WrapKey(t.Context(), hsm.KeyRequest{Spec: kms.KeySpecSymmetricDefault}, make([]byte, n)); err == nil {
			t.Errorf("WrapKey takes %d bytes", n)
		}
	}
}

// TestBadMaterial gives Decrypt blobs that the domain key did not wrap.
func TestBadMaterial(t *testing.T) {
	d := hsmtest.Domain(t)
	m := newKey(t, d)
	sealed := seal(t, d, &m, "a", "text")
	for name, change := range map[string]func(*kms.Material){
		"blob":     func(m *kms.Material) { m.Blob = bytes.Repeat([]byte{1}, 40) },
		"empty":    func(m *kms.Material) { m.Blob = nil },
		"version":  func(m *kms.Material) { m.DomainKey = 2 },
		"wrap":     func(m *kms.Material) { m.Wrap = "ROT13" },
		"scheme":   func(m *kms.Material) { m.Scheme = "none" },
		"sp800":    func(m *kms.Material) { m.Scheme = kms.DeriveSP800108 },
		"wrap pad": func(m *kms.Material) { m.Wrap = kms.AESKeyWrapPad },
	} {
		if name == "wrap pad" && !hsmtest.Has(hsmtest.ForeignKWP) {
			continue
		}
		bad := m
		bad.ID = strings.Repeat(fmt.Sprintf("%02x", len(name)), 32)
		change(&bad)
		if _, err := d.Decrypt(t.Context(), &bad, sealed, []byte("a")); err == nil || errors.Is(err, hsm.ErrTokenDown) {
			t.Errorf("%s: %v", name, err)
		}
		mustOpen(t, d, &m, sealed, "a", "text")
	}
}

func BenchmarkEncrypt(b *testing.B) {
	d := hsmtest.Domain(b)
	m := newKey(b, d)
	aad, text := make([]byte, 64), make([]byte, 32)
	seal(b, d, &m, "", "warm")
	b.Run("hsm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Encrypt(b.Context(), &m, aad, text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		b.ReportAllocs()
		key, iv := hsm.MessageKey(b, d), make([]byte, 12)
		hsm.RawEncrypt(b, d, func() ([]byte, uint) { return iv, key }, aad, text)
	})
}

// TestDirect uses the scheme of tokens that cannot derive.
func TestDirect(t *testing.T) {
	token := hsmtest.Token(t)
	description := hsmtest.Domain(t, token).Describe()
	description.Scheme = kms.DeriveNone
	d, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, description)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	m := newKey(t, d)
	if m.Scheme != kms.DeriveNone {
		t.Errorf("scheme %s", m.Scheme)
	}
	a, b := seal(t, d, &m, "a", "text"), seal(t, d, &m, "a", "text")
	if len(a.Nonce) != 0 || bytes.Equal(a.IV, b.IV) {
		t.Errorf("nonce of %d bytes, IVs equal %t", len(a.Nonce), bytes.Equal(a.IV, b.IV))
	}
	mustOpen(t, d, &m, a, "a", "text")
	a.Ciphertext[0] ^= 1
	if _, err := d.Decrypt(t.Context(), &m, a, []byte("a")); !errors.Is(err, hsm.ErrBadCiphertext) {
		t.Errorf("forged: %v", err)
	}
}
