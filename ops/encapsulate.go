package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// Encapsulate implements the operation Encapsulate: ML-KEM.Encaps (FIPS 203) with the public half of
// the key.
func (s *Service) Encapsulate(ctx context.Context, call *Call, in *kms.EncapsulateRequest) (*kms.EncapsulateResponse, error) {
	k, err := s.usable(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens}, string(in.EncapsulationAlgorithm))
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	d, err := s.domainOf(k.CurrentMaterial())
	if err != nil {
		return nil, tokenError(err)
	}
	secret, ciphertext, err := d.Encapsulate(ctx, k.CurrentMaterial(), k.Spec)
	if err != nil {
		return nil, tokenError(err)
	}
	return &kms.EncapsulateResponse{
		KeyId:                      k.arn,
		SharedSecret:               secret,
		SharedSecretCiphertextBlob: ciphertext,
		EncapsulationAlgorithm:     in.EncapsulationAlgorithm,
	}, nil
}

// Decapsulate implements the operation Decapsulate. A ciphertext of the right length that was not made
// for the key gives a secret all the same, which is of no use (implicit rejection, FIPS 203, section
// 6.3); only its length can be wrong.
func (s *Service) Decapsulate(ctx context.Context, call *Call, in *kms.DecapsulateRequest) (*kms.DecapsulateResponse, error) {
	k, err := s.usable(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens}, string(in.EncapsulationAlgorithm))
	if err != nil {
		return nil, err
	}
	d, err := s.domainOf(k.CurrentMaterial())
	if err != nil {
		return nil, tokenError(err)
	}
	// A dry run decapsulates too, as one of Decrypt decrypts.
	secret, err := d.Decapsulate(ctx, k.CurrentMaterial(), k.Spec, in.SharedSecretCiphertextBlob)
	if err != nil {
		return nil, tokenError(err)
	}
	if in.DryRun {
		clear(secret)
		return nil, errDryRun()
	}
	return &kms.DecapsulateResponse{
		KeyId:                  k.arn,
		SharedSecret:           secret,
		EncapsulationAlgorithm: in.EncapsulationAlgorithm,
	}, nil
}
