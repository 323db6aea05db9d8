package hsm_test

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// opensslPath is where OpenSSL is, which has SM2.
func opensslPath(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed: run `make deps`")
	}
	return path
}

// openssl runs OpenSSL in a directory.
func openssl(t testing.TB, dir string, args ...string) ([]byte, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), opensslPath(t), args...)
	command.Dir = dir
	return command.Output()
}

func write(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sm2Texts are plaintexts of the lengths that matter: one byte, whose mask is often nothing, around
// the 32 bytes of a block of the KDF, and the longest.
func sm2Texts() [][]byte {
	texts := [][]byte{[]byte("encryption standard")}
	for _, n := range []int{1, 31, 32, 33, 1024} {
		texts = append(texts, bytes.Repeat([]byte{0xa5}, n))
	}
	return texts
}

func TestSM2Example(t *testing.T) {
	hsmtest.Require(t, hsmtest.SM2)
	plaintext, err := hsm.OpenSM2Example(t, hsmtest.Token(t))
	if err != nil || string(plaintext) != "encryption standard" {
		t.Errorf("%q, %v", plaintext, err)
	}
}

// TestSM2Decrypt decrypts what OpenSSL encrypted to a key in the token, and what the token did.
func TestSM2Decrypt(t *testing.T) {
	hsmtest.Require(t, hsmtest.SM2)
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	m := newPair(t, d, kms.KeySpecSm2, kms.KeyUsageTypeEncryptDecrypt)
	dir := t.TempDir()
	write(t, dir, "public.der", m.PublicKey)
	fixed := len(hsm.Objects(t, token))
	for _, text := range sm2Texts() {
		write(t, dir, "text", text)
		theirs, err := openssl(t, dir, "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "public.der", "-in", "text")
		if err != nil {
			t.Fatal(err)
		}
		ours, err := d.EncryptSM2(t.Context(), &m, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, ciphertext := range [][]byte{theirs, ours} {
			got, err := d.DecryptSM2(t.Context(), &m, ciphertext)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes: %v", len(text), err)
			}
		}
	}
	d.Forget(m.ID) // and so the copy that decrypts
	if n := len(hsm.Objects(t, token)); n != fixed {
		t.Errorf("%d objects before, %d after", fixed, n)
	}
	for _, text := range [][]byte{nil, make([]byte, 1025)} {
		if _, err := d.EncryptSM2(t.Context(), &m, text); err == nil {
			t.Errorf("%d bytes are encrypted", len(text))
		}
	}
}

// TestSM2Encrypt has OpenSSL decrypt, with its own key, what the token encrypted.
func TestSM2Encrypt(t *testing.T) {
	hsmtest.Require(t, hsmtest.SM2)
	d := hsmtest.Domain(t)
	dir := t.TempDir()
	if _, err := openssl(t, dir, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", "key"); err != nil {
		t.Fatal(err)
	}
	spki, err := openssl(t, dir, "pkey", "-in", "key", "-pubout", "-outform", "DER")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range sm2Texts() {
		ciphertext, err := d.EncryptSM2(t.Context(), &kms.Material{PublicKey: spki}, text)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "ciphertext", ciphertext)
		got, err := openssl(t, dir, "pkeyutl", "-decrypt", "-inkey", "key", "-in", "ciphertext")
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes: OpenSSL gives %d: %v", len(text), len(got), err)
		}
	}
}

// sm2Parts are the parts of a ciphertext, in the form that the service takes.
type sm2Parts struct {
	X, Y       *big.Int
	Hash, Text []byte
}

