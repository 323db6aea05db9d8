package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// GenerateMac implements the operation GenerateMac.
func (s *Service) GenerateMac(ctx context.Context, call *Call, in *kms.GenerateMacRequest) (*kms.GenerateMacResponse, error) {
	k, err := s.usable(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens}, string(in.MacAlgorithm))
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
	mac, err := d.GenerateMac(ctx, k.CurrentMaterial(), in.MacAlgorithm, in.Message)
	if err != nil {
		return nil, tokenError(err)
	}
	return &kms.GenerateMacResponse{Mac: mac, MacAlgorithm: in.MacAlgorithm, KeyId: k.arn}, nil
}

// VerifyMac implements the operation VerifyMac. A MAC that does not verify is an error, never
// MacValid false.
func (s *Service) VerifyMac(ctx context.Context, call *Call, in *kms.VerifyMacRequest) (*kms.VerifyMacResponse, error) {
	k, err := s.usable(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens}, string(in.MacAlgorithm))
	if err != nil {
		return nil, err
	}
	d, err := s.domainOf(k.CurrentMaterial())
	if err != nil {
		return nil, tokenError(err)
	}
	err = d.VerifyMac(ctx, k.CurrentMaterial(), in.MacAlgorithm, in.Message, in.Mac)
	if errors.Is(err, hsm.ErrBadMAC) {
		return nil, kms.KMSInvalidMacException.Err().Because(err)
	}
	if err != nil {
		return nil, tokenError(err)
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	return &kms.VerifyMacResponse{KeyId: k.arn, MacValid: true, MacAlgorithm: in.MacAlgorithm}, nil
}
