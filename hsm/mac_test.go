package hsm_test

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"errors"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

var macSpecs = []struct {
	spec      kms.KeySpec
	algorithm kms.MacAlgorithmSpec
	hash      crypto.Hash
	wrap      kms.WrapAlgorithm
}{
	{kms.KeySpecHmac224, kms.MacAlgorithmSpecHmacSha224, crypto.SHA224, kms.AESKeyWrapPad},
	{kms.KeySpecHmac256, kms.MacAlgorithmSpecHmacSha256, crypto.SHA256, kms.AESKeyWrap},
	{kms.KeySpecHmac384, kms.MacAlgorithmSpecHmacSha384, crypto.SHA384, kms.AESKeyWrap},
	{kms.KeySpecHmac512, kms.MacAlgorithmSpecHmacSha512, crypto.SHA512, kms.AESKeyWrap},
}

func goMAC(h crypto.Hash, key, message []byte) []byte {
	m := hmac.New(h.New, key)
	m.Write(message)
	return m.Sum(nil)
}

// TestMacAgainstStandardLibrary imports keys of every length that is allowed, which SoftHSM2 pads
// with zeros where it wraps them by RFC 5649.
func TestMacAgainstStandardLibrary(t *testing.T) {
	d := hsmtest.Domain(t)
	for _, c := range macSpecs {
		size := c.hash.Size()
		for _, n := range []int{size, size + 1, 63, 64, 65, 71, 72, 100, 127, 128} {
			if n < size {
				continue
			}
			key := bytes.Repeat([]byte{0xa5, 3, 0xff}, n)[:n]
			m, err := d.WrapKey(t.Context(), hsm.KeyRequest{Spec: c.spec}, bytes.Clone(key))
			if err != nil {
				t.Fatalf("%s, %d bytes: %v", c.spec, n, err)
			}
			for _, message := range []string{"", "m", strings.Repeat("long", 1024)} {
				got, err := d.GenerateMac(t.Context(), &m, c.algorithm, []byte(message))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, goMAC(c.hash, key, []byte(message))) {
					t.Errorf("%s with a key of %d bytes over %d is not that of the standard library", c.algorithm, n, len(message))
				}
			}
		}
		for _, n := range []int{0, size - 1, 129} {
			if _, err := d.WrapKey(t.Context(), hsm.KeyRequest{Spec: c.spec}, make([]byte, n)); err == nil {
				t.Errorf("%s takes %d bytes", c.spec, n)
			}
		}
	}
}

func TestMac(t *testing.T) {
	d := hsmtest.Domain(t)
	for _, c := range macSpecs {
		m := newSecret(t, d, c.spec)
		if m.Length != c.hash.Size() || m.Wrap != c.wrap || m.Scheme != "" || m.PublicKey != nil {
			t.Errorf("%s: %d bytes by %s, scheme %q", c.spec, m.Length, m.Wrap, m.Scheme)
		}
		message := []byte("message")
		mac, err := d.GenerateMac(t.Context(), &m, c.algorithm, message)
		if err != nil || len(mac) != c.hash.Size() {
			t.Fatalf("%s: %d bytes, %v", c.algorithm, len(mac), err)
		}
		d.Forget(m.ID)
		if err := d.VerifyMac(t.Context(), &m, c.algorithm, message, mac); err != nil {
			t.Errorf("%s: %v", c.algorithm, err)
		}
		for name, bad := range malformed(mac) {
			if err := d.VerifyMac(t.Context(), &m, c.algorithm, message, bad); !errors.Is(err, hsm.ErrBadMAC) {
				t.Errorf("%s, MAC %s: %v", c.algorithm, name, err)
			}
		}
		if err := d.VerifyMac(t.Context(), &m, c.algorithm, []byte("other"), mac); !errors.Is(err, hsm.ErrBadMAC) {
			t.Errorf("%s of another message: %v", c.algorithm, err)
		}
	}
	symmetric := newKey(t, d)
	if _, err := d.GenerateMac(t.Context(), &symmetric, kms.MacAlgorithmSpecHmacSha256, nil); err == nil {
		t.Error("a symmetric encryption key makes MACs")
	}
	hmacKey := newSecret(t, d, kms.KeySpecHmac256)
	if _, err := d.GenerateMac(t.Context(), &hmacKey, "HMAC_MD5", nil); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("HMAC_MD5: %v", err)
	}
}
