package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// GenerateRandom implements the operation GenerateRandom: bytes of the token's random number
// generator.
func (s *Service) GenerateRandom(ctx context.Context, call *Call, in *kms.GenerateRandomRequest) (*kms.GenerateRandomResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	if in.NumberOfBytes == 0 {
		return nil, kms.Errorf(kms.ValidationException, "NumberOfBytes is required.")
	}
	if in.CustomKeyStoreId != "" {
		return nil, kms.CustomKeyStoreNotFoundException.Err()
	}
	to, err := s.attested(call, in.Recipient)
	if err != nil {
		return nil, err
	}
	random, err := s.random(ctx, call.Region, in.NumberOfBytes)
	if err != nil {
		return nil, tokenError(err)
	}
	plaintext, forRecipient, err := to.deliver(random)
	if err != nil {
		return nil, err
	}
	return &kms.GenerateRandomResponse{Plaintext: plaintext, CiphertextForRecipient: forRecipient}, nil
}
