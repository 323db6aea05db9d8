package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// ReEncrypt implements the operation ReEncrypt for symmetric encryption keys. The plaintext
// passes through a buffer of this process, as in a Decrypt followed by an Encrypt, and is wiped:
// PKCS #11 has no call that does both inside the token.
func (s *Service) ReEncrypt(ctx context.Context, call *Call, in *kms.ReEncryptRequest) (*kms.ReEncryptResponse, error) {
	from, err := s.openSource(ctx, call, sourceRequest{
		action:      "ReEncryptFrom",
		keyID:       in.SourceKeyId,
		blob:        in.CiphertextBlob,
		algorithm:   in.SourceEncryptionAlgorithm,
		grantTokens: in.GrantTokens,
		dryRun:      in.DryRun,
		modifiers:   in.DryRunModifiers,
	})
	if err != nil {
		return nil, err
	}
	to, err := s.resolve(ctx, call, in.DestinationKeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeAction(call, "ReEncryptTo", to); err != nil {
		return nil, err
	}
	if err := checkEncryption(to, in.DestinationEncryptionAlgorithm, call.Operation); err != nil {
		return nil, err
	}
	if from.blind {
		return nil, errDryRun()
	}
	plaintext, err := s.unseal(ctx, from, in.SourceEncryptionContext)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	if in.DryRun {
		return nil, errDryRun()
	}
	blob, err := s.seal(ctx, to, plaintext, in.DestinationEncryptionContext)
	if err != nil {
		return nil, err
	}
	return &kms.ReEncryptResponse{
		CiphertextBlob:                 blob,
		SourceKeyId:                    from.key.arn,
		KeyId:                          to.arn,
		SourceEncryptionAlgorithm:      kms.EncryptionAlgorithmSpecSymmetricDefault,
		DestinationEncryptionAlgorithm: kms.EncryptionAlgorithmSpecSymmetricDefault,
		SourceKeyMaterialId:            from.material.ID,
		DestinationKeyMaterialId:       to.CurrentMaterial().ID,
	}, nil
}
