package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// usable takes the KeyId of a cryptographic operation through resolution, authorisation, usage,
// algorithm and state. The algorithm is never empty. If the request succeeds it is a use of the key.
func (s *Service) usable(ctx context.Context, call *Call, keyID string, by byGrant, algorithm string) (key, error) {
	k, err := s.resolve(ctx, call, keyID)
	if err != nil {
		return k, err
	}
	if err := s.authorizeUse(ctx, call, call.Operation, k, by); err != nil {
		return k, err
	}
	call.uses(k)
	if err := s.checkUse(k, call.Operation, algorithm); err != nil {
		return k, err
	}
	return k, s.admitUse(k)
}

// checkUse checks usage, algorithm and state of a key for an operation.
func (s *Service) checkUse(k key, operation, algorithm string) error {
	if err := kms.CheckUsage(operation, k.arn, k.Usage); err != nil {
		return err
	}
	if err := s.checkAlgorithm(k, algorithm); err != nil {
		return err
	}
	return checkState(k, operation)
}

// checkAlgorithm refuses an algorithm that does not fit the key or that its token cannot do.
func (s *Service) checkAlgorithm(k key, algorithm string) error {
	spec, ok := kms.SpecOf(k.Spec)
	if !ok {
		return kms.KMSInternalException.Err()
	}
	if err := spec.CheckAlgorithm(k.Usage, algorithm); err != nil {
		return err
	}
	if !s.tells(k.KeyRecord).Supports(k.Spec, algorithm) {
		return kms.Errorf(kms.UnsupportedOperationException, "The token that holds %s does not support the algorithm %s.", k.arn, algorithm)
	}
	return nil
}

// encryptionAlgorithm is the algorithm that an absent EncryptionAlgorithm means.
func encryptionAlgorithm(given kms.EncryptionAlgorithmSpec) string {
	if given == "" {
		given = kms.EncryptionAlgorithmSpecSymmetricDefault
	}
	return string(given)
}
