package hsm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// The vectors of Wycheproof run in the token, with their keys imported. Those that a token cannot
// be asked are counted by reason. Verifying ones run a second time with Config.PublicOutside, so
// that both ways agree.

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type vectorGroup struct {
	IVSize      int      `json:"ivSize"`
	TagSize     int      `json:"tagSize"`
	MGFSHA      string   `json:"mgfSha"`
	SHA         string   `json:"sha"`
	PublicKey   hexBytes `json:"publicKeyDer"`
	PrivateKey  hexBytes `json:"privateKeyPkcs8"`
	Tests       []vector `json:"tests"`
	KeySizeBits int      `json:"keySize"`
}

type vector struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment"`
	Flags   []string `json:"flags"`
	Result  string   `json:"result"` // valid, invalid or acceptable
	Key     hexBytes `json:"key"`
	IV      hexBytes `json:"iv"`
	AAD     hexBytes `json:"aad"`
	Msg     hexBytes `json:"msg"`
	CT      hexBytes `json:"ct"`
	Tag     hexBytes `json:"tag"`
	Sig     hexBytes `json:"sig"`
	Label   hexBytes `json:"label"`
	Public  hexBytes `json:"public"`
	Private hexBytes `json:"private"`
	Shared  hexBytes `json:"shared"`
}

// errLeftOut is a vector that did not run; its text is the reason.
type errLeftOut string

func (e errLeftOut) Error() string { return string(e) }

// runVectors runs one file. run answers nil if the vector went as Wycheproof says.
func runVectors(t *testing.T, name string, run func(t *testing.T, g *vectorGroup, v *vector) error) {
	t.Run(name, func(t *testing.T) {
		raw, err := fs.ReadFile(wycheproof.TestVectors, name+"_test.json")
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Groups []vectorGroup `json:"testGroups"`
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			t.Fatal(err)
		}
		ran, left := 0, map[string]int{}
		for i := range file.Groups {
			g := &file.Groups[i]
			for j := range g.Tests {
				v := &g.Tests[j]
				err := run(t, g, v)
				var reason errLeftOut
				if errors.As(err, &reason) {
					left[string(reason)]++
					continue
				}
				ran++
				if err != nil {
					t.Errorf("vector %d (%s, %s %v): %v", v.ID, v.Result, v.Comment, v.Flags, err)
				}
			}
		}
		var reasons []string
		for _, r := range slices.Sorted(maps.Keys(left)) {
			reasons = append(reasons, fmt.Sprintf("%d %s", left[r], r))
		}
		t.Logf("%d run; left out: %s", ran, strings.Join(reasons, ", "))
		if ran == 0 {
			t.Error("no vector ran")
		}
	})
}

// as compares the outcome of a call with what the vector says. Acceptable vectors may go either way.
func (v *vector) as(err, refusal error) error {
	switch {
	case err != nil && !errors.Is(err, refusal):
		return fmt.Errorf("another error: %w", err)
	case v.Result == "valid" && err != nil:
		return fmt.Errorf("refused: %w", err)
	case v.Result == "invalid" && err == nil:
		return errors.New("accepted")
	}
	return nil
}

func TestWycheproofGCM(t *testing.T) {
	token := hsmtest.Token(t)
	runVectors(t, "aes_gcm", func(t *testing.T, g *vectorGroup, v *vector) error {
		if g.IVSize != 96 || g.TagSize != 128 {
			return errLeftOut("with an IV or tag of another size, which is never used")
		}
		sealed := slices.Concat(v.CT, v.Tag)
		got, err := hsm.OpenGCM(t, token, v.Key, v.IV, v.AAD, sealed)
		if err := v.as(err, hsm.ErrBadCiphertext); err != nil || v.Result != "valid" {
			return err
		}
		if !bytes.Equal(got, v.Msg) {
			return errors.New("another plaintext")
		}
		got, err = hsm.SealGCM(t, token, v.Key, v.IV, v.AAD, v.Msg)
		if err == nil && !bytes.Equal(got, sealed) {
			err = errors.New("another ciphertext")
		}
		return err
	})
}

