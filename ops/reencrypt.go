package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// ReEncrypt implements the operation ReEncrypt. The plaintext passes through a buffer of this
// process, as in a Decrypt followed by an Encrypt, and is wiped: PKCS #11 has no call that does
// both inside the token.
func (s *Service) ReEncrypt(ctx context.Context, call *Call, in *kms.ReEncryptRequest) (*kms.ReEncryptResponse, error) {
	from, err := s.source(ctx, call, sourceRequest{
		action:      "ReEncryptFrom",
		keyID:       in.SourceKeyId,
		blob:        in.CiphertextBlob,
		algorithm:   in.SourceEncryptionAlgorithm,
		context:     in.SourceEncryptionContext,
		grantTokens: in.GrantTokens,
		dryRun:      in.DryRun,
		modifiers:   in.DryRunModifiers,
	})
	if err != nil {
		return nil, err
	}
	to, err := s.destination(ctx, call, in)
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
	defer clear(plaintext)
	if err := to.check(len(plaintext)); err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	blob, err := s.encrypt(ctx, call, to, plaintext)
	if err != nil {
		return nil, err
	}
	out := &kms.ReEncryptResponse{
		CiphertextBlob:                 blob,
		SourceKeyId:                    from.key.arn,
		KeyId:                          to.key.arn,
		SourceEncryptionAlgorithm:      kms.EncryptionAlgorithmSpec(from.algorithm),
		DestinationEncryptionAlgorithm: kms.EncryptionAlgorithmSpec(to.algorithm),
		SourceKeyMaterialId:            from.materialID(),
	}
	if to.symmetric() {
		out.DestinationKeyMaterialId = to.key.CurrentMaterial().ID
	}
	return out, nil
}

// destination takes the key that is to encrypt anew through the checks.
func (s *Service) destination(ctx context.Context, call *Call, in *kms.ReEncryptRequest) (recipe, error) {
	to := recipe{algorithm: encryptionAlgorithm(in.DestinationEncryptionAlgorithm), context: in.DestinationEncryptionContext}
	var err error
	if to.key, err = s.resolveFor(ctx, call, "ReEncryptTo", in.DestinationKeyId); err != nil {
		return to, err
	}
	if err := s.authorizeUse(ctx, call, "ReEncryptTo", to.key, byGrant{tokens: in.GrantTokens, context: in.DestinationEncryptionContext}); err != nil {
		return to, err
	}
	call.uses(to.key)
	if err := s.checkUse(to.key, call.Operation, to.algorithm); err != nil {
		return to, err
	}
	if err := to.checkContext(); err != nil {
		return to, err
	}
	return to, s.admitUse(to.key)
}
