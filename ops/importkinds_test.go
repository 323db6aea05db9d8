package ops

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"hash"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// An importedKind is a key that was made outside, and what shows that the service has the same one.
type importedKind struct {
	spec, usage, algorithm, pair string
	material                     []byte
	public                       []byte // SPKI
	use                          func(t testing.TB, h *harness, keyID string)
}

// importedKinds are keys of every kind that SoftHSM2 can have but for secp256k1, which package hsm
// tests, since the standard library does not have it.
func importedKinds(t testing.TB) []importedKind {
	t.Helper()
	const oaep1, oaep256, wrap1, wrap256 = "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"
	var all []importedKind
	der := func(key any) []byte {
		out, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	add := func(spec, usage, algorithm string, key crypto.Signer, use func(testing.TB, *harness, string)) {
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, importedKind{spec, usage, algorithm, "RSA_2048", der(key), public, use})
	}
	for n, c := range []struct {
		spec, mac string
		hash      func() hash.Hash
		length    int
	}{
		{"HMAC_224", "HMAC_SHA_224", sha256.New224, 28}, {"HMAC_256", "HMAC_SHA_256", sha256.New, 128},
		{"HMAC_384", "HMAC_SHA_384", sha512.New384, 49}, {"HMAC_512", "HMAC_SHA_512", sha512.New, 64},
	} {
		material := randomMaterial(c.length)
		all = append(all, importedKind{c.spec, generateVerify, []string{oaep1, oaep256}[n%2], "RSA_2048", material, nil, func(t testing.TB, h *harness, id string) {
			got := h.must("GenerateMac", in{"KeyId": id, "Message": []byte("m"), "MacAlgorithm": c.mac}).(*kms.GenerateMacResponse).Mac
			want := hmac.New(c.hash, material)
			want.Write([]byte("m"))
			if !bytes.Equal(got, want.Sum(nil)) {
				t.Errorf("%s: another MAC", c.spec)
			}
		}})
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	add("RSA_2048", encryptDecrypt, wrap1, r, func(t testing.TB, h *harness, id string) {
		blob, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &r.PublicKey, []byte("m"), nil)
		if err != nil {
			t.Fatal(err)
		}
		out := h.must("Decrypt", in{"KeyId": id, "CiphertextBlob": blob, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}).(*kms.DecryptResponse)
		if string(out.Plaintext) != "m" {
			t.Error("RSA decrypts to something else")
		}
	})
	digest := sha256.Sum256([]byte("m"))
	sign := func(h *harness, id, algorithm string) []byte {
		return h.must("Sign", in{"KeyId": id, "Message": []byte("m"), "SigningAlgorithm": algorithm}).(*kms.SignResponse).Signature
	}
	big, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	add("RSA_3072", signVerify, wrap256, big, func(t testing.TB, h *harness, id string) {
		if rsa.VerifyPKCS1v15(&big.PublicKey, crypto.SHA256, digest[:], sign(h, id, "RSASSA_PKCS1_V1_5_SHA_256")) != nil {
			t.Error("RSA signs something else")
		}
	})
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	add("ECC_NIST_P256", signVerify, oaep1, e, func(t testing.TB, h *harness, id string) {
		if !ecdsa.VerifyASN1(&e.PublicKey, digest[:], sign(h, id, "ECDSA_SHA_256")) {
			t.Error("P-256 signs something else")
		}
	})
	a, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	add("ECC_NIST_P521", keyAgreement, wrap256, a, func(t testing.TB, h *harness, id string) {
		other, err := ecdh.P521().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(other.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		own, err := a.PublicKey.ECDH()
		if err != nil {
			t.Fatal(err)
		}
		want, err := other.ECDH(own)
		if err != nil {
			t.Fatal(err)
		}
		out := h.must("DeriveSharedSecret", in{"KeyId": id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": spki}).(*kms.DeriveSharedSecretResponse)
		if !bytes.Equal(out.SharedSecret, want) || out.KeyOrigin != kms.OriginTypeExternal {
			t.Errorf("P-521 agrees on something else, from %s", out.KeyOrigin)
		}
	})
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	add("ECC_NIST_EDWARDS25519", signVerify, wrap1, ed, func(t testing.TB, h *harness, id string) {
		if !ed25519.Verify(ed.Public().(ed25519.PublicKey), []byte("m"), sign(h, id, "ED25519_SHA_512")) {
			t.Error("Ed25519 signs something else")
		}
	})
	return all
}

// TestImportLeavesNothing: an object in the token whose key does not take it is destroyed at once.
func TestImportLeavesNothing(t *testing.T) {
	hsmtest.Require(t, hsmtest.Resident)
	h := newHarness(t)
	us := h.at(testRegion)
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	material, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	key := h.external(in{"KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": signVerify, "MultiRegion": true})
	_, err = us.try("ImportKeyMaterial", us.importing(key.KeyId, "RSAES_OAEP_SHA_1", "RSA_2048", material, nil))
	if kms.AsError(err).Code != kms.UnsupportedOperationException || h.describe(key.KeyId).KeyState != kms.KeyStatePendingImport {
		t.Errorf("material that cannot be in several Regions: %v", err)
	}
	w := newWitness(t, h.domain)
	if n := len(w.find(pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))); n != 3 {
		t.Errorf("%d objects rest in the token", n)
	}
}

// TestImportKinds imports a key of each kind, uses it against the standard library, takes it away,
// refuses another one in its place and takes the same again. In the end nothing in the token can
// leave it.
func TestImportKinds(t *testing.T) {
	hsmtest.Require(t, hsmtest.Resident)
	h := newHarness(t)
	us := h.at(testRegion)
	kinds, others := importedKinds(t), importedKinds(t)
	for n, k := range kinds {
		key := h.external(in{"KeySpec": k.spec, "KeyUsage": k.usage})
		p := us.parameters(key.KeyId, k.algorithm, k.pair) // once: a token is good for several imports
		send := func(material []byte) (string, error) {
			out, err := us.try("ImportKeyMaterial", us.wrapped(p, key.KeyId, k.algorithm, material, nil))
			if err != nil {
				return "", err
			}
			return out.(*kms.ImportKeyMaterialResponse).KeyMaterialId, nil
		}
		if k.public != nil {
			_, err := h.invoke("GetPublicKey", in{"KeyId": key.KeyId})
			wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is pending import.")
		}
		id, err := send(k.material)
		if err != nil {
			t.Errorf("%s: %v", k.spec, err)
			continue
		}
		k.use(t, h, key.KeyId)
		_, err = send(others[n].material)
		wantIncorrect(t, err)
		objects := len(us.record(key.KeyId).Materials[0].ObjectID)
		if again, err := send(k.material); err != nil || again != id {
			t.Errorf("%s again: %s, %v", k.spec, again, err)
		}
		k.use(t, h, key.KeyId)
		h.must("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId})
		if objects > 0 {
			h.runDue(1)
		}
		if k.public != nil {
			if got := h.must("GetPublicKey", in{"KeyId": key.KeyId}).(*kms.GetPublicKeyResponse); !bytes.Equal(got.PublicKey, k.public) {
				t.Errorf("%s: another public key", k.spec)
			}
		}
		_, err = send(others[n].material)
		wantIncorrect(t, err)
		if again, err := send(k.material); err != nil || again != id {
			t.Errorf("%s after deletion: %s, %v", k.spec, again, err)
		}
		k.use(t, h, key.KeyId)
	}
	w := newWitness(t, h.domain)
	all := w.objects()
	resting := 0
	for _, o := range all {
		w.checkClosed(o)
		w.checkOneUse(o)
		w.tryToTake(o, all)
		if w.is(o, pkcs11.CKA_TOKEN) {
			resting++
		}
	}
	if resting != 4 { // the domain's three keys, and the Ed25519 key, once
		t.Errorf("%d objects rest in the token", resting)
	}
	for _, k := range kinds {
		for _, o := range all {
			if value, err := w.get(o, pkcs11.CKA_VALUE); err == nil && bytes.Contains(k.material, value) && len(value) > 8 {
				t.Errorf("%s can be read from the token", k.spec)
			}
		}
	}
}