func TestWycheproofWrap(t *testing.T) {
	hsmtest.Require(t, hsmtest.LongSecrets, hsmtest.ForeignKWP)
	token := hsmtest.Token(t)
	for name, algorithm := range map[string]kms.WrapAlgorithm{"aes_wrap": kms.AESKeyWrap, "aes_kwp": kms.AESKeyWrapPad} {
		runVectors(t, name, func(t *testing.T, _ *vectorGroup, v *vector) error {
			if len(v.CT) == 0 {
				return errLeftOut("with an empty blob, which is never passed to a token")
			}
			got, err := hsm.Unwrap(t, token, algorithm, v.Key, v.CT)
			if v.Result == "invalid" && err == nil {
				return errors.New("accepted")
			}
			if v.Result == "valid" && (err != nil || !bytes.Equal(got, v.Msg)) {
				return fmt.Errorf("unwrapped %d bytes that are not the key: %w", len(got), err)
			}
			if v.Result != "valid" {
				return nil
			}
			if algorithm == kms.AESKeyWrapPad && len(v.Msg)%8 != 0 {
				return nil // SoftHSM 2.6.1 pads with zeros first: see wrap.go
			}
			got, err = hsm.Wrap(t, token, algorithm, v.Key, v.Msg)
			if err == nil && !bytes.Equal(got, v.CT) {
				err = errors.New("wrapped to another blob")
			}
			return err
		})
	}
}

func TestWycheproofHMAC(t *testing.T) {
	d := hsmtest.Domain(t)
	for _, c := range macSpecs {
		name := strings.ToLower(strings.ReplaceAll(string(c.algorithm), "_SHA_", "_sha"))
		materials := map[string]kms.Material{}
		runVectors(t, name, func(t *testing.T, g *vectorGroup, v *vector) error {
			if len(v.Key) < c.hash.Size() || len(v.Key) > 128 {
				return errLeftOut("with keys of a length that KMS does not take")
			}
			m, ok := materials[string(v.Key)]
			if !ok {
				var err error
				if m, err = d.WrapKey(t.Context(), hsm.KeyRequest{Spec: c.spec}, bytes.Clone(v.Key)); err != nil {
					return err
				}
				materials[string(v.Key)] = m
			}
			if g.TagSize == 8*c.hash.Size() {
				return v.as(d.VerifyMac(t.Context(), &m, c.algorithm, v.Msg, v.Tag), hsm.ErrBadMAC)
			}
			mac, err := d.GenerateMac(t.Context(), &m, c.algorithm, v.Msg)
			if err != nil {
				return err
			}
			if !bytes.Equal(mac[:g.TagSize/8], v.Tag) {
				err = hsm.ErrBadMAC
			}
			return v.as(err, hsm.ErrBadMAC)
		})
	}
}

// publicMaterial is a material of which only the public half is known.
func publicMaterial(spki []byte) *kms.Material {
	id := sha256.Sum256(spki)
	return &kms.Material{ID: hex.EncodeToString(id[:]), PublicKey: spki}
}

