package ops

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// eraseKey deletes the key that an entry is about if its record still says so. The record, its
// aliases and the entry go in one transaction. What the token holds of the key comes after it: the
// wrapped material is only forgotten; of an object that lives in the token the transaction leaves
// an entry, so that it is destroyed even if this process ends here.
func (s *Service) eraseKey(ctx context.Context, entry *keystore.DueRecord, now time.Time) error {
	var erased *keystore.KeyRecord
	call := s.serviceCall("DeleteKey", nil)
	err := s.update(ctx, call, func(tx *keystore.Tx) error {
		erased, call.happened = nil, false
		record, err := tx.Key(entry.Key())
		if err != nil && !errors.Is(err, keystore.ErrNotFound) {
			return err
		}
		if err != nil || !record.Calls(entry) {
			return dropDue(tx, entry)
		}
		if record.DeletionDate.After(now) {
			return nil
		}
		if err := leaveRelatives(tx, record, now); err != nil {
			return err
		}
		if err := leaveGrants(tx, record, now); err != nil {
			return err
		}
		for i := range record.Materials {
			if m := &record.Materials[i].Material; len(m.ObjectID) > 0 {
				if err := leaveObject(tx, record, m, now); err != nil {
					return err
				}
			}
		}
		erased = record
		call.happen(record)
		return tx.DeleteKey(record.KeyID())
	})
	if err != nil || erased == nil {
		return err
	}
	s.concludeService(call)
	for _, m := range erased.Materials {
		s.forget(m.ID)
	}
	if erased.CustomKeyStoreID != "" {
		s.connections.wake()
	}
	return nil
}

// leaveObject writes that a token still has an object of a key whose record goes. What a custom key
// store's token has is destroyed while the store is connected.
func leaveObject(tx *keystore.Tx, r *keystore.KeyRecord, m *kms.Material, now time.Time) error {
	if r.CustomKeyStoreID == "" {
		return tx.PutDue(destruction(r, m, now))
	}
	return tx.PutKeyStoreOrphan(&keystore.KeyStoreOrphanRecord{
		Partition: r.Partition, Account: r.Account, Region: r.Region,
		CustomKeyStoreID: r.CustomKeyStoreID, KeyID: r.ID, Material: *m,
	})
}

// destruction is the entry for an object of a key whose record goes.
func destruction(r *keystore.KeyRecord, m *kms.Material, now time.Time) *keystore.DueRecord {
	return &keystore.DueRecord{
		Due: now, Action: keystore.DueDestroyMaterial,
		Partition: r.Partition, Account: r.Account, Region: r.Region, KeyID: r.ID,
		Material: m,
	}
}

// destroyMaterial destroys an object in the token, then the entry. A token that does not answer
// leaves the entry for the next time; an object that is gone already is as good as destroyed.
func (s *Service) destroyMaterial(ctx context.Context, entry *keystore.DueRecord, _ time.Time) error {
	if err := s.destroy(ctx, entry.Material); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *keystore.Tx) error { return dropDue(tx, entry) })
}

// dropDue removes an entry that another node may have removed meanwhile.
func dropDue(tx *keystore.Tx, entry *keystore.DueRecord) error {
	if err := tx.DeleteDue(entry.ID()); err != nil && !errors.Is(err, keystore.ErrNotFound) {
		return err
	}
	return nil
}

// leaveRelatives takes the Region of a key that goes out of the records of its related keys. If it
// was the last replica of a primary key that waits for that, the primary's waiting period begins.
func leaveRelatives(tx *keystore.Tx, gone *keystore.KeyRecord, now time.Time) error {
	return eachRelative(tx.Key, gone, func(relative *keystore.KeyRecord) error {
		if relative.MultiRegion == nil {
			return nil
		}
		record := relative.Clone()
		m := record.MultiRegion
		m.ReplicaRegions = slices.DeleteFunc(m.ReplicaRegions, func(r string) bool { return r == gone.Region })
		if record.State == kms.KeyStatePendingReplicaDeletion && len(m.ReplicaRegions) == 0 {
			beginWindow(record, now)
		}
		return tx.PutKey(record)
	})
}
