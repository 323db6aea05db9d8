package integration_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// signer is a key that signs, with all that the server says about it.
type signer struct {
	client *kms.Client
	key    *types.KeyMetadata
	public any // nil for secp256k1
}

func newSigner(t testing.TB, client *kms.Client, spec types.KeySpec) signer {
	t.Helper()
	s := signer{client: client, key: newKey(t, client, spec, types.KeyUsageTypeSignVerify)}
	if spec != types.KeySpecEccSecgP256k1 {
		s.public = publicKey(t, client, s.key.KeyId)
	}
	return s
}

func (s signer) sign(t testing.TB, algorithm types.SigningAlgorithmSpec, kind types.MessageType, message []byte) []byte {
	t.Helper()
	out := must(s.client.Sign(t.Context(), &kms.SignInput{KeyId: s.key.KeyId, SigningAlgorithm: algorithm, MessageType: kind, Message: message}))(t)
	if *out.KeyId != *s.key.Arn || out.SigningAlgorithm != algorithm {
		t.Errorf("Sign gave the key %s, algorithm %s", *out.KeyId, out.SigningAlgorithm)
	}
	return out.Signature
}

func (s signer) verify(t testing.TB, algorithm types.SigningAlgorithmSpec, kind types.MessageType, message, signature []byte) error {
	t.Helper()
	out, err := s.client.Verify(t.Context(), &kms.VerifyInput{KeyId: s.key.KeyId, SigningAlgorithm: algorithm, MessageType: kind, Message: message, Signature: signature})
	if err == nil && (!out.SignatureValid || *out.KeyId != *s.key.Arn || out.SigningAlgorithm != algorithm) {
		t.Errorf("Verify gave %v, the key %s, algorithm %s", out.SignatureValid, *out.KeyId, out.SigningAlgorithm)
	}
	return err
}

// TestSignatures signs with every algorithm of every spec, messages and digests; verifies outside
// with the public key and inside; and has what is not a signature refused. RSA_4096 is left to
// TestDecryptWhatWasEncryptedOutside: a pair takes seconds.
func TestSignatures(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	for _, spec := range []types.KeySpec{
		types.KeySpecRsa2048, types.KeySpecRsa3072, types.KeySpecEccNistP256, types.KeySpecEccNistP384,
		types.KeySpecEccNistP521, types.KeySpecEccSecgP256k1, types.KeySpecEccNistEdwards25519,
	} {
		t.Run(string(spec), func(t *testing.T) {
			s := newSigner(t, client, spec)
			for _, algorithm := range s.key.SigningAlgorithms {
				t.Run(string(algorithm), func(t *testing.T) {
					scheme, known := signatureSchemes[algorithm]
					if !known {
						t.Fatal("no verifier for it")
					}
					checkSignatures(t, s, algorithm, scheme)
				})
			}
		})
	}
}

func checkSignatures(t *testing.T, s signer, algorithm types.SigningAlgorithmSpec, scheme signatureScheme) {
	for _, size := range []int{1, 64, 4096} {
		message := bytes.Repeat([]byte("m"), size)
		given := map[types.MessageType][]byte{types.MessageTypeRaw: message, "": message}
		if scheme.hash != 0 {
			given[types.MessageTypeDigest] = scheme.digest(message)
		}
		for kind, input := range given {
			signature := s.sign(t, algorithm, kind, input)
			if s.public != nil && !scheme.verifies(s.public, message, signature) {
				t.Errorf("the signature of %d bytes, MessageType %q, does not verify outside", size, kind)
			}
			for otherKind, otherInput := range given { // digest or not, it is the same signature
				if err := s.verify(t, algorithm, otherKind, otherInput, signature); err != nil {
					t.Errorf("signed with MessageType %q, verified with %q: %v", kind, otherKind, err)
				}
			}
			if size == 64 {
				wantInvalidSignatures(t, s, algorithm, kind, input, signature)
			}
		}
	}
}

func wantInvalidSignatures(t testing.TB, s signer, algorithm types.SigningAlgorithmSpec, kind types.MessageType, input, signature []byte) {
	t.Helper()
	otherInput := bytes.Clone(input)
	otherInput[0] ^= 1
	wantError[*types.KMSInvalidSignatureException](t, s.verify(t, algorithm, kind, otherInput, signature), "")
	damaged := bytes.Clone(signature)
	damaged[len(damaged)-1] ^= 1
	for _, wrong := range [][]byte{
		damaged, signature[:len(signature)-1], append(bytes.Clone(signature), 0), {0}, make([]byte, len(signature)), bytes.Repeat([]byte{0xff}, 6144),
	} {
		wantError[*types.KMSInvalidSignatureException](t, s.verify(t, algorithm, kind, input, wrong), "")
	}
}

