package hsm_test

import (
	"bytes"
	"crypto/mlkem"
	"crypto/sha3"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// latticeKeys are the parameter sets with the sizes in bytes of FIPS 204, table 2, and FIPS 203,
// table 3, and the OIDs of RFC 9881 and RFC 9935.
var latticeKeys = []struct {
	spec           kms.KeySpec
	usage          kms.KeyUsageType
	need           hsmtest.Need
	mechanism      string
	public, answer int
	oid            string
}{
	{kms.KeySpecMlDsa44, kms.KeyUsageTypeSignVerify, hsmtest.MLDSA, "CKM_ML_DSA", 1312, 2420, "2.16.840.1.101.3.4.3.17"},
	{kms.KeySpecMlDsa65, kms.KeyUsageTypeSignVerify, hsmtest.MLDSA, "CKM_ML_DSA", 1952, 3309, "2.16.840.1.101.3.4.3.18"},
	{kms.KeySpecMlDsa87, kms.KeyUsageTypeSignVerify, hsmtest.MLDSA, "CKM_ML_DSA", 2592, 4627, "2.16.840.1.101.3.4.3.19"},
	{kms.KeySpecMlKem512, kms.KeyUsageTypeEncapsulateDecapsulate, hsmtest.MLKEM, "CKM_ML_KEM", 800, 768, "2.16.840.1.101.3.4.4.1"},
	{kms.KeySpecMlKem768, kms.KeyUsageTypeEncapsulateDecapsulate, hsmtest.MLKEM, "CKM_ML_KEM", 1184, 1088, "2.16.840.1.101.3.4.4.2"},
	{kms.KeySpecMlKem1024, kms.KeyUsageTypeEncapsulateDecapsulate, hsmtest.MLKEM, "CKM_ML_KEM", 1568, 1568, "2.16.840.1.101.3.4.4.3"},
}

// latticePublic takes an SPKI apart.
func latticePublic(t testing.TB, spki []byte) (oid string, value []byte) {
	t.Helper()
	var info struct {
		Algorithm struct{ OID asn1.ObjectIdentifier }
		Key       asn1.BitString
	}
	if rest, err := asn1.Unmarshal(spki, &info); err != nil || len(rest) != 0 {
		t.Fatalf("%d bytes are left: %v", len(rest), err)
	}
	return info.Algorithm.OID.String(), info.Key.Bytes
}

// TestLatticeKeys makes a key of each parameter set and looks at its public half; on a token that has
// none, at the error.
func TestLatticeKeys(t *testing.T) {
	d := hsmtest.Domain(t)
	for _, c := range latticeKeys {
		m, err := d.GenerateKey(t.Context(), hsm.KeyRequest{Spec: c.spec, Usage: c.usage, KeyID: "k"})
		if !hsmtest.Has(c.need) {
			if !errors.Is(err, hsm.ErrUnsupported) || !bytes.Contains([]byte(err.Error()), []byte(c.mechanism)) {
				t.Errorf("%s: %v", c.spec, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		oid, value := latticePublic(t, m.PublicKey)
		if oid != c.oid || len(value) != c.public {
			t.Errorf("%s: OID %s, %d bytes", c.spec, oid, len(value))
		}
		if (len(m.ObjectID) == 0) == (len(m.Blob) == 0) {
			t.Errorf("%s: neither resident nor wrapped, or both", c.spec)
		}
	}
}

// messageRepresentative is mu (FIPS 204, algorithm 7, line 6), for an empty context.
func messageRepresentative(public, message []byte) []byte {
	h := sha3.NewSHAKE256()
	h.Write(sha3.SumSHAKE256(public, 64))
	h.Write([]byte{0, 0})
	h.Write(message)
	mu := make([]byte, 64)
	h.Read(mu)
	return mu
}

func TestMLDSA(t *testing.T) {
	if !hsmtest.Has(hsmtest.MLDSA) {
		wantUnsupported(t, kms.KeySpecMlDsa65, "ML_DSA_SHAKE_256")
		return
	}
	d := hsmtest.Domain(t)
	const algorithm = kms.SigningAlgorithmSpecMlDsaShake256
	for _, c := range latticeKeys {
		if c.usage != kms.KeyUsageTypeSignVerify {
			continue
		}
		m := newPair(t, d, c.spec, c.usage)
		for _, message := range [][]byte{{0}, []byte("a message"), make([]byte, 4096)} {
			in := hsm.SignInput{Message: message}
			signature, err := d.Sign(t.Context(), &m, c.spec, algorithm, in)
			if err != nil {
				t.Fatal(err)
			}
			again, err := d.Sign(t.Context(), &m, c.spec, algorithm, in)
			if err != nil {
				t.Fatal(err)
			}
			if len(signature) != c.answer || bytes.Equal(signature, again) {
				t.Errorf("%s: %d bytes, or not hedged", c.spec, len(signature))
			}
			if err := d.Verify(t.Context(), &m, c.spec, algorithm, in, signature); err != nil {
				t.Errorf("%s: %v", c.spec, err)
			}
			_, public := latticePublic(t, m.PublicKey)
			muInput := hsm.SignInput{Message: messageRepresentative(public, message), ExternalMu: true}
			if !hsmtest.Has(hsmtest.MLDSAMu) {
				if _, err := d.Sign(t.Context(), &m, c.spec, algorithm, muInput); !errors.Is(err, hsm.ErrUnsupported) || d.Supports(c.spec, hsm.ExternalMu) {
					t.Errorf("%s of mu: %v", c.spec, err)
				}
			} else {
				if err := d.Verify(t.Context(), &m, c.spec, algorithm, muInput, signature); err != nil {
					t.Errorf("%s of mu: %v", c.spec, err)
				}
				if signature, err = d.Sign(t.Context(), &m, c.spec, algorithm, muInput); err != nil {
					t.Fatal(err)
				}
				if err := d.Verify(t.Context(), &m, c.spec, algorithm, in, signature); err != nil {
					t.Errorf("%s, signed of mu: %v", c.spec, err)
				}
			}
			for name, bad := range map[string][]byte{"cut": signature[1:], "longer": append(bytes.Clone(signature), 0), "none": nil,
				"changed": append([]byte{signature[0] ^ 1}, signature[1:]...)} {
				if err := d.Verify(t.Context(), &m, c.spec, algorithm, in, bad); !errors.Is(err, hsm.ErrBadSignature) {
					t.Errorf("%s, signature %s: %v", c.spec, name, err)
				}
			}
			if err := d.Verify(t.Context(), &m, c.spec, algorithm, hsm.SignInput{Message: append(message, 1)}, signature); !errors.Is(err, hsm.ErrBadSignature) {
				t.Errorf("%s, another message: %v", c.spec, err)
			}
		}
		opensslVerifies(t, d, &m, c.spec)
	}
}

// opensslVerifies has OpenSSL, which has ML-DSA since 3.5, verify a signature.
func opensslVerifies(t *testing.T, d *hsm.Domain, m *kms.Material, spec kms.KeySpec) {
	t.Helper()
	signature, err := d.Sign(t.Context(), m, spec, kms.SigningAlgorithmSpecMlDsaShake256, hsm.SignInput{Message: []byte("for OpenSSL")})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "public", m.PublicKey)
	write(t, dir, "message", []byte("for OpenSSL"))
	write(t, dir, "signature", signature)
	if out, err := openssl(t, dir, "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "public", "-rawin", "-in", "message", "-sigfile", "signature"); err != nil {
		t.Errorf("%s: OpenSSL does not verify: %v: %s", spec, err, out)
	}
}

// wantUnsupported is a test on a token that lacks what it is about.
func wantUnsupported(t *testing.T, spec kms.KeySpec, algorithm string) {
	t.Helper()
	if hsmtest.Domain(t).Supports(spec, algorithm) {
		t.Errorf("%s is said to be supported", algorithm)
	}
}

func TestMLKEM(t *testing.T) {
	if !hsmtest.Has(hsmtest.MLKEM) {
		wantUnsupported(t, kms.KeySpecMlKem768, "ML_KEM")
		return
	}
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	for _, c := range latticeKeys {
		if c.usage != kms.KeyUsageTypeEncapsulateDecapsulate {
			continue
		}
		m := newPair(t, d, c.spec, c.usage)
		secret, ciphertext, err := d.Encapsulate(t.Context(), &m, c.spec)
		if err != nil {
			t.Fatal(err)
		}
		fixed := 0
		for range 3 {
			got, err := d.Decapsulate(t.Context(), &m, c.spec, ciphertext)
			if err != nil || !bytes.Equal(got, secret) || len(secret) != 32 || len(ciphertext) != c.answer {
				t.Errorf("%s: %d bytes in %d: %v", c.spec, len(got), len(ciphertext), err)
			}
			if n := len(hsm.Objects(t, token)); fixed != 0 && n != fixed {
				t.Errorf("%s: %d objects, then %d", c.spec, fixed, n)
			} else {
				fixed = n
			}
		}
		if again, other, err := d.Encapsulate(t.Context(), &m, c.spec); err != nil || bytes.Equal(again, secret) || bytes.Equal(other, ciphertext) {
			t.Errorf("%s: the same secret twice: %v", c.spec, err)
		}
		for _, n := range []int{0, 1, len(ciphertext) - 1, len(ciphertext) + 1, 768 + 1088 + 1568 - len(ciphertext)} {
			if _, err := d.Decapsulate(t.Context(), &m, c.spec, make([]byte, n)); !errors.Is(err, hsm.ErrBadCiphertext) {
				t.Errorf("%s, %d bytes: %v", c.spec, n, err)
			}
		}
		// Implicit rejection: a secret, always the same one, and not that of the sender.
		ciphertext[0] ^= 1
		first, err := d.Decapsulate(t.Context(), &m, c.spec, ciphertext)
		if err != nil || bytes.Equal(first, secret) || len(first) != 32 {
			t.Errorf("%s, a changed ciphertext: %v", c.spec, err)
		}
		if second, err := d.Decapsulate(t.Context(), &m, c.spec, ciphertext); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s, a changed ciphertext again: %v", c.spec, err)
		}
	}
	// What the standard library encapsulated.
	m := newPair(t, d, kms.KeySpecMlKem768, kms.KeyUsageTypeEncapsulateDecapsulate)
	_, value := latticePublic(t, m.PublicKey)
	key, err := mlkem.NewEncapsulationKey768(value)
	if err != nil {
		t.Fatal(err)
	}
	secret, ciphertext := key.Encapsulate()
	if got, err := d.Decapsulate(t.Context(), &m, kms.KeySpecMlKem768, ciphertext); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("by the standard library: %v", err)
	}
	if _, _, err := d.Encapsulate(t.Context(), &m, kms.KeySpecEccNistP256); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("a key of another spec: %v", err)
	}
}

// TestMLKEMDataPair decapsulates with the private key that is handed out: by the standard library
// where it is a seed, which is the only form that has it as RFC 9935 prefers.
func TestMLKEMDataPair(t *testing.T) {
	if !hsmtest.Has(hsmtest.MLKEM) {
		wantUnsupported(t, kms.KeySpecMlKem1024, "ML_KEM")
		return
	}
	d := hsmtest.Domain(t)
	for _, spec := range []kms.DataKeyPairSpec{kms.DataKeyPairSpecMlKem512, kms.DataKeyPairSpecMlKem768, kms.DataKeyPairSpecMlKem1024} {
		pair, err := d.GenerateKeyPair(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		write(t, dir, "key", pair.Private)
		if public, err := openssl(t, dir, "pkey", "-inform", "DER", "-in", "key", "-pubout", "-outform", "DER"); err != nil || !bytes.Equal(public, pair.Public) {
			t.Errorf("%s: OpenSSL computes another public key: %v", spec, err)
		}
		if len(pair.Private) > 4096 {
			t.Errorf("%s: a private key of %d bytes cannot be encrypted", spec, len(pair.Private))
		}
	}
}
