package integration_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// dataPairSpecs are the specs that Go's standard library can read, but for the larger RSA pairs,
// which take seconds, and which of its signature schemes they are for. Nothing writes to it.
var dataPairSpecs = map[types.DataKeyPairSpec]types.SigningAlgorithmSpec{
	types.DataKeyPairSpecRsa2048:             types.SigningAlgorithmSpecRsassaPkcs1V15Sha256,
	types.DataKeyPairSpecEccNistP256:         types.SigningAlgorithmSpecEcdsaSha256,
	types.DataKeyPairSpecEccNistP384:         types.SigningAlgorithmSpecEcdsaSha256,
	types.DataKeyPairSpecEccNistP521:         types.SigningAlgorithmSpecEcdsaSha256,
	types.DataKeyPairSpecEccNistEdwards25519: types.SigningAlgorithmSpecEd25519Sha512,
}

// TestDataKeyPairs signs outside with the private keys of pairs, those that came in clear and those
// that came encrypted only.
func TestDataKeyPairs(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key := createKey(t, client)
	context := map[string]string{"pair": "for a device"}
	open := func(blob []byte) []byte {
		t.Helper()
		return must(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: context}))(t).Plaintext
	}
	for spec, algorithm := range dataPairSpecs {
		t.Run(string(spec), func(t *testing.T) {
			clear := must(client.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: key.KeyId, KeyPairSpec: spec, EncryptionContext: context}))(t)
			if *clear.KeyId != *key.Arn || clear.KeyPairSpec != spec || *clear.KeyMaterialId != *key.CurrentKeyMaterialId || clear.CiphertextForRecipient != nil {
				t.Errorf("GenerateDataKeyPair gave a %s under %s", clear.KeyPairSpec, *clear.KeyId)
			}
			if !bytes.Equal(open(clear.PrivateKeyCiphertextBlob), clear.PrivateKeyPlaintext) {
				t.Error("the blob holds other bytes than the private key in clear")
			}
			wantPair(t, algorithm, clear.PrivateKeyPlaintext, clear.PublicKey)

			hidden := must(client.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: key.Arn, KeyPairSpec: spec, EncryptionContext: context}))(t)
			if *hidden.KeyId != *key.Arn || hidden.KeyPairSpec != spec || *hidden.KeyMaterialId != *key.CurrentKeyMaterialId {
				t.Errorf("GenerateDataKeyPairWithoutPlaintext gave a %s under %s", hidden.KeyPairSpec, *hidden.KeyId)
			}
			wantPair(t, algorithm, open(hidden.PrivateKeyCiphertextBlob), hidden.PublicKey)
			if bytes.Equal(clear.PublicKey, hidden.PublicKey) {
				t.Error("the same pair twice")
			}
			_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: hidden.PrivateKeyCiphertextBlob})
			wantError[*types.InvalidCiphertextException](t, err, "")
		})
	}
	t.Run("ECC_SECG_P256K1", func(t *testing.T) { // which Go cannot read: see the folder clients
		pair := must(client.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: key.KeyId, KeyPairSpec: types.DataKeyPairSpecEccSecgP256k1, EncryptionContext: context}))(t)
		if !bytes.Equal(open(pair.PrivateKeyCiphertextBlob), pair.PrivateKeyPlaintext) {
			t.Error("the blob holds other bytes than the private key in clear")
		}
	})
}

// wantPair checks that a PKCS #8 private key signs what its public key verifies.
func wantPair(t testing.TB, algorithm types.SigningAlgorithmSpec, private, public []byte) {
	t.Helper()
	key, ok := must(x509.ParsePKCS8PrivateKey(private))(t).(crypto.Signer)
	if !ok {
		t.Fatal("the private key does not sign")
	}
	if own := must(x509.MarshalPKIXPublicKey(key.Public()))(t); !bytes.Equal(own, public) {
		t.Error("the public key is not that of the private key")
	}
	message := []byte("message")
	scheme := signatureSchemes[algorithm]
	signature := must(key.Sign(rand.Reader, scheme.digest(message), scheme.hash))(t)
	if !scheme.verifies(must(x509.ParsePKIXPublicKey(public))(t), message, signature) {
		t.Error("the public key does not verify what the private key has signed")
	}
}

// TestDataKeyPairVouchedFor signs the public key of a data key pair with a key of the server, which
// is what such a pair is for.
func TestDataKeyPairVouchedFor(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	authority := newSigner(t, client, types.KeySpecEccNistP256)
	pair := must(client.GenerateDataKeyPairWithoutPlaintext(t.Context(), &kms.GenerateDataKeyPairWithoutPlaintextInput{
		KeyId: createKey(t, client).KeyId, KeyPairSpec: types.DataKeyPairSpecEccNistP256,
	}))(t)
	digest := sha256.Sum256(pair.PublicKey)
	signature := authority.sign(t, types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeDigest, digest[:])
	if !signatureSchemes[types.SigningAlgorithmSpecEcdsaSha256].verifies(authority.public, pair.PublicKey, signature) {
		t.Error("the signature of the public key does not verify")
	}
}
