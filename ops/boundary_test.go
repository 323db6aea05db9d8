package ops

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// TestBoundary looks at the token with a session of its own, which belongs to the same login, while
// the service uses keys of every kind. It lists all objects that there are, not those that package
// hsm knows of, and tries on each what somebody would who has got hold of the login.
func TestBoundary(t *testing.T) {
	hsmtest.Require(t, hsmtest.Secp256k1, hsmtest.Resident)
	h := newHarness(t)
	keys := h.oneKeyOfEachKind()
	for _, use := range keys {
		use(t) // each material is in the token now
	}
	w := newWitness(t, h.domain)

	var inUse sync.WaitGroup
	stop := make(chan struct{})
	rest := sync.OnceFunc(func() { close(stop); inUse.Wait() })
	defer rest()
	for _, use := range keys {
		inUse.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					use(t)
				}
			}
		})
	}
	for range 20 {
		for _, o := range w.objects() {
			w.checkClosed(o)
		}
	}
	rest()

	// Nothing comes or goes now.
	all := w.objects()
	resting, held := 0, 0
	for _, o := range all {
		w.checkClosed(o)
		w.checkOneUse(o)
		w.tryToTake(o, all)
		if w.is(o, pkcs11.CKA_TOKEN) {
			resting++
		}
		if w.class(o) != pkcs11.CKO_PUBLIC_KEY {
			held++
		}
	}
	// Three keys of the domain, which were made in place, and the Ed25519 key, which SoftHSM2
	// cannot wrap.
	if resting != 4 {
		t.Errorf("%d objects rest in the token", resting)
	}
	// The domain's keys, their copies, and every key in use.
	if least := 6 + len(keys); held < least {
		t.Errorf("%d secret and private keys are listed, at least %d are in use", held, least)
	}
	for _, k := range h.domain.Describe().Keys {
		w.checkDomainKey(k)
	}
}

// oneKeyOfEachKind makes a key of each kind that the token has and gives a function for each that
// uses it.
func (h *harness) oneKeyOfEachKind() []func(testing.TB) {
	h.t.Helper()
	message := []byte("message")
	call := func(t testing.TB, operation string, in any) any {
		out, err := h.invoke(operation, in)
		if err != nil {
			t.Errorf("%s: %v", operation, err)
		}
		return out
	}
	encrypts := func(id string, algorithm kms.EncryptionAlgorithmSpec) func(testing.TB) {
		return func(t testing.TB) {
			out, ok := call(t, "Encrypt", kms.EncryptRequest{KeyId: id, Plaintext: message, EncryptionAlgorithm: algorithm}).(*kms.EncryptResponse)
			if ok {
				call(t, "Decrypt", kms.DecryptRequest{KeyId: id, CiphertextBlob: out.CiphertextBlob, EncryptionAlgorithm: algorithm})
			}
		}
	}
	signs := func(id string, algorithm kms.SigningAlgorithmSpec) func(testing.TB) {
		return func(t testing.TB) {
			out, ok := call(t, "Sign", kms.SignRequest{KeyId: id, Message: message, SigningAlgorithm: algorithm}).(*kms.SignResponse)
			if ok {
				call(t, "Verify", kms.VerifyRequest{KeyId: id, Message: message, SigningAlgorithm: algorithm, Signature: out.Signature})
			}
		}
	}
	macs := func(id string, algorithm kms.MacAlgorithmSpec) func(testing.TB) {
		return func(t testing.TB) {
			out, ok := call(t, "GenerateMac", kms.GenerateMacRequest{KeyId: id, Message: message, MacAlgorithm: algorithm}).(*kms.GenerateMacResponse)
			if ok {
				call(t, "VerifyMac", kms.VerifyMacRequest{KeyId: id, Message: message, MacAlgorithm: algorithm, Mac: out.Mac})
			}
		}
	}
	create := func(spec kms.KeySpec, usage kms.KeyUsageType) string {
		return h.createKey(kms.CreateKeyRequest{KeySpec: spec, KeyUsage: usage}).KeyId
	}
	const sign, encrypt, mac = kms.KeyUsageTypeSignVerify, kms.KeyUsageTypeEncryptDecrypt, kms.KeyUsageTypeGenerateVerifyMac
	// What these two answer with is read from the token, so they come before anybody looks, and
	// must leave nothing that can be read. (RSA data key pairs would: some are made ahead.)
	h.must("GenerateDataKeyPair", kms.GenerateDataKeyPairRequest{KeyId: create(kms.KeySpecSymmetricDefault, encrypt), KeyPairSpec: kms.DataKeyPairSpecEccNistP256})
	agreed := create(kms.KeySpecEccNistP256, kms.KeyUsageTypeKeyAgreement)
	h.must("DeriveSharedSecret", kms.DeriveSharedSecretRequest{KeyId: agreed, KeyAgreementAlgorithm: kms.KeyAgreementAlgorithmSpecEcdh, PublicKey: peer(h.t)})
	koblitz := kms.KeySpecEccSecgP256k1
	if !hsmtest.Has(hsmtest.Secp256k1) {
		koblitz = kms.KeySpecEccNistP256 // in its place
	}
	edwards := signs(create(kms.KeySpecEccNistP256, sign), kms.SigningAlgorithmSpecEcdsaSha256)
	if hsmtest.Has(hsmtest.Ed25519) {
		edwards = signs(create(kms.KeySpecEccNistEdwards25519, sign), kms.SigningAlgorithmSpecEd25519Sha512)
	}
	return []func(testing.TB){
		encrypts(create(kms.KeySpecSymmetricDefault, encrypt), kms.EncryptionAlgorithmSpecSymmetricDefault),
		encrypts(create(kms.KeySpecRsa2048, encrypt), kms.EncryptionAlgorithmSpecRsaesOaepSha1),
		encrypts(create(kms.KeySpecRsa2048, encrypt), kms.EncryptionAlgorithmSpecRsaesOaepSha256),
		signs(create(kms.KeySpecRsa2048, sign), kms.SigningAlgorithmSpecRsassaPkcs1V15Sha256),
		signs(create(kms.KeySpecRsa2048, sign), kms.SigningAlgorithmSpecRsassaPssSha512),
		signs(create(kms.KeySpecEccNistP256, sign), kms.SigningAlgorithmSpecEcdsaSha256),
		signs(create(kms.KeySpecEccNistP384, sign), kms.SigningAlgorithmSpecEcdsaSha384),
		signs(create(kms.KeySpecEccNistP521, sign), kms.SigningAlgorithmSpecEcdsaSha512),
		signs(create(koblitz, sign), kms.SigningAlgorithmSpecEcdsaSha256),
		edwards,
		macs(create(kms.KeySpecHmac224, mac), kms.MacAlgorithmSpecHmacSha224),
		macs(create(kms.KeySpecHmac512, mac), kms.MacAlgorithmSpecHmacSha512),
	}
}

// peer is somebody's public key on P-256.
func peer(t testing.TB) []byte {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return der
}