// TestSignaturesOfAnotherKey has one key refuse what another of the same kind has signed.
func TestSignaturesOfAnotherKey(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	for _, spec := range []types.KeySpec{types.KeySpecEccNistP256, types.KeySpecEccSecgP256k1, types.KeySpecEccNistEdwards25519} {
		one, two := newSigner(t, client, spec), newSigner(t, client, spec)
		algorithm, message := one.key.SigningAlgorithms[0], []byte("message")
		signature := one.sign(t, algorithm, types.MessageTypeRaw, message)
		wantError[*types.KMSInvalidSignatureException](t, two.verify(t, algorithm, types.MessageTypeRaw, message, signature), "")
	}
}

// TestBadSigningRequests is what Sign and Verify refuse before they look at the key's material.
func TestBadSigningRequests(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ecdsa := newSigner(t, client, types.KeySpecEccNistP256)
	edwards := newSigner(t, client, types.KeySpecEccNistEdwards25519)
	for name, c := range map[string]struct {
		by        signer
		algorithm types.SigningAlgorithmSpec
		kind      types.MessageType
		size      int
		code      string
		message   string
	}{
		"another curve's hash": {ecdsa, types.SigningAlgorithmSpecEcdsaSha384, types.MessageTypeRaw, 5,
			"InvalidKeyUsageException", "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256."},
		"another family": {ecdsa, types.SigningAlgorithmSpecRsassaPssSha256, types.MessageTypeRaw, 5,
			"InvalidKeyUsageException", "Algorithm RSASSA_PSS_SHA_256 is incompatible with key spec ECC_NIST_P256."},
		"a short digest": {ecdsa, types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeDigest, 31,
			"ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256."},
		"a long digest": {ecdsa, types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeDigest, 33,
			"ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256."},
		"EXTERNAL_MU for ECDSA":     {ecdsa, types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeExternalMu, 64, "ValidationException", ""},
		"a digest for pure Ed25519": {edwards, types.SigningAlgorithmSpecEd25519Sha512, types.MessageTypeDigest, 64, "ValidationException", ""},
		"Ed25519ph, which SoftHSM2 has not": {edwards, types.SigningAlgorithmSpecEd25519PhSha512, types.MessageTypeDigest, 64,
			"UnsupportedOperationException", "does not support the algorithm ED25519_PH_SHA_512."},
		"nothing":      {ecdsa, types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeRaw, 0, "ValidationException", "at 'message' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		"4097 bytes":   {ecdsa, types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeRaw, 4097, "ValidationException", "at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096"},
		"no algorithm": {ecdsa, "MD5", types.MessageTypeRaw, 5, "ValidationException", "Value 'MD5' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: ["},
	} {
		t.Run(name, func(t *testing.T) {
			message := bytes.Repeat([]byte("m"), c.size)
			_, err := client.Sign(t.Context(), &kms.SignInput{KeyId: c.by.key.KeyId, SigningAlgorithm: c.algorithm, MessageType: c.kind, Message: message})
			wantCode(t, err, c.code, c.message)
			err = c.by.verify(t, c.algorithm, c.kind, message, make([]byte, 64))
			wantCode(t, err, c.code, c.message)
		})
	}
}

// TestSigningByAlias is how cosign and step use KMS: everything by alias, the first algorithm that
// the key lists, and digests only.
func TestSigningByAlias(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	for i, spec := range []types.CustomerMasterKeySpec{types.CustomerMasterKeySpecRsa2048, types.CustomerMasterKeySpecEccNistP256} {
		alias := aws.String(fmt.Sprint("alias/signer-", i))
		made := must(client.CreateKey(ctx, &kms.CreateKeyInput{
			//lint:ignore SA1019 cosign sends the deprecated twin of KeySpec
			CustomerMasterKeySpec: spec,
			KeyUsage:              types.KeyUsageTypeSignVerify,
			Tags:                  []types.Tag{{TagKey: aws.String("name"), TagValue: alias}},
		}))(t).KeyMetadata
		must(client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: alias, TargetKeyId: made.KeyId}))(t)

		algorithm := describe(t, client, *alias).SigningAlgorithms[0]
		public := publicKey(t, client, alias)
		digest := sha256.Sum256([]byte("an artefact"))
		signed := must(client.Sign(ctx, &kms.SignInput{KeyId: alias, SigningAlgorithm: algorithm, MessageType: types.MessageTypeDigest, Message: digest[:]}))(t)
		if !signatureSchemes[algorithm].verifies(public, []byte("an artefact"), signed.Signature) || *signed.KeyId != *made.Arn {
			t.Errorf("%s: the signature by alias with %s does not verify outside", spec, algorithm)
		}
		must(client.Verify(ctx, &kms.VerifyInput{KeyId: alias, SigningAlgorithm: algorithm, MessageType: types.MessageTypeDigest, Message: digest[:], Signature: signed.Signature}))(t)
	}
}
