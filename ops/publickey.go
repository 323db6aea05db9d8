package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// GetPublicKey implements the operation GetPublicKey.
func (s *Service) GetPublicKey(ctx context.Context, call *Call, in *kms.GetPublicKeyRequest) (*kms.GetPublicKeyResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeUse(ctx, call, call.Operation, k, byGrant{tokens: in.GrantTokens}); err != nil {
		return nil, err
	}
	spec, ok := kms.SpecOf(k.Spec)
	if !ok || !spec.Family.Asymmetric() {
		return nil, kms.Errorf(kms.UnsupportedOperationException, "%s key spec is %s which is not valid for GetPublicKey.", k.arn, k.Spec)
	}
	if err := checkState(k, call.Operation); err != nil {
		return nil, err
	}
	material := k.CurrentMaterial()
	if material == nil {
		return nil, kms.Errorf(kms.KMSInvalidStateException, "%s is pending import.", k.arn)
	}
	use := s.algorithms(k)
	return &kms.GetPublicKeyResponse{
		KeyId:                   k.arn,
		PublicKey:               material.PublicKey,
		KeySpec:                 k.Spec,
		CustomerMasterKeySpec:   kms.CustomerMasterKeySpec(k.Spec),
		KeyUsage:                k.Usage,
		EncryptionAlgorithms:    use.Encryption,
		SigningAlgorithms:       use.Signing,
		KeyAgreementAlgorithms:  use.KeyAgreement,
		EncapsulationAlgorithms: use.Encapsulation,
	}, nil
}
