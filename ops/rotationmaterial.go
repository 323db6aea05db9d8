package ops

import (
	"context"
	"errors"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// RotateKeyOnDemand implements the operation RotateKeyOnDemand. It makes new material, or takes
// the imported one that waits, and is done when it answers. The automatic schedule does not move.
func (s *Service) RotateKeyOnDemand(ctx context.Context, call *Call, in *kms.RotateKeyOnDemandRequest) (*kms.RotateKeyOnDemandResponse, error) {
	k, err := s.rotationKey(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	now := s.now().UTC()
	// Nothing is made in the token for a request that is refused anyway.
	if err := checkOnDemand(k, call.Operation, now); err != nil {
		return nil, err
	}
	err = s.rotate(ctx, call, k, now, func(tx *keystore.Tx) (*keystore.KeyRecord, error) {
		current, err := currentKey(tx, k)
		if err != nil {
			return nil, err
		}
		if err := checkOnDemand(current, call.Operation, now); err != nil {
			return nil, err
		}
		changed := current.Clone()
		rotationOf(changed).OnDemand++
		return changed, nil
	}, kms.RotationTypeOnDemand)
	if err != nil {
		return nil, err
	}
	return &kms.RotateKeyOnDemandResponse{KeyId: k.arn}, nil
}

// rotateDueKey rotates the key that an entry is about if its record still says so. However many
// dates have passed, the key is rotated once, and the next date is one period from now.
func (s *Service) rotateDueKey(ctx context.Context, entry *keystore.DueRecord, now time.Time) error {
	// A look before the token makes something: often another node was just faster.
	record, err := calledFor(entry, s.keys(ctx))
	if err != nil {
		return err
	}
	if record == nil {
		return s.store.Update(ctx, func(tx *keystore.Tx) error {
			if record, err := calledFor(entry, tx.Key); err != nil || record != nil {
				return err
			}
			return dropDue(tx, entry)
		})
	}
	call := s.serviceCall("RotateKey", record)
	call.details = &rotationDetails{record.ID, kms.RotationTypeAutomatic}
	err = s.rotate(ctx, call, keyOf(record), now.UTC(), func(tx *keystore.Tx) (*keystore.KeyRecord, error) {
		record, err := calledFor(entry, tx.Key)
		if err != nil {
			return nil, err
		}
		if record == nil {
			return nil, dropDue(tx, entry)
		}
		changed := record.Clone()
		// With this another node's entry, which is of the old date, is stale.
		changed.Rotation.Next = afterPeriod(now, changed.Rotation.PeriodInDays)
		return changed, nil
	}, kms.RotationTypeAutomatic)
	if err == nil {
		s.concludeService(call)
	}
	return err
}

// calledFor gives the record of the key that an entry is about, nil if the key is gone or does not
// call for the entry.
func calledFor(entry *keystore.DueRecord, get keyGetter) (*keystore.KeyRecord, error) {
	record, err := get(entry.Key())
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, nil
	}
	if err != nil || !record.Calls(entry) {
		return nil, err
	}
	return record, nil
}

// rotate gives a key new current material: the token makes it first, then begin says in the
// transaction whether the key, as it is now, is to be rotated, with a copy of its record or with
// nil. The material is destroyed if it is not. An imported key takes the material that waits.
func (s *Service) rotate(ctx context.Context, call *Call, k key, now time.Time, begin func(*keystore.Tx) (*keystore.KeyRecord, error), why kms.RotationType) error {
	var made *kms.Material
	copies := moved{}
	if k.Origin != kms.OriginTypeExternal {
		material, err := s.generate(ctx, k.Region, hsm.KeyRequest{Spec: k.Spec, Usage: k.Usage, KeyID: k.ID, Scheme: sharedScheme(k.KeyRecord)})
		if err != nil {
			return tokenError(err)
		}
		material.Created = now
		made = &material
		if err := s.transferToRelatives(ctx, k, material, copies); err != nil {
			return errors.Join(tokenError(transferError(err)), s.abandon(ctx, k.KeyID(), made))
		}
	}
	taken := false
	err := s.withTransfers(ctx, call, k.KeyRecord, copies, func(tx *keystore.Tx) error {
		taken, call.happened = false, false
		record, err := begin(tx)
		if err != nil || record == nil {
			return err
		}
		next, err := nextMaterial(tx, record, made)
		if err != nil {
			return err
		}
		next.Rotated, next.RotationType = now, why
		record.Current = next.Ordinal
		taken, call.happened = true, true
		return s.putRotation(tx, record, copies)
	})
	err = tokenError(err)
	if (err != nil || !taken) && made != nil {
		err = errors.Join(err, s.abandon(ctx, k.KeyID(), made))
	}
	return err
}

// transferToRelatives has the tokens of a key's other Regions get new material before any record names
// it.
func (s *Service) transferToRelatives(ctx context.Context, k key, material kms.Material, copies moved) error {
	return eachRelative(s.keys(ctx), k.KeyRecord, func(relative *keystore.KeyRecord) error {
		return s.transfer(ctx, k.KeyRecord, relative.Region, []kms.Material{material}, copies)
	})
}

// nextMaterial gives the material of a record that a rotation makes current: the one just made,
// under the next ordinal, or else the imported one that waits.
func nextMaterial(tx *keystore.Tx, r *keystore.KeyRecord, made *kms.Material) (*keystore.KeyMaterial, error) {
	if made == nil {
		waiting := waitingMaterial(r)
		if waiting == nil {
			return nil, noneWaiting(keyOf(r))
		}
		if all, err := heldByAll(tx.Key, r, waiting); err != nil {
			return nil, err
		} else if !all {
			return nil, noneWaiting(keyOf(r))
		}
		return waiting, nil
	}
	material := *made
	material.Ordinal = 1
	if n := len(r.Materials); n > 0 {
		material.Ordinal = r.Materials[n-1].Ordinal + 1
	}
	r.Materials = append(r.Materials, keystore.KeyMaterial{Material: material})
	return &r.Materials[len(r.Materials)-1], nil
}
