package ops

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// followVault connects the token of a store, or sees whether its connection still holds, and destroys
// what deleted keys left in it.
func (s *Service) followVault(ctx context.Context, r *keystore.CustomKeyStoreRecord) error {
	id := r.CustomKeyStoreID()
	have := s.connections.get(id)
	switch {
	case have == nil, have.vault == nil && !time.Now().Before(have.retry):
		return s.connectVault(ctx, r, have)
	case have.vault == nil:
		return nil // not yet
	}
	if err := have.vault.Down(); hsm.PINCounted(err) {
		// The PIN was changed while the token was away. It was tried once and is not again.
		if err := s.concludeConnection(ctx, r, err, refused(err)); err != nil {
			return err
		}
		return s.connections.drop(id)
	}
	return s.destroyOrphans(ctx, r, have.vault)
}

// connectVault makes one attempt. earlier is the one before it, nil for the first.
func (s *Service) connectVault(ctx context.Context, r *keystore.CustomKeyStoreRecord, earlier *connection) error {
	mine, err := s.claimLogin(ctx, r)
	if err != nil || !mine {
		return err
	}
	vault, err := s.openVault(ctx, r)
	if ctx.Err() != nil && err != nil && !hsm.PINCounted(err) {
		return s.releaseLogin(context.WithoutCancel(ctx), r)
	}
	// From here on the outcome is written whatever happens: the token has seen the password.
	ctx = context.WithoutCancel(ctx)
	id := r.CustomKeyStoreID()
	if err == nil {
		if err := s.connections.set(id, &connection{generation: r.Generation, vault: vault}); err != nil {
			return err
		}
		if r.State == kms.ConnectionStateTypeConnected && r.CloudHSM.Verified && r.CloudHSM.Anchored {
			s.log.Info("custom key store reconnected", "store", r.ID, "name", r.Name)
		} else if err := s.concludeConnection(ctx, r, nil, accepted); err != nil {
			return errors.Join(err, s.connections.drop(id))
		}
		return s.destroyOrphans(ctx, r, vault)
	}
	if r.State == kms.ConnectionStateTypeConnecting || hsm.PINCounted(err) {
		if err := s.concludeConnection(ctx, r, err, refused(err)); err != nil {
			return err
		}
		return s.connections.drop(id)
	}
	// A store that was connected stays so: its token comes back.
	failed := &connection{generation: r.Generation, err: err, delay: firstReconnect}
	if cluster, err := s.cluster(r.CloudHSM.ClusterID); err == nil {
		failed.uri = cluster.Token.URI.WithoutPIN()
	}
	if earlier != nil && earlier.delay > 0 {
		failed.delay = min(2*earlier.delay, lastReconnect)
	}
	failed.retry = time.Now().Add(failed.delay)
	s.log.Warn("the token of a connected custom key store is not there; it is tried again", "store", r.ID, "error", err)
	return s.connections.set(id, failed)
}

// openVault logs in to the store's token.
func (s *Service) openVault(ctx context.Context, r *keystore.CustomKeyStoreRecord) (*hsm.Vault, error) {
	cluster, err := s.cluster(r.CloudHSM.ClusterID)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hsm.ErrNotFound, err)
	}
	plain, err := s.domain.Open(ctx, passwordPurpose(r.ID), r.CloudHSM.SealedPassword)
	if err != nil {
		return nil, fmt.Errorf("opening the sealed password: %w", err)
	}
	defer clear(plain)
	config := cluster.Token
	if config.Logger == nil {
		config.Logger = s.log
	}
	return hsm.OpenVault(ctx, hsm.VaultConfig{
		Config:      config,
		PIN:         hsm.NewPIN(string(plain)),
		Anchor:      []byte(r.ID),
		AnchorLabel: "kms11 custom key store " + r.ID,
		Anchored:    r.CloudHSM.Anchored,
	})
}

// errRefused is the failure of a login that is not tried.
type errRefused kms.ConnectionErrorCodeType

func (e errRefused) Error() string {
	return "the token refused the password before: it is not tried again until it is updated"
}

// claimLogin decides who may show the token a password. One that the token has not accepted yet is
// shown once, by whoever wrote first that it would be.
func (s *Service) claimLogin(ctx context.Context, r *keystore.CustomKeyStoreRecord) (mine bool, err error) {
	now := s.now()
	var failure error
	var failed *keystore.CustomKeyStoreRecord
	err = s.store.Update(ctx, func(tx *keystore.Tx) error {
		mine, failure = false, nil
		current, err := tx.CustomKeyStore(r.CustomKeyStoreID())
		if errors.Is(err, keystore.ErrNotFound) || err == nil && (current.Generation != r.Generation || current.State != r.State) {
			return nil
		}
		if err != nil {
			return err
		}
		hsm := current.CloudHSM
		switch {
		case hsm.Refused != "":
			failure, failed = errRefused(hsm.Refused), current
		case hsm.Verified:
			mine = true
		case hsm.Trying.IsZero():
			changed := current.Clone()
			changed.CloudHSM.Trying = now
			mine = true
			return tx.PutCustomKeyStore(changed)
		case now.Sub(hsm.Trying) >= tryingBound:
			failure, failed = errRefused(kms.ConnectionErrorCodeTypeInvalidCredentials), current
		}
		return nil
	})
	if err != nil || failure == nil {
		return mine, err
	}
	return false, s.concludeConnection(ctx, failed, failure, refused(failure))
}

// releaseLogin gives back a claim: the token has not seen the password.
func (s *Service) releaseLogin(ctx context.Context, r *keystore.CustomKeyStoreRecord) error {
	return s.store.Update(ctx, func(tx *keystore.Tx) error {
		current, err := tx.CustomKeyStore(r.CustomKeyStoreID())
		if errors.Is(err, keystore.ErrNotFound) || err == nil && (current.Generation != r.Generation || current.CloudHSM.Trying.IsZero()) {
			return nil
		}
		if err != nil {
			return err
		}
		changed := current.Clone()
		changed.CloudHSM.Trying = time.Time{}
		return tx.PutCustomKeyStore(changed)
	})
}

// accepted writes that the token took the password and has the anchor.
func accepted(r *keystore.CustomKeyStoreRecord) {
	r.CloudHSM.Verified, r.CloudHSM.Trying, r.CloudHSM.Anchored = true, time.Time{}, true
}

// refused writes whether the token refused the password.
func refused(err error) func(*keystore.CustomKeyStoreRecord) {
	return func(r *keystore.CustomKeyStoreRecord) {
		r.CloudHSM.Trying = time.Time{}
		var before errRefused
		if hsm.PINCounted(err) || errors.As(err, &before) {
			r.CloudHSM.Refused, r.CloudHSM.Verified = connectionCode(err), false
		}
	}
}

// destroyOrphans destroys the objects of deleted keys in a store's token.
func (s *Service) destroyOrphans(ctx context.Context, r *keystore.CustomKeyStoreRecord, vault *hsm.Vault) error {
	orphans, err := s.store.KeyStoreOrphans(ctx, r.CustomKeyStoreID())
	if err != nil {
		return err
	}
	for _, orphan := range orphans {
		if err := vault.Destroy(ctx, &orphan.Material); err != nil {
			return fmt.Errorf("destroying the object of the deleted key %s: %w", orphan.KeyID, err)
		}
		err := s.store.Update(ctx, func(tx *keystore.Tx) error {
			err := tx.DeleteKeyStoreOrphan(orphan)
			if errors.Is(err, keystore.ErrNotFound) {
				return nil // another node was faster
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
