package ops

import (
	"context"

	"github.com/kms11/kms11/hsm"
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
	vault, err := s.randomVault(ctx, call, in.CustomKeyStoreId)
	if err != nil {
		return nil, err
	}
	to, err := s.attested(call, in.Recipient)
	if err != nil {
		return nil, err
	}
	random, err := s.randomIn(ctx, call.Region, vault, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	plaintext, forRecipient, err := to.deliver(random)
	if err != nil {
		return nil, err
	}
	return &kms.GenerateRandomResponse{Plaintext: plaintext, CiphertextForRecipient: forRecipient}, nil
}

// randomVault gives the token of the custom key store that a request names, nil for the domain.
func (s *Service) randomVault(ctx context.Context, call *Call, storeID string) (*hsm.Vault, error) {
	if storeID == "" {
		return nil, nil
	}
	store, err := s.keyStore(ctx, call, storeID)
	switch {
	case err != nil:
		return nil, err
	case store.CloudHSM == nil:
		return nil, kms.Errorf(kms.UnsupportedOperationException, "%s is not supported by custom key stores of the type %s.", call.Operation, store.Type)
	case store.State != kms.ConnectionStateTypeConnected:
		return nil, wrongKeyStoreState(store, call.Operation)
	}
	if err := s.admitKeyStore(store.Region, store.ID); err != nil {
		return nil, err
	}
	vault, err := s.vaultOf(ctx, store)
	return vault, storeTokenError(err)
}

// randomIn gives bytes from a custom key store's token, or for nil from those of a Region.
func (s *Service) randomIn(ctx context.Context, region string, vault *hsm.Vault, n int) ([]byte, error) {
	if vault == nil {
		random, err := s.random(ctx, region, n)
		return random, tokenError(err)
	}
	random, err := vault.Random(ctx, n)
	return random, storeTokenError(err)
}
