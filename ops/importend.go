package ops

import (
	"context"
	"slices"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// DeleteImportedKeyMaterial implements the operation DeleteImportedKeyMaterial. Deleting what is not
// there succeeds.
func (s *Service) DeleteImportedKeyMaterial(ctx context.Context, call *Call, in *kms.DeleteImportedKeyMaterialRequest) (*kms.DeleteImportedKeyMaterialResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return nil, err
	}
	now := s.now().UTC()
	id := ""
	err = s.update(ctx, call, func(tx *keystore.Tx) error {
		current, err := currentKey(tx, k)
		if err != nil {
			return err
		}
		if err := checkState(current, call.Operation); err != nil {
			return err
		}
		changed := current.Clone()
		i := slices.IndexFunc(changed.Materials, func(m keystore.KeyMaterial) bool {
			return m.ID == in.KeyMaterialId || in.KeyMaterialId == "" && m.Ordinal == changed.Current
		})
		if i < 0 && in.KeyMaterialId != "" {
			return kms.Errorf(kms.NotFoundException, "Key material '%s' does not exist for the key: %s.", in.KeyMaterialId, k.arn)
		}
		if id = ""; i < 0 {
			return nil // nothing was ever imported
		}
		id = changed.Materials[i].ID
		return putWithout(tx, changed, now, changed.Materials[i].Ordinal)
	})
	if err != nil {
		return nil, err
	}
	s.forgetMaterials(id)
	return &kms.DeleteImportedKeyMaterialResponse{KeyId: k.arn, KeyMaterialId: id}, nil
}

// expireMaterial takes the material away whose time has come, if the key's record still says so.
func (s *Service) expireMaterial(ctx context.Context, entry *keystore.DueRecord, now time.Time) error {
	var gone []string
	call := s.serviceCall("DeleteExpiredKeyMaterial", nil)
	err := s.update(ctx, call, func(tx *keystore.Tx) error {
		gone, call.happened = nil, false
		record, err := calledFor(entry, tx.Key)
		if err != nil {
			return err
		}
		if record == nil {
			return dropDue(tx, entry)
		}
		call.happen(record)
		var ordinals []uint32
		for i := range record.Materials {
			if m := &record.Materials[i]; expired(m, now) {
				gone, ordinals = append(gone, m.ID), append(ordinals, m.Ordinal)
			}
		}
		return putWithout(tx, record.Clone(), now, ordinals...)
	})
	if err != nil {
		return err
	}
	s.concludeService(call)
	s.forgetMaterials(gone...)
	return nil
}

// forgetMaterials ends what the tokens hold of materials that are gone from the store.
func (s *Service) forgetMaterials(ids ...string) {
	for _, id := range ids {
		s.forget(id)
	}
	s.wake() // for objects that live in the token
}

func expired(m *keystore.KeyMaterial, now time.Time) bool {
	return m.Present() && !m.ValidTo.IsZero() && !m.ValidTo.After(now)
}

// present gives a record as it is once what has expired by now is taken away, which the scheduler
// does within a minute: nobody uses material after its time.
func (s *Service) present(r *keystore.KeyRecord) *keystore.KeyRecord {
	if r.Origin != kms.OriginTypeExternal {
		return r // most keys, without asking for the time
	}
	now := s.now()
	if !slices.ContainsFunc(r.Materials, func(m keystore.KeyMaterial) bool { return expired(&m, now) }) {
		return r
	}
	changed := r.Clone()
	for i := len(changed.Materials) - 1; i >= 0; i-- {
		if expired(&changed.Materials[i], now) {
			lose(changed, i)
		}
	}
	settle(changed)
	return changed
}

// lose takes a material away from a record that nobody else has. One that is or was current keeps
// its place, since only the same may come back. So does one that waits in a replica, whose primary
// key decides what waits; elsewhere it leaves no trace.
func lose(r *keystore.KeyRecord, i int) {
	if r.Materials[i].Ordinal > r.Current && !r.Replica() {
		r.Materials = slices.Delete(r.Materials, i, i+1)
		return
	}
	forgetImport(&r.Materials[i])
}

// putWithout writes a key without some of its materials. Of an object in the token the transaction
// leaves an entry, so that it is destroyed even if this process ends here. What waits is taken away
// from the replicas as well.
func putWithout(tx *keystore.Tx, r *keystore.KeyRecord, now time.Time, ordinals ...uint32) error {
	var withdrawn []keystore.KeyMaterial
	for i := len(r.Materials) - 1; i >= 0; i-- {
		m := r.Materials[i]
		if !slices.Contains(ordinals, m.Ordinal) {
			continue
		}
		if len(m.ObjectID) > 0 {
			if err := tx.PutDue(destruction(r, &m.Material, now)); err != nil {
				return err
			}
		}
		if m.Ordinal > r.Current && !r.Replica() {
			withdrawn = append(withdrawn, m)
		}
		lose(r, i)
	}
	settle(r)
	if err := tx.PutKey(r); err != nil || len(withdrawn) == 0 {
		return err
	}
	return eachRelative(tx.Key, r, func(relative *keystore.KeyRecord) error {
		replica := relative.Clone()
		replica.Materials = slices.DeleteFunc(replica.Materials, func(m keystore.KeyMaterial) bool {
			return slices.ContainsFunc(withdrawn, func(w keystore.KeyMaterial) bool { return w.ID == m.ID && w.Ordinal == m.Ordinal })
		})
		return tx.PutKey(replica)
	})
}

// importedValidity is what DescribeKey says of imported material: nothing while some of what is or
// was current is missing, else how it expires, and the earliest time.
func importedValidity(r *keystore.KeyRecord) (model kms.ExpirationModelType, validTo time.Time) {
	if r.Origin != kms.OriginTypeExternal || lacksMaterial(r) {
		return "", time.Time{}
	}
	for i := range r.Materials {
		m := &r.Materials[i]
		if m.Ordinal > r.Current {
			continue
		}
		if model != kms.ExpirationModelTypeKeyMaterialExpires {
			model = m.ExpirationModel
		}
		if !m.ValidTo.IsZero() && (validTo.IsZero() || m.ValidTo.Before(validTo)) {
			validTo = m.ValidTo
		}
	}
	return model, validTo
}
