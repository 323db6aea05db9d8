package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// DeriveSharedSecret implements the operation DeriveSharedSecret: the x coordinate of the ECDH
// point, without a key derivation function.
func (s *Service) DeriveSharedSecret(ctx context.Context, call *Call, in *kms.DeriveSharedSecretRequest) (*kms.DeriveSharedSecretResponse, error) {
	k, err := s.usable(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens}, string(in.KeyAgreementAlgorithm))
	if err != nil {
		return nil, err
	}
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	secret, err := s.domain.DeriveSharedSecret(ctx, k.CurrentMaterial(), k.Spec, in.PublicKey)
	if errors.Is(err, hsm.ErrBadPublicKey) {
		return nil, kms.ValidationException.Err().Because(err) // AWS gives no text
	}
	if err != nil {
		return nil, tokenError(err)
	}
	return &kms.DeriveSharedSecretResponse{
		KeyId:                 k.arn,
		SharedSecret:          secret,
		KeyAgreementAlgorithm: in.KeyAgreementAlgorithm,
		KeyOrigin:             k.Origin,
	}, nil
}
