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
	to, err := s.attested(call, in.Recipient)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, s.dryRunPair(ctx, k, in.KeyPairSpec)
	}
	pair, err := s.dataKeyPair(ctx, call, k, in.KeyPairSpec, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	private, forRecipient, err := to.deliver(pair.private)
	if err != nil {
		return nil, err
	}
	return &kms.GenerateDataKeyPairResponse{
		PrivateKeyCiphertextBlob: pair.sealed,
		PrivateKeyPlaintext:      private,
		CiphertextForRecipient:   forRecipient,
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
		return nil, s.dryRunPair(ctx, k, in.KeyPairSpec)
	}
	pair, err := s.dataKeyPair(ctx, call, k, in.KeyPairSpec, in.EncryptionContext)
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

// dryRunPair says how making a pair would end, without the seconds that an RSA pair can take: only
// a token that has no such keys is asked for one, which it refuses at once.
func (s *Service) dryRunPair(ctx context.Context, k key, name kms.DataKeyPairSpec) error {
	spec, _ := kms.SpecOf(kms.KeySpec(name))
	d := s.tells(k.KeyRecord)
	for _, use := range spec.Uses {
		if use.Usage == kms.KeyUsageTypeSignVerify && len(supported(d, spec.KeySpec, use.Signing)) > 0 {
			return errDryRun()
		}
	}
	made, err := d.GenerateKeyPair(ctx, name)
	clear(made.Private)
	if err != nil {
		return tokenError(err)
	}
	return errDryRun()
}

type dataKeyPair struct{ private, public, sealed []byte }

// dataKeyPair has the token make a key pair and encrypts the private key. The private key in
// clear is what the operation hands out; the caller wipes it where it does not.
func (s *Service) dataKeyPair(ctx context.Context, call *Call, k key, spec kms.DataKeyPairSpec, context map[string]string) (dataKeyPair, error) {
	d, err := s.domainOf(k.CurrentMaterial())
	if err != nil {
		return dataKeyPair{}, tokenError(err)
	}
	made, err := d.GenerateKeyPair(ctx, spec)
	if err != nil {
		return dataKeyPair{}, tokenError(err)
	}
	sealed, err := s.seal(ctx, call, k, made.Private, context)
	if err != nil {
		clear(made.Private)
		return dataKeyPair{}, err
	}
	return dataKeyPair{private: made.Private, public: made.Public, sealed: sealed}, nil
}
