package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// EnableKey implements the operation EnableKey.
func (s *Service) EnableKey(ctx context.Context, call *Call, in *kms.EnableKeyRequest) error {
	return s.editKey(ctx, call, in.KeyId, func(r *keystore.KeyRecord) { r.State = kms.KeyStateEnabled })
}

// DisableKey implements the operation DisableKey.
func (s *Service) DisableKey(ctx context.Context, call *Call, in *kms.DisableKeyRequest) error {
	return s.editKey(ctx, call, in.KeyId, func(r *keystore.KeyRecord) { r.State = kms.KeyStateDisabled })
}

// UpdateKeyDescription implements the operation UpdateKeyDescription.
func (s *Service) UpdateKeyDescription(ctx context.Context, call *Call, in *kms.UpdateKeyDescriptionRequest) error {
	return s.editKey(ctx, call, in.KeyId, func(r *keystore.KeyRecord) { r.Description = in.Description })
}

// editKey changes a key's record: it authorises on the key as it stands, then checks the state
// and applies the change to the record as the transaction sees it.
func (s *Service) editKey(ctx context.Context, call *Call, keyID string, change func(*keystore.KeyRecord)) error {
	k, err := s.resolve(ctx, call, keyID)
	if err != nil {
		return err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *keystore.Tx) error {
		current, err := tx.Key(k.KeyID())
		if errors.Is(err, keystore.ErrNotFound) {
			return kms.NoSuchKey(kms.KeyARN(k.Region, k.Account, k.ID))
		}
		if err != nil {
			return err
		}
		if err := checkState(keyOf(current), call.Operation); err != nil {
			return err
		}
		changed := current.Clone()
		change(changed)
		return tx.PutKey(changed)
	})
}
