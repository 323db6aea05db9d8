package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// Encrypt implements the operation Encrypt.
func (s *Service) Encrypt(ctx context.Context, call *Call, in *kms.EncryptRequest) (*kms.EncryptResponse, error) {
	defer clear(in.Plaintext)
	algorithm := encryptionAlgorithm(in.EncryptionAlgorithm)
	k, err := s.usable(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens, context: in.EncryptionContext}, algorithm)
	if err != nil {
		return nil, err
	}
	to := recipe{key: k, algorithm: algorithm, context: in.EncryptionContext}
	if err := to.check(len(in.Plaintext)); err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	blob, err := s.encrypt(ctx, call, to, in.Plaintext)
	if err != nil {
		return nil, err
	}
	return &kms.EncryptResponse{
		CiphertextBlob:      blob,
		KeyId:               k.arn,
		EncryptionAlgorithm: kms.EncryptionAlgorithmSpec(algorithm),
	}, nil
}

// recipe is how something is or was encrypted.
type recipe struct {
	key       key
	algorithm string
	context   map[string]string
}

func (r recipe) symmetric() bool {
	return r.algorithm == string(kms.EncryptionAlgorithmSpecSymmetricDefault)
}

// sm2 says that it is SM2PKE, whose plaintexts have at most sm2Plaintext bytes (API reference,
// Encrypt, "Plaintext").
func (r recipe) sm2() bool { return r.algorithm == string(kms.EncryptionAlgorithmSpecSm2pke) }

const sm2Plaintext = 1024

// check refuses what does not fit an asymmetric key: an encryption context, or a plaintext that
// is longer than OAEP can take (RFC 8017, section 7.1.1: k - 2 hLen - 2) or SM2PKE.
func (r recipe) check(size int) error {
	if r.symmetric() {
		return nil
	}
	if err := r.checkContext(); err != nil {
		return err
	}
	spec, _ := kms.SpecOf(r.key.Spec)
	most := spec.Bits/8 - oaepOverheads[r.algorithm]
	if r.sm2() {
		most = sm2Plaintext
	}
	if size > most {
		return kms.Errorf(kms.ValidationException, "Algorithm %s and key spec %s cannot encrypt data larger than %d bytes.", r.algorithm, r.key.Spec, most)
	}
	return nil
}

func (r recipe) checkContext() error {
	if !r.symmetric() && len(r.context) > 0 {
		return kms.Errorf(kms.ValidationException, "EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs.")
	}
	return nil
}

// oaepOverheads is what OAEP takes of the modulus, in bytes. Nothing writes to it.
var oaepOverheads = map[string]int{
	string(kms.EncryptionAlgorithmSpecRsaesOaepSha1):   2*20 + 2,
	string(kms.EncryptionAlgorithmSpecRsaesOaepSha256): 2*32 + 2,
}

// encrypt encrypts as the recipe says, in the token, and gives the blob.
func (s *Service) encrypt(ctx context.Context, call *Call, to recipe, plaintext []byte) ([]byte, error) {
	if to.symmetric() {
		return s.seal(ctx, call, to.key, plaintext, to.context)
	}
	d, err := s.domainOf(to.key.CurrentMaterial())
	if err != nil {
		return nil, tokenError(err)
	}
	if to.sm2() {
		blob, err := d.EncryptSM2(ctx, to.key.CurrentMaterial(), plaintext)
		return blob, tokenError(err)
	}
	blob, err := d.EncryptRSA(ctx, to.key.CurrentMaterial(), to.key.Spec, kms.EncryptionAlgorithmSpec(to.algorithm), plaintext)
	return blob, tokenError(err)
}

// seal encrypts under the current material of a symmetric key.
func (s *Service) seal(ctx context.Context, call *Call, k key, plaintext []byte, context map[string]string) ([]byte, error) {
	at, err := s.homeOf(ctx, k)
	if err != nil {
		return nil, err
	}
	return at.seal(ctx, call, k, plaintext, context)
}
