package ops

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

func sampleToken() *importToken {
	return &importToken{
		algorithm: kms.AlgorithmSpecRsaAesKeyWrapSha256, spec: kms.WrappingKeySpecRsa4096,
		expires: time.UnixMilli(1_767_225_600_123).UTC(),
		pair:    kms.Material{Wrap: kms.AESKeyWrapPad, DomainKey: 3, PublicKey: []byte("public"), Blob: []byte("private")},
	}
}

func TestImportToken(t *testing.T) {
	want := []byte("\x01\x04\x03\x00\x00\x01\x9b\x76\xda\xa8\x7b\x00\x00\x00\x03\x00\x06publicprivate")
	got := sampleToken().marshal()
	if !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	back, err := parseImportToken(got)
	if err != nil || back.algorithm != sampleToken().algorithm || back.spec != sampleToken().spec || !back.expires.Equal(sampleToken().expires) ||
		back.pair.Wrap != kms.AESKeyWrapPad || back.pair.DomainKey != 3 || string(back.pair.PublicKey) != "public" || string(back.pair.Blob) != "private" {
		t.Errorf("%+v, %v", back, err)
	}
	for n := range len(want) - len("rivate") {
		if _, err := parseImportToken(want[:n]); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
	for at, bad := range map[int]byte{0: 2, 1: 5, 2: 4, 3: 0x80, 15: 1} {
		b := bytes.Clone(want)
		b[at] = bad
		if _, err := parseImportToken(b); err == nil {
			t.Errorf("%x at %d is taken", bad, at)
		}
		if at == 1 || at == 2 {
			b[at] = 0
			if _, err := parseImportToken(b); err == nil {
				t.Errorf("0 at %d is taken", at)
			}
		}
	}
	if len(importAlgorithms) != 4 || slices.Contains(importAlgorithms, kms.AlgorithmSpecRsaesPkcs1V15) {
		t.Errorf("algorithms %v", importAlgorithms)
	}
}

// FuzzImportToken: whatever parses is written back as it was.
func FuzzImportToken(f *testing.F) {
	b := sampleToken().marshal()
	f.Add(b)
	f.Add(b[:importTokenHeader])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		token, err := parseImportToken(b)
		if err != nil {
			return
		}
		if got := token.marshal(); !bytes.Equal(got, b) {
			t.Errorf("%x is written back as %x", b, got)
		}
	})
}

// FuzzOpenImportToken: nothing that anybody can make up is taken for a token.
func FuzzOpenImportToken(f *testing.F) {
	h := newHarness(f)
	id := h.external(nil).KeyId
	k := keyOf(h.at(testRegion).record(id))
	sealed := h.at(testRegion).parameters(id, "RSAES_OAEP_SHA_256", "RSA_2048").ImportToken
	f.Add(sealed)
	f.Add(sealed[:33])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		token, err := h.service.openImportToken(t.Context(), h.domain, k, b)
		if bytes.Equal(b, sealed) {
			if err != nil || token.algorithm != kms.AlgorithmSpecRsaesOaepSha256 {
				t.Errorf("the true token: %v", err)
			}
			return
		}
		if kms.AsError(err).Code != kms.InvalidImportTokenException {
			t.Errorf("%x: %v", b, err)
		}
	})
}

// TestImportWithOpenSSL wraps as the AWS KMS Developer Guide shows it, with the openssl command.
func TestImportWithOpenSSL(t *testing.T) {
	hsmtest.Require(t, hsmtest.Secp256k1)
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatalf("%v: run `make deps`", err)
	}
	h := newHarness(t)
	us := h.at(testRegion)
	dir := t.TempDir()
	openssl := func(line string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("openssl", append(strings.Fields(line), args...)...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %s: %v", line, err)
		}
		return out
	}
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	oaep := func(name, hash string) []byte {
		return openssl("pkeyutl -encrypt -pubin -keyform DER -inkey wrapping.der -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:"+hash+
			" -pkeyopt rsa_mgf1_md:"+hash, "-in", name)
	}
	send := func(keyID string, p *kms.GetParametersForImportResponse, wrapped []byte) {
		t.Helper()
		h.must("ImportKeyMaterial", in{"KeyId": keyID, "ImportToken": p.ImportToken, "EncryptedKeyMaterial": wrapped, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"})
	}

	key := h.external(nil)
	p := us.parameters(key.KeyId, "RSAES_OAEP_SHA_256", "RSA_3072")
	write("wrapping.der", p.PublicKey)
	write("plain.bin", openssl("rand 32"))
	send(key.KeyId, p, oaep("plain.bin", "sha256"))
	us.wantOpens(key.KeyId, us.encrypt(key.KeyId, "x"), "x")

	// RSA-OAEP of an AES key, and the private key under that: on a curve that Go does not have, and
	// RSA.
	for _, c := range []struct{ spec, algorithm, generate string }{
		{"ECC_SECG_P256K1", "RSA_AES_KEY_WRAP_SHA_1", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out private.pem"},
		{"RSA_2048", "RSA_AES_KEY_WRAP_SHA_256", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out private.pem"},
	} {
		if !hsmtest.Has(hsmtest.ForeignKWP) || c.spec == "ECC_SECG_P256K1" && !hsmtest.Has(hsmtest.Secp256k1) {
			continue
		}
		key := h.external(in{"KeySpec": c.spec, "KeyUsage": signVerify})
		p := us.parameters(key.KeyId, c.algorithm, "RSA_2048")
		write("wrapping.der", p.PublicKey)
		openssl(c.generate)
		openssl("pkcs8 -topk8 -nocrypt -in private.pem -outform DER -out private.der")
		aes := strings.TrimSpace(string(openssl("rand -hex 32")))
		raw := make([]byte, 32)
		for i := range raw {
			raw[i] = hexByte(aes[2*i:])
		}
		write("aes.bin", raw)
		hash := map[bool]string{true: "sha256", false: "sha1"}[strings.HasSuffix(c.algorithm, "256")]
		wrapped := openssl("enc -id-aes256-wrap-pad -iv A65959A6 -in private.der -K " + aes)
		send(key.KeyId, p, append(oaep("aes.bin", hash), wrapped...))
		public := openssl("pkey -in private.pem -pubout -outform DER")
		if got := h.must("GetPublicKey", in{"KeyId": key.KeyId}).(*kms.GetPublicKeyResponse).PublicKey; !bytes.Equal(got, public) {
			t.Errorf("%s: the public key is %x, OpenSSL's %x", c.spec, got, public)
		}
		algorithm := map[string]string{"RSA_2048": "RSASSA_PKCS1_V1_5_SHA_256", "ECC_SECG_P256K1": "ECDSA_SHA_256"}[c.spec]
		write("message", []byte("message"))
		write("signature", h.must("Sign", in{"KeyId": key.KeyId, "Message": []byte("message"), "SigningAlgorithm": algorithm}).(*kms.SignResponse).Signature)
		if said := openssl("dgst -sha256 -prverify private.pem -signature signature message"); !strings.Contains(string(said), "Verified OK") {
			t.Errorf("%s: OpenSSL says %q", c.spec, said)
		}
	}
}

func hexByte(digits string) byte {
	value := func(c byte) byte { return byte(strings.IndexByte("0123456789abcdef", c)) }
	return value(digits[0])<<4 | value(digits[1])
}
