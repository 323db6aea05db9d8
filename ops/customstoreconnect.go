package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// ConnectCustomKeyStore implements the operation ConnectCustomKeyStore. It answers at once: the state
// is CONNECTING until the attempt, which Run makes, has ended. A store that is connected, or about to
// be, stays as it is (API Reference, CustomKeyStoreInvalidStateException).
func (s *Service) ConnectCustomKeyStore(ctx context.Context, call *Call, in *kms.ConnectCustomKeyStoreRequest) (*kms.ConnectCustomKeyStoreResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	err := s.changeKeyStore(ctx, call, keyStoreID(call, in.CustomKeyStoreId), func(_ *keystore.Tx, r *keystore.CustomKeyStoreRecord) error {
		switch r.State {
		case kms.ConnectionStateTypeConnected, kms.ConnectionStateTypeConnecting:
			return nil
		case kms.ConnectionStateTypeDisconnected:
			r.State = kms.ConnectionStateTypeConnecting
			r.Generation++
			return nil
		}
		return wrongKeyStoreState(r, call.Operation)
	})
	if err != nil {
		return nil, err
	}
	return &kms.ConnectCustomKeyStoreResponse{}, nil
}

// DisconnectCustomKeyStore implements the operation DisconnectCustomKeyStore. The store's keys are
// unavailable when it answers; the sessions with a token end right after.
func (s *Service) DisconnectCustomKeyStore(ctx context.Context, call *Call, in *kms.DisconnectCustomKeyStoreRequest) (*kms.DisconnectCustomKeyStoreResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	err := s.changeKeyStore(ctx, call, keyStoreID(call, in.CustomKeyStoreId), func(_ *keystore.Tx, r *keystore.CustomKeyStoreRecord) error {
		if r.State == kms.ConnectionStateTypeDisconnected {
			return wrongKeyStoreState(r, call.Operation)
		}
		r.State, r.ErrorCode = kms.ConnectionStateTypeDisconnected, ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &kms.DisconnectCustomKeyStoreResponse{}, nil
}

// DeleteCustomKeyStore implements the operation DeleteCustomKeyStore. Objects of deleted keys that the
// token still has stay there, and are named in the log.
func (s *Service) DeleteCustomKeyStore(ctx context.Context, call *Call, in *kms.DeleteCustomKeyStoreRequest) (*kms.DeleteCustomKeyStoreResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	id := keyStoreID(call, in.CustomKeyStoreId)
	var orphans []*keystore.KeyStoreOrphanRecord
	err := s.update(ctx, call, func(tx *keystore.Tx) error {
		record, err := tx.CustomKeyStore(id)
		if errors.Is(err, keystore.ErrNotFound) {
			return noSuchKeyStore(id.ID)
		}
		if err != nil {
			return err
		}
		if record.State != kms.ConnectionStateTypeDisconnected {
			return wrongKeyStoreState(record, call.Operation)
		}
		has, err := tx.CustomKeyStoreHasKeys(id)
		if err != nil {
			return err
		}
		if has {
			return kms.Errorf(kms.CustomKeyStoreHasCMKsException, "The custom key store %s contains KMS keys. Schedule their deletion and wait until they are deleted.", id.ID)
		}
		orphans, err = tx.DeleteCustomKeyStore(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, orphan := range orphans {
		s.log.Warn("the object of a deleted key stays in the token of a deleted custom key store", "store", id.ID, "key", orphan.KeyID)
	}
	s.connections.wake()
	return &kms.DeleteCustomKeyStoreResponse{}, nil
}
