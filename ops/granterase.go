package ops

import (
	"context"
	"errors"
	"time"

	"github.com/kms11/kms11/keystore"
)

// sweepBatch is how many grants of a deleted key are removed in one transaction, so that other
// writers do not wait long.
const sweepBatch = 100

// leaveGrants lets go of the grants of a key that a transaction deletes. Without the key they allow
// nothing; as there may be 50,000 of them, an entry has them removed after the transaction.
func leaveGrants(tx *keystore.Tx, r *keystore.KeyRecord, now time.Time) error {
	had, err := tx.ForgetGrants(r.KeyID())
	if err != nil || !had {
		return err
	}
	return tx.PutDue(&keystore.DueRecord{
		Due: now, Action: keystore.DueDeleteGrants,
		Partition: r.Partition, Account: r.Account, Region: r.Region, KeyID: r.ID,
	})
}

// sweepGrants removes the grants of a deleted key, then the entry. The id may have come back with a
// new replica, whose own grants stay.
func (s *Service) sweepGrants(ctx context.Context, entry *keystore.DueRecord, _ time.Time) error {
	for from := ""; ; {
		ids, next, err := s.store.ScanGrants(ctx, entry.Key(), "", from, sweepBatch)
		if err != nil {
			return err
		}
		if err := s.sweepBatch(ctx, entry, ids); err != nil {
			return err
		}
		if from = next; next == "" {
			break
		}
	}
	return s.store.Update(ctx, func(tx *keystore.Tx) error { return dropDue(tx, entry) })
}

func (s *Service) sweepBatch(ctx context.Context, entry *keystore.DueRecord, ids []string) error {
	return s.store.Update(ctx, func(tx *keystore.Tx) error {
		again, err := tx.Key(entry.Key())
		if err != nil && !errors.Is(err, keystore.ErrNotFound) {
			return err
		}
		for _, id := range ids {
			grant := keystore.GrantID{Key: entry.Key(), ID: id}
			if record, err := tx.Grant(grant); err == nil && again != nil && grantCounts(record, again) {
				continue
			}
			if err := tx.SweepGrant(grant); err != nil {
				return err
			}
		}
		return nil
	})
}