func TestSM2BadCiphertexts(t *testing.T) {
	hsmtest.Require(t, hsmtest.SM2)
	d := hsmtest.Domain(t)
	m := newPair(t, d, kms.KeySpecSm2, kms.KeyUsageTypeEncryptDecrypt)
	other := newPair(t, d, kms.KeySpecSm2, kms.KeyUsageTypeEncryptDecrypt)
	good, err := d.EncryptSM2(t.Context(), &m, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	var parts sm2Parts
	if _, err := asn1.Unmarshal(good, &parts); err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*sm2Parts)) []byte {
		p := sm2Parts{new(big.Int).Set(parts.X), new(big.Int).Set(parts.Y), bytes.Clone(parts.Hash), bytes.Clone(parts.Text)}
		change(&p)
		der, err := asn1.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	field, _ := new(big.Int).SetString("fffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff", 16)
	bad := map[string][]byte{
		"nothing":              nil,
		"cut":                  good[:len(good)-1],
		"followed":             append(bytes.Clone(good), 0),
		"of another key":       nil,
		"hash":                 changed(func(p *sm2Parts) { p.Hash[0] ^= 1 }),
		"hash cut":             changed(func(p *sm2Parts) { p.Hash = p.Hash[1:] }),
		"text":                 changed(func(p *sm2Parts) { p.Text[0] ^= 1 }),
		"no text":              changed(func(p *sm2Parts) { p.Text = nil }),
		"text longer":          changed(func(p *sm2Parts) { p.Text = append(p.Text, 0) }),
		"the other point of x": changed(func(p *sm2Parts) { p.Y.Sub(field, p.Y) }),
		"off the curve":        changed(func(p *sm2Parts) { p.Y.Add(p.Y, big.NewInt(1)) }),
		"x beyond the field":   changed(func(p *sm2Parts) { p.X.Add(p.X, field) }),
		"negative":             changed(func(p *sm2Parts) { p.X.Neg(p.X) }),
		"zeros":                changed(func(p *sm2Parts) { p.X, p.Y = new(big.Int), new(big.Int) }),
		"C1 C3 C2 in the raw":  append(append(append([]byte{4}, parts.X.FillBytes(make([]byte, 32))...), parts.Y.FillBytes(make([]byte, 32))...), append(parts.Hash, parts.Text...)...),
	}
	if bad["of another key"], err = d.EncryptSM2(t.Context(), &other, []byte("text")); err != nil {
		t.Fatal(err)
	}
	for name, ciphertext := range bad {
		// The other point gives the same x, so its ciphertext is as good as the one that was made.
		if name == "the other point of x" {
			if got, err := d.DecryptSM2(t.Context(), &m, ciphertext); err != nil || string(got) != "text" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if _, err := d.DecryptSM2(t.Context(), &m, ciphertext); !errors.Is(err, hsm.ErrBadCiphertext) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSM2Keys looks at where such keys live, and that each does what it was made for.
func TestSM2Keys(t *testing.T) {
	hsmtest.Require(t, hsmtest.SM2)
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	agrees := newPair(t, d, kms.KeySpecSm2, kms.KeyUsageTypeKeyAgreement)
	if (len(agrees.ObjectID) == 0) == (len(agrees.Blob) == 0) {
		t.Errorf("neither resident nor wrapped, or both: %+v", agrees)
	}
	public, secret := hsm.SM2Agree(t, agrees.PublicKey)
	got, err := d.DeriveSharedSecret(t.Context(), &agrees, kms.KeySpecSm2, public)
	if err != nil || !bytes.Equal(got, secret) {
		t.Errorf("a shared secret of %d bytes: %v", len(got), err)
	}
	off := bytes.Clone(public)
	off[len(off)-1] ^= 1
	for name, peer := range map[string][]byte{"off the curve": off, "cut": public[:len(public)-1], "none": nil,
		"P-256": newPair(t, d, kms.KeySpecEccNistP256, kms.KeyUsageTypeKeyAgreement).PublicKey} {
		if _, err := d.DeriveSharedSecret(t.Context(), &agrees, kms.KeySpecSm2, peer); !errors.Is(err, hsm.ErrBadPublicKey) {
			t.Errorf("peer's key %s: %v", name, err)
		}
	}
	_, err = d.GenerateKey(t.Context(), hsm.KeyRequest{Spec: kms.KeySpecSm2, Usage: kms.KeyUsageTypeSignVerify})
	if !errors.Is(err, hsm.ErrUnsupported) || !strings.Contains(err.Error(), "x-kms11-sm2dsa") || !strings.Contains(err.Error(), "SM2DSA") {
		t.Errorf("a key that signs: %v", err)
	}
	for _, m := range []*kms.Material{&agrees} {
		if err := d.Destroy(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
}

// TestSM2DataPair asks OpenSSL whether a data key pair is sound.
func TestSM2DataPair(t *testing.T) {
	hsmtest.Require(t, hsmtest.SM2)
	pair, err := hsmtest.Domain(t).GenerateKeyPair(t.Context(), kms.DataKeyPairSpecSm2)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "key", pair.Private)
	if _, err := openssl(t, dir, "pkey", "-inform", "DER", "-in", "key", "-check", "-noout"); err != nil {
		t.Error(err)
	}
	if public, err := openssl(t, dir, "pkey", "-inform", "DER", "-in", "key", "-pubout", "-outform", "DER"); err != nil || !bytes.Equal(public, pair.Public) {
		t.Errorf("OpenSSL computes another public key: %v", err)
	}
}

// TestSM2Forbidden: decoding around the token's ECDH is what ForbidPaddingOutside forbids.
func TestSM2Forbidden(t *testing.T) {
	hsmtest.Require(t, hsmtest.SM2)
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), ForbidPaddingOutside: true})
	d := hsmtest.Domain(t, token)
	if d.Supports(kms.KeySpecSm2, "SM2PKE") || !d.Supports(kms.KeySpecSm2, "ECDH") {
		t.Error("SM2PKE is to be forbidden, ECDH is not")
	}
	if _, err := d.GenerateKey(t.Context(), hsm.KeyRequest{Spec: kms.KeySpecSm2, Usage: kms.KeyUsageTypeEncryptDecrypt}); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("a key that decrypts: %v", err)
	}
}
