package ops

import (
	"context"

	"github.com/kms11/kms11/hsm"
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
	plaintext, err := s.decrypt(ctx, from)
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
func (s *Service) decrypt(ctx context.Context, from source) ([]byte, error) {
	d, err := s.domainOf(from.material)
	if err != nil {
		return nil, tokenError(err)
	}
	if from.sm2() {
		plaintext, err := d.DecryptSM2(ctx, from.material, from.blob)
		return plaintext, tokenError(err)
	}
	if !from.symmetric() {
		plaintext, err := d.DecryptRSA(ctx, from.material, from.key.Spec, kms.EncryptionAlgorithmSpec(from.algorithm), from.blob)
		return plaintext, tokenError(err)
	}
	aad := append(make([]byte, 0, 128), from.blob[:headerSize]...)
	plaintext, err := d.Decrypt(ctx, from.material, hsm.Sealed{
		Nonce:      from.ciphertext.nonce,
		IV:         from.ciphertext.iv,
		Ciphertext: from.ciphertext.sealed,
	}, appendContext(aad, from.context))
	return plaintext, tokenError(err)
}