func TestWycheproofVerify(t *testing.T) {
	d := hsmtest.Domain(t)
	outside := sameDomain(t, d, hsm.Config{PublicOutside: true})
	for _, c := range []struct {
		name      string
		spec      kms.KeySpec
		algorithm kms.SigningAlgorithmSpec
	}{
		{"rsa_signature_2048_sha256", kms.KeySpecRsa2048, kms.SigningAlgorithmSpecRsassaPkcs1V15Sha256},
		{"rsa_signature_2048_sha384", kms.KeySpecRsa2048, kms.SigningAlgorithmSpecRsassaPkcs1V15Sha384},
		{"rsa_signature_2048_sha512", kms.KeySpecRsa2048, kms.SigningAlgorithmSpecRsassaPkcs1V15Sha512},
		{"rsa_signature_3072_sha256", kms.KeySpecRsa3072, kms.SigningAlgorithmSpecRsassaPkcs1V15Sha256},
		{"rsa_signature_4096_sha512", kms.KeySpecRsa4096, kms.SigningAlgorithmSpecRsassaPkcs1V15Sha512},
		{"rsa_pss_2048_sha256_mgf1_32", kms.KeySpecRsa2048, kms.SigningAlgorithmSpecRsassaPssSha256},
		{"rsa_pss_2048_sha384_mgf1_48", kms.KeySpecRsa2048, kms.SigningAlgorithmSpecRsassaPssSha384},
		{"rsa_pss_3072_sha256_mgf1_32", kms.KeySpecRsa3072, kms.SigningAlgorithmSpecRsassaPssSha256},
		{"rsa_pss_4096_sha384_mgf1_48", kms.KeySpecRsa4096, kms.SigningAlgorithmSpecRsassaPssSha384},
		{"rsa_pss_4096_sha512_mgf1_64", kms.KeySpecRsa4096, kms.SigningAlgorithmSpecRsassaPssSha512},
		{"ecdsa_secp256r1_sha256", kms.KeySpecEccNistP256, kms.SigningAlgorithmSpecEcdsaSha256},
		{"ecdsa_secp256r1_sha512", kms.KeySpecEccNistP256, kms.SigningAlgorithmSpecEcdsaSha512}, // a hash longer than the order
		{"ecdsa_secp384r1_sha384", kms.KeySpecEccNistP384, kms.SigningAlgorithmSpecEcdsaSha384},
		{"ecdsa_secp384r1_sha256", kms.KeySpecEccNistP384, kms.SigningAlgorithmSpecEcdsaSha256}, // and a shorter one
		{"ecdsa_secp521r1_sha512", kms.KeySpecEccNistP521, kms.SigningAlgorithmSpecEcdsaSha512},
		{"ecdsa_secp256k1_sha256", kms.KeySpecEccSecgP256k1, kms.SigningAlgorithmSpecEcdsaSha256},
		{"ed25519", edSpec, edAlgorithm},
	} {
		if c.spec == kms.KeySpecEccSecgP256k1 && !hasSpec(c.spec) {
			continue // nothing but a token verifies these
		}
		runVectors(t, c.name, func(t *testing.T, g *vectorGroup, v *vector) error {
			m := publicMaterial(g.PublicKey)
			for _, by := range []*hsm.Domain{d, outside} {
				err := hsm.VerifyAny(t, by, m, c.spec, c.algorithm, v.Msg, v.Sig)
				if err := v.as(err, hsm.ErrBadSignature); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func TestWycheproofOAEP(t *testing.T) {
	d := hsmtest.Domain(t)
	for _, c := range []struct {
		name      string
		spec      kms.KeySpec
		algorithm kms.EncryptionAlgorithmSpec
	}{
		{"rsa_oaep_2048_sha1_mgf1sha1", kms.KeySpecRsa2048, kms.EncryptionAlgorithmSpecRsaesOaepSha1},
		{"rsa_oaep_2048_sha256_mgf1sha256", kms.KeySpecRsa2048, kms.EncryptionAlgorithmSpecRsaesOaepSha256},
		{"rsa_oaep_3072_sha256_mgf1sha256", kms.KeySpecRsa3072, kms.EncryptionAlgorithmSpecRsaesOaepSha256},
		{"rsa_oaep_4096_sha256_mgf1sha256", kms.KeySpecRsa4096, kms.EncryptionAlgorithmSpecRsaesOaepSha256},
	} {
		var key []byte
		var m kms.Material
		runVectors(t, c.name, func(t *testing.T, g *vectorGroup, v *vector) (err error) {
			if !bytes.Equal(key, g.PrivateKey) {
				key = g.PrivateKey
				m, err = d.WrapKey(t.Context(), hsm.KeyRequest{Spec: c.spec, Usage: kms.KeyUsageTypeEncryptDecrypt}, bytes.Clone(key))
				if err != nil {
					t.Fatal(err)
				}
			}
			if len(v.Label) != 0 {
				return errLeftOut("with a label, which KMS does not have")
			}
			got, err := d.DecryptRSA(t.Context(), &m, c.spec, c.algorithm, v.CT)
			if err == nil && v.Result != "invalid" && !bytes.Equal(got, v.Msg) {
				return errors.New("another plaintext")
			}
			return v.as(err, hsm.ErrBadCiphertext)
		})
	}
}

// TestWycheproofECDH imports a private key for almost every vector. On the larger curves, where a
// token takes milliseconds for that, every eighth of the valid vectors runs, and all others.
func TestWycheproofECDH(t *testing.T) {
	d := hsmtest.Domain(t)
	for _, c := range []struct {
		name  string
		spec  kms.KeySpec
		curve elliptic.Curve
		every int
	}{
		{"ecdh_secp256r1", kms.KeySpecEccNistP256, elliptic.P256(), 1},
		{"ecdh_secp384r1", kms.KeySpecEccNistP384, elliptic.P384(), 1},
		{"ecdh_secp521r1", kms.KeySpecEccNistP521, elliptic.P521(), 1},
	} {
		materials := map[string]kms.Material{}
		runVectors(t, c.name, func(t *testing.T, _ *vectorGroup, v *vector) error {
			if v.Result == "valid" && v.ID%c.every != 0 {
				return errLeftOut("for the time they take")
			}
			m, ok := materials[string(v.Private)]
			if !ok {
				var err error
				if m, err = d.WrapKey(t.Context(), hsm.KeyRequest{Spec: c.spec, Usage: kms.KeyUsageTypeKeyAgreement}, ecPKCS8(t, c.curve, v.Private)); err != nil {
					return err
				}
				materials[string(v.Private)] = m
			}
			got, err := d.DeriveSharedSecret(t.Context(), &m, c.spec, v.Public)
			if err == nil && !bytes.Equal(got, v.Shared) {
				return errors.New("another secret")
			}
			return v.as(err, hsm.ErrBadPublicKey)
		})
	}
}

func ecPKCS8(t *testing.T, curve elliptic.Curve, private []byte) []byte {
	t.Helper()
	size := (curve.Params().BitSize + 7) / 8
	key, err := ecdsa.ParseRawPrivateKey(curve, new(big.Int).SetBytes(private).FillBytes(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
