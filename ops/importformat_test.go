package ops_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"testing"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// bring imports material that is new to a key, and gives its id.
func (o *outside) bring(keyID string, material []byte) string {
	o.t.Helper()
	p := o.must("GetParametersForImport", kms.GetParametersForImportRequest{KeyId: keyID,
		WrappingAlgorithm: kms.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: kms.WrappingKeySpecRsa2048}).(*kms.GetParametersForImportResponse)
	public, err := x509.ParsePKIXPublicKey(p.PublicKey)
	if err != nil {
		o.t.Fatal(err)
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public.(*rsa.PublicKey), material, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.must("ImportKeyMaterial", kms.ImportKeyMaterialRequest{KeyId: keyID, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrapped,
		ImportType: kms.ImportTypeNewKeyMaterial, ExpirationModel: kms.ExpirationModelTypeKeyMaterialDoesNotExpire}).(*kms.ImportKeyMaterialResponse).KeyMaterialId
}

// TestImportedFormat opens out here what a key with imported material encrypts, has the service open
// what was encrypted out here, and works out the ids. The materials are found nowhere at rest.
func TestImportedFormat(t *testing.T) {
	o := newOutside(t, hsmtest.Domain(t))
	key := o.must("CreateKey", kms.CreateKeyRequest{Origin: kms.OriginTypeExternal}).(*kms.CreateKeyResponse).KeyMetadata.KeyId
	materials := [2][]byte{randomBytes(32), randomBytes(32)}
	o.materials[key] = materials
	for n, material := range materials {
		id := o.bring(key, material)
		mac := hmac.New(sha256.New, material)
		mac.Write([]byte("\x00\x00\x00\x01kms11 key material\x00" + key))
		if want := hex.EncodeToString(mac.Sum(nil)); id != want {
			t.Errorf("material %d has the id %s, want %s", n+1, id, want)
		}
	}
	o.must("RotateKeyOnDemand", kms.RotateKeyOnDemandRequest{KeyId: key})
	context := map[string]string{"a": "b"}
	out := o.must("Encrypt", kms.EncryptRequest{KeyId: key, Plaintext: []byte("inside"), EncryptionContext: context}).(*kms.EncryptResponse)
	b, plaintext := o.open(out.CiphertextBlob, key, context)
	if string(plaintext) != "inside" {
		t.Errorf("out here it opens as %d bytes", len(plaintext))
	}
	for ordinal := range uint32(2) {
		b.ordinal = ordinal + 1
		sealed := o.seal(b, key, []byte("outside"), nil)
		got := o.must("Decrypt", kms.DecryptRequest{CiphertextBlob: sealed.encode()}).(*kms.DecryptResponse)
		if string(got.Plaintext) != "outside" {
			t.Errorf("material %d opens it as %d bytes", ordinal+1, len(got.Plaintext))
		}
	}
	o.close()
	places := map[string][]byte{}
	for _, root := range []string{o.path, hsmtest.TokenDir(t)} {
		readFiles(t, root, places)
	}
	for place, data := range places {
		for _, material := range materials {
			if findSecret(t, data, material) != "" {
				t.Errorf("%s holds a material", place)
			}
		}
	}
}
