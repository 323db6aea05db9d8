package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// Encrypt implements the operation Encrypt for symmetric encryption keys.
func (s *Service) Encrypt(ctx context.Context, call *Call, in *kms.EncryptRequest) (*kms.EncryptResponse, error) {
	defer clear(in.Plaintext)
	k, err := s.keyFor(ctx, call, in.KeyId, in.GrantTokens, in.EncryptionAlgorithm)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	blob, err := s.seal(ctx, k, in.Plaintext, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &kms.EncryptResponse{
		CiphertextBlob:      blob,
		KeyId:               k.arn,
		EncryptionAlgorithm: kms.EncryptionAlgorithmSpecSymmetricDefault,
	}, nil
}

// keyFor takes the KeyId of an encrypting operation through resolution, authorisation, usage,
// algorithm and state.
func (s *Service) keyFor(ctx context.Context, call *Call, keyID string, grantTokens []string, algorithm kms.EncryptionAlgorithmSpec) (key, error) {
	k, err := s.resolve(ctx, call, keyID)
	if err != nil {
		return k, err
	}
	if err := checkGrantTokens(grantTokens); err != nil {
		return k, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return k, err
	}
	return k, checkEncryption(k, algorithm, call.Operation)
}

// checkEncryption checks usage, algorithm and state of a key that is to encrypt or decrypt.
func checkEncryption(k key, algorithm kms.EncryptionAlgorithmSpec, operation string) error {
	if err := kms.CheckUsage(operation, k.arn, k.Usage); err != nil {
		return err
	}
	if err := checkAlgorithm(k, algorithm); err != nil {
		return err
	}
	return checkState(k, operation)
}

// seal encrypts under the key's current material and gives the blob.
func (s *Service) seal(ctx context.Context, k key, plaintext []byte, context map[string]string) ([]byte, error) {
	material := k.CurrentMaterial()
	c := ciphertext{scheme: material.Scheme, ordinal: material.Ordinal}
	c.key, c.multiRegion, _ = kms.KeyIDBytes(k.ID)
	aad := appendContext(c.appendHeader(nil, shortIV), context)
	sealed, err := s.domain.Encrypt(ctx, material, aad, plaintext)
	if err != nil {
		return nil, tokenError(err)
	}
	c.nonce, c.iv, c.sealed = sealed.Nonce, sealed.IV, sealed.Ciphertext
	return c.marshal(), nil
}
