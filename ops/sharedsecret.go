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
	to, err := s.attested(call, in.Recipient)
	if err != nil {
		return nil, err
	}
	// A dry run derives too: only that tells whether the peer's key is one of the curve.
	d, err := s.domainOf(k.CurrentMaterial())
	if err != nil {
		return nil, tokenError(err)
	}
	secret, err := d.DeriveSharedSecret(ctx, k.CurrentMaterial(), k.Spec, in.PublicKey)
	if errors.Is(err, hsm.ErrBadPublicKey) {
		return nil, kms.ValidationException.Err().Because(err) // AWS gives no text
	}
	if err != nil {
		return nil, tokenError(err)
	}
	if in.DryRun {
		clear(secret)
		return nil, errDryRun()
	}
	secret, forRecipient, err := to.deliver(secret)
	if err != nil {
		return nil, err
	}
	return &kms.DeriveSharedSecretResponse{
		KeyId:                  k.arn,
		SharedSecret:           secret,
		CiphertextForRecipient: forRecipient,
		KeyAgreementAlgorithm:  in.KeyAgreementAlgorithm,
		KeyOrigin:              k.Origin,
	}, nil
}
