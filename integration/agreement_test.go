package integration_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// agreementCurves are the curves of key agreement. Nothing writes to it.
var agreementCurves = map[types.KeySpec]func() ecdh.Curve{
	types.KeySpecEccNistP256: ecdh.P256, types.KeySpecEccNistP384: ecdh.P384, types.KeySpecEccNistP521: ecdh.P521,
}

func derive(t testing.TB, client *kms.Client, id *string, peer []byte) (*kms.DeriveSharedSecretOutput, error) {
	t.Helper()
	return client.DeriveSharedSecret(t.Context(), &kms.DeriveSharedSecretInput{KeyId: id, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: peer})
}

// TestSharedSecrets has both sides derive: a key made here with the public key of the server's, the
// server with the public key of the one made here.
func TestSharedSecrets(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	for spec, curve := range agreementCurves {
		t.Run(string(spec), func(t *testing.T) {
			key := newKey(t, client, spec, types.KeyUsageTypeKeyAgreement)
			theirs := must(publicKey(t, client, key.KeyId).(*ecdsa.PublicKey).ECDH())(t)
			for range 20 { // some secrets begin with a zero, which has to be there
				mine := must(curve().GenerateKey(rand.Reader))(t)
				want := must(mine.ECDH(theirs))(t)
				got := must(derive(t, client, key.KeyId, must(x509.MarshalPKIXPublicKey(mine.PublicKey()))(t)))(t)
				if !bytes.Equal(got.SharedSecret, want) {
					t.Error("the two sides derive different secrets")
				}
				if *got.KeyId != *key.Arn || got.KeyOrigin != types.OriginTypeAwsKms || got.KeyAgreementAlgorithm != types.KeyAgreementAlgorithmSpecEcdh || got.CiphertextForRecipient != nil {
					t.Errorf("DeriveSharedSecret gave the key %s of %s by %s", *got.KeyId, got.KeyOrigin, got.KeyAgreementAlgorithm)
				}
			}
		})
	}
}

// TestTwoServerKeysAgree derives with two keys of the server, each with the other's public key.
func TestTwoServerKeysAgree(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	one := newKey(t, client, types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement)
	two := newKey(t, client, types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement)
	secret := func(of, with *string) []byte {
		peer := must(client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: with}))(t)
		return must(derive(t, client, of, peer.PublicKey))(t).SharedSecret
	}
	if !bytes.Equal(secret(one.KeyId, two.KeyId), secret(two.KeyId, one.KeyId)) {
		t.Error("the two keys derive different secrets")
	}
}

// TestBadPeers sends public keys that are none, or none of the key's curve.
func TestBadPeers(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	key := newKey(t, client, types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement)
	good := must(x509.MarshalPKIXPublicKey(must(ecdh.P256().GenerateKey(rand.Reader))(t).PublicKey()))(t)
	offCurve := bytes.Clone(good)
	offCurve[len(offCurve)-1] ^= 1
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, peer := range map[string][]byte{
		"garbage":               []byte("InvalidPublicKey"),
		"a byte":                {0x30},
		"the longest":           make([]byte, 8192),
		"cut short":             good[:len(good)-1],
		"a byte more":           append(bytes.Clone(good), 0),
		"a point off the curve": offCurve,
		"the point at infinity": append(bytes.Clone(good[:len(good)-66]), 0x00, 0x00),
		"P-384":                 must(x509.MarshalPKIXPublicKey(must(ecdh.P384().GenerateKey(rand.Reader))(t).PublicKey()))(t),
		"Ed25519":               must(x509.MarshalPKIXPublicKey(edwards))(t),
		"the bare point":        good[len(good)-65:],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := derive(t, client, key.KeyId, peer)
			wantCode(t, err, "ValidationException", "")
		})
	}
	must(derive(t, client, key.KeyId, good))(t)
}
