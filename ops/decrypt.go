package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// Decrypt implements the operation Decrypt.
func (s *Service) Decrypt(ctx context.Context, call *Call, in *kms.DecryptRequest) (*kms.DecryptResponse, error) {
	from, err := s.source(ctx, call, sourceRequest{
		action:      "Decrypt",
		keyID:       in.KeyId,
		blob:        in.CiphertextBlob,
		algorithm:   in.EncryptionAlgorithm,
		context:     in.EncryptionContext,
		grantTokens: in.GrantTokens,
		dryRun:      in.DryRun,
		modifiers:   in.DryRunModifiers,
	})
	if err != nil {
		return nil, err
	}
	to, err := s.attested(call, in.Recipient)
	if err != nil {
		return nil, err
	}
	if from.blind {
		return nil, errDryRun()
	}
	plaintext, err := s.decrypt(ctx, call, from)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		clear(plaintext)
		return nil, errDryRun()
	}
	plaintext, forRecipient, err := to.deliver(plaintext)
	if err != nil {
		return nil, err
	}
	return &kms.DecryptResponse{
		KeyId:                  from.key.arn,
		Plaintext:              plaintext,
		CiphertextForRecipient: forRecipient,
		EncryptionAlgorithm:    kms.EncryptionAlgorithmSpec(from.algorithm),
		KeyMaterialId:          from.materialID(),
	}, nil
}

// decrypt decrypts a source in the token.
func (s *Service) decrypt(ctx context.Context, call *Call, from source) ([]byte, error) {
	if from.symmetric() {
		at, err := s.homeOf(ctx, from.key)
		if err != nil {
			return nil, err
		}
		return at.open(ctx, call, from)
	}
	d, err := s.domainOf(from.material)
	if err != nil {
		return nil, tokenError(err)
	}
	if from.sm2() {
		plaintext, err := d.DecryptSM2(ctx, from.material, from.blob)
		return plaintext, tokenError(err)
	}
	plaintext, err := d.DecryptRSA(ctx, from.material, from.key.Spec, kms.EncryptionAlgorithmSpec(from.algorithm), from.blob)
	return plaintext, tokenError(err)
}
