package ops

import (
	"context"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// defaultWindow is the waiting period in days of ScheduleKeyDeletion without one.
const defaultWindow = 30

// ScheduleKeyDeletion implements the operation ScheduleKeyDeletion. For a multi-Region primary key
// with replicas the waiting period begins when the last of them has been deleted.
func (s *Service) ScheduleKeyDeletion(ctx context.Context, call *Call, in *kms.ScheduleKeyDeletionRequest) (*kms.ScheduleKeyDeletionResponse, error) {
	days := limitOr(in.PendingWindowInDays, defaultWindow)
	now := s.now()
	k, err := s.changeKey(ctx, call, in.KeyId, func(r *keystore.KeyRecord) error {
		r.PendingWindowInDays = int32(days)
		if m := r.MultiRegion; m != nil && m.Type == kms.MultiRegionKeyTypePrimary && len(m.ReplicaRegions) > 0 {
			r.State = kms.KeyStatePendingReplicaDeletion
			return nil
		}
		beginWindow(r, now)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &kms.ScheduleKeyDeletionResponse{
		KeyId:               k.arn,
		DeletionDate:        kms.TimestampOf(k.DeletionDate),
		KeyState:            k.State,
		PendingWindowInDays: days,
	}, nil
}

// CancelKeyDeletion implements the operation CancelKeyDeletion. The key is disabled afterwards, or
// waits for an import if that is what it did before.
func (s *Service) CancelKeyDeletion(ctx context.Context, call *Call, in *kms.CancelKeyDeletionRequest) (*kms.CancelKeyDeletionResponse, error) {
	k, err := s.changeKey(ctx, call, in.KeyId, func(r *keystore.KeyRecord) error {
		r.State = kms.KeyStateDisabled
		if lacksMaterial(r) {
			r.State = kms.KeyStatePendingImport
		}
		r.DeletionDate, r.PendingWindowInDays = time.Time{}, 0
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &kms.CancelKeyDeletionResponse{KeyId: k.arn}, nil
}

// beginWindow starts the waiting period that the record names. The date is one that clients are
// shown exactly.
func beginWindow(r *keystore.KeyRecord, now time.Time) {
	r.State = kms.KeyStatePendingDeletion
	r.DeletionDate = now.Truncate(time.Millisecond).Add(time.Duration(r.PendingWindowInDays) * 24 * time.Hour)
}

// lacksMaterial says whether imported material is missing: one that is or was current was deleted or
// has expired, or there never was any (AWS KMS Developer Guide, "Key states of AWS KMS keys").
func lacksMaterial(r *keystore.KeyRecord) bool {
	if r.Origin != kms.OriginTypeExternal {
		return false
	}
	for i := range r.Materials {
		if m := &r.Materials[i]; m.Ordinal <= r.Current && !m.Present() {
			return true
		}
	}
	return r.Current == 0
}
