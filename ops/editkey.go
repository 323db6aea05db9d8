package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// EnableKey implements the operation EnableKey. A rotation that was due while the key was disabled
// follows at once.
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

// editKey is changeKey for a change that cannot fail and an answer that says nothing.
func (s *Service) editKey(ctx context.Context, call *Call, keyID string, change func(*keystore.KeyRecord)) error {
	_, err := s.changeKey(ctx, call, keyID, func(r *keystore.KeyRecord) error {
		change(r)
		return nil
	})
	return err
}

// changeKey changes a key's record and gives the key as it is then: it authorises on the key as it
// stands, then authorises again, checks the state and applies the change on the record as the
// transaction sees it.
// The change may be applied more than once, each time to a record that nobody else has.
func (s *Service) changeKey(ctx context.Context, call *Call, keyID string, change func(*keystore.KeyRecord) error) (key, error) {
	k, err := s.resolve(ctx, call, keyID)
	if err != nil {
		return key{}, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return key{}, err
	}
	var changed *keystore.KeyRecord
	err = s.update(ctx, call, func(tx *keystore.Tx) error {
		current, err := currentKey(tx, k)
		if err != nil {
			return err
		}
		// The policy may have changed while this request waited for other writers.
		if err := s.authorizeKeyIn(tx, call, current); err != nil {
			return err
		}
		if err := checkState(current, call.Operation); err != nil {
			return err
		}
		changed = current.Clone()
		if err := change(changed); err != nil {
			return err
		}
		return tx.PutKey(changed)
	})
	if err != nil {
		return key{}, err
	}
	// A schedule may have rested past its date.
	if changed.DueBy(s.now()) {
		s.wake()
	}
	return key{KeyRecord: changed, arn: k.arn, store: k.store}, nil
}

// currentKey gives a key as a transaction sees it.
func currentKey(tx *keystore.Tx, k key) (key, error) {
	record, err := tx.Key(k.KeyID())
	if errors.Is(err, keystore.ErrNotFound) {
		return key{}, kms.NoSuchKey(kms.KeyARN(k.Region, k.Account, k.ID))
	}
	if err != nil {
		return key{}, err
	}
	return housedIn(tx, key{KeyRecord: record, arn: k.arn})
}
