package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// GenerateDataKeyPair implements the operation GenerateDataKeyPair.
func (s *Service) GenerateDataKeyPair(ctx context.Context, call *Call, in *kms.GenerateDataKeyPairRequest) (*kms.GenerateDataKeyPairResponse, error) {
	k, err := s.usable(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens, context: in.EncryptionContext}, string(kms.EncryptionAlgorithmSpecSymmetricDefault))
	if err != nil {
		return nil, err
	}
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	pair, err := s.dataKeyPair(ctx, k, in.KeyPairSpec, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &kms.GenerateDataKeyPairResponse{
		PrivateKeyCiphertextBlob: pair.sealed,
		PrivateKeyPlaintext:      pair.private,
		PublicKey:                pair.public,
		KeyId:                    k.arn,
		KeyPairSpec:              in.KeyPairSpec,
		KeyMaterialId:            k.CurrentMaterial().ID,
	}, nil
}

// GenerateDataKeyPairWithoutPlaintext implements the operation of that name.
func (s *Service) GenerateDataKeyPairWithoutPlaintext(ctx context.Context, call *Call, in *kms.GenerateDataKeyPairWithoutPlaintextRequest) (*kms.GenerateDataKeyPairWithoutPlaintextResponse, error) {
	k, err := s.usable(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens, context: in.EncryptionContext}, string(kms.EncryptionAlgorithmSpecSymmetricDefault))
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	pair, err := s.dataKeyPair(ctx, k, in.KeyPairSpec, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	clear(pair.private)
	return &kms.GenerateDataKeyPairWithoutPlaintextResponse{
		PrivateKeyCiphertextBlob: pair.sealed,
		PublicKey:                pair.public,
		KeyId:                    k.arn,
		KeyPairSpec:              in.KeyPairSpec,
		KeyMaterialId:            k.CurrentMaterial().ID,
	}, nil
}

type dataKeyPair struct{ private, public, sealed []byte }

// dataKeyPair has the token make a key pair and encrypts the private key. The private key in
// clear is what the operation hands out; the caller wipes it where it does not.
func (s *Service) dataKeyPair(ctx context.Context, k key, spec kms.DataKeyPairSpec, context map[string]string) (dataKeyPair, error) {
	made, err := s.domain.GenerateKeyPair(ctx, spec)
	if err != nil {
		return dataKeyPair{}, tokenError(err)
	}
	sealed, err := s.seal(ctx, k, made.Private, context)
	if err != nil {
		clear(made.Private)
		return dataKeyPair{}, err
	}
	return dataKeyPair{private: made.Private, public: made.Public, sealed: sealed}, nil
}
