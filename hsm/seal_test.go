package hsm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

func TestSeal(t *testing.T) {
	d := hsmtest.Domain(t)
	for _, text := range []string{"", "secret", string(make([]byte, 5000))} {
		sealed, err := d.Seal(t.Context(), "import token", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(text)+33 || sealed[0] != 1 || !bytes.Equal(sealed[1:5], []byte{0, 0, 0, 1}) {
			t.Errorf("%d bytes seal to %d: % x", len(text), len(sealed), sealed[:5])
		}
		got, err := d.Open(t.Context(), "import token", sealed)
		if err != nil || string(got) != text {
			t.Errorf("Open: %v", err)
		}
		if _, err := d.Open(t.Context(), "other", sealed); !errors.Is(err, hsm.ErrBadCiphertext) {
			t.Errorf("for another purpose: %v", err)
		}
		for i := range min(len(sealed), 40) {
			forged := bytes.Clone(sealed)
			forged[i] ^= 4
			if _, err := d.Open(t.Context(), "import token", forged); !errors.Is(err, hsm.ErrBadCiphertext) {
				t.Errorf("byte %d changed: %v", i, err)
			}
			if _, err := d.Open(t.Context(), "import token", sealed[:min(i, 32)]); !errors.Is(err, hsm.ErrBadCiphertext) {
				t.Errorf("cut to %d bytes: %v", i, err)
			}
		}
	}
	other := hsmtest.Domain(t)
	sealed, err := d.Seal(t.Context(), "p", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(t.Context(), "p", sealed); !errors.Is(err, hsm.ErrBadCiphertext) {
		t.Errorf("by another domain: %v", err)
	}
}

func TestMACAndRandom(t *testing.T) {
	d := hsmtest.Domain(t)
	a, err := d.MAC(t.Context(), d.RecordKeyVersion(), []byte("record"))
	if err != nil || len(a) != 32 {
		t.Fatalf("%d bytes, %v", len(a), err)
	}
	if b, err := d.MAC(t.Context(), 1, []byte("record")); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the same record gives another MAC: %v", err)
	}
	if b, err := d.MAC(t.Context(), 1, []byte("Record")); err != nil || bytes.Equal(a, b) {
		t.Errorf("another record gives the same MAC: %v", err)
	}
	if _, err := d.MAC(t.Context(), 2, nil); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("an unknown version: %v", err)
	}
	for _, n := range []int{1, 32, 1024, 65536} {
		r, err := d.Random(t.Context(), n)
		if err != nil || len(r) != n {
			t.Errorf("%d random bytes: %d, %v", n, len(r), err)
		}
	}
	for _, n := range []int{-1, 0, 65537} {
		if _, err := d.Random(t.Context(), n); err == nil {
			t.Errorf("%d random bytes", n)
		}
	}
}
