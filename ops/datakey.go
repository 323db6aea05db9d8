package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// GenerateDataKey implements the operation GenerateDataKey.
func (s *Service) GenerateDataKey(ctx context.Context, call *Call, in *kms.GenerateDataKeyRequest) (*kms.GenerateDataKeyResponse, error) {
	k, size, err := s.dataKeyFor(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens, context: in.EncryptionContext}, in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	to, err := s.attested(call, in.Recipient)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	plaintext, blob, err := s.dataKey(ctx, call, k, size, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	plaintext, forRecipient, err := to.deliver(plaintext)
	if err != nil {
		return nil, err
	}
	return &kms.GenerateDataKeyResponse{
		CiphertextBlob: blob,
		Plaintext:      plaintext,
		KeyId:          k.arn,
		KeyMaterialId:  k.CurrentMaterial().ID,

		CiphertextForRecipient: forRecipient,
	}, nil
}

// GenerateDataKeyWithoutPlaintext implements the operation of that name.
func (s *Service) GenerateDataKeyWithoutPlaintext(ctx context.Context, call *Call, in *kms.GenerateDataKeyWithoutPlaintextRequest) (*kms.GenerateDataKeyWithoutPlaintextResponse, error) {
	k, size, err := s.dataKeyFor(ctx, call, in.KeyId, byGrant{tokens: in.GrantTokens, context: in.EncryptionContext}, in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	plaintext, blob, err := s.dataKey(ctx, call, k, size, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	clear(plaintext)
	return &kms.GenerateDataKeyWithoutPlaintextResponse{
		CiphertextBlob: blob,
		KeyId:          k.arn,
		KeyMaterialId:  k.CurrentMaterial().ID,
	}, nil
}

// dataKeyFor takes the key of a data key through the checks and gives the data key's size.
func (s *Service) dataKeyFor(ctx context.Context, call *Call, keyID string, by byGrant, spec kms.DataKeySpec, numberOfBytes int) (key, int, error) {
	if (spec == "") == (numberOfBytes == 0) {
		return key{}, 0, kms.Errorf(kms.ValidationException, "Please specify either number of bytes or key spec.")
	}
	size := numberOfBytes
	switch spec {
	case kms.DataKeySpecAes256:
		size = 32
	case kms.DataKeySpecAes128:
		size = 16
	}
	k, err := s.usable(ctx, call, keyID, by, string(kms.EncryptionAlgorithmSpecSymmetricDefault))
	return k, size, err
}

// dataKey makes a data key with a token's random number generator and encrypts it. The plaintext is what
// the operation hands out; the caller wipes it where it does not.
func (s *Service) dataKey(ctx context.Context, call *Call, k key, size int, context map[string]string) (plaintext, blob []byte, err error) {
	at, err := s.homeOf(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	return at.dataKey(ctx, call, k, size, context)
}
