package ops

import (
	"context"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// EnableKeyRotation implements the operation EnableKeyRotation. Every call sets the period and
// starts it anew: the first rotation comes one period from now.
func (s *Service) EnableKeyRotation(ctx context.Context, call *Call, in *kms.EnableKeyRotationRequest) error {
	days := limitOr(in.RotationPeriodInDays, standardPeriod)
	next := afterPeriod(s.now(), int32(days))
	return s.setRotation(ctx, call, in.KeyId, func(r *keystore.Rotation) {
		r.Enabled, r.PeriodInDays, r.Next = true, int32(days), next
	})
}

// DisableKeyRotation implements the operation DisableKeyRotation. The count of rotations on demand
// stays.
func (s *Service) DisableKeyRotation(ctx context.Context, call *Call, in *kms.DisableKeyRotationRequest) error {
	return s.setRotation(ctx, call, in.KeyId, func(r *keystore.Rotation) {
		r.Enabled, r.PeriodInDays, r.Next = false, 0, time.Time{}
	})
}

// GetKeyRotationStatus implements the operation GetKeyRotationStatus. While a key is pending
// deletion its schedule is kept but shown as off. AWS gives the bare key id here.
func (s *Service) GetKeyRotationStatus(ctx context.Context, call *Call, in *kms.GetKeyRotationStatusRequest) (*kms.GetKeyRotationStatusResponse, error) {
	k, err := s.rotationKey(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := checkRotation(k, call.Operation); err != nil {
		return nil, err
	}
	out := &kms.GetKeyRotationStatusResponse{KeyId: k.ID}
	if k.Rotation == nil {
		return out, nil
	}
	out.OnDemandRotationStartDate = kms.TimestampOf(k.Rotation.OnDemandStarted)
	ends := k.State == kms.KeyStatePendingDeletion || k.State == kms.KeyStatePendingReplicaDeletion
	if k.Rotation.Enabled && !ends {
		out.KeyRotationEnabled = true
		out.RotationPeriodInDays = int(k.Rotation.PeriodInDays)
		out.NextRotationDate = kms.TimestampOf(k.Rotation.Next)
	}
	return out, nil
}

// afterPeriod is the date of the rotation that follows a time. It is one that clients are shown
// exactly.
func afterPeriod(t time.Time, days int32) time.Time {
	return t.UTC().Truncate(time.Millisecond).Add(time.Duration(days) * 24 * time.Hour)
}

// rotationKey finds the key of a request about rotation and authorises it.
func (s *Service) rotationKey(ctx context.Context, call *Call, keyID string) (key, error) {
	k, err := s.resolve(ctx, call, keyID)
	if err != nil {
		return key{}, err
	}
	return k, s.authorizeKey(call, k)
}

// setRotation changes the schedule of a key and of its replicas.
func (s *Service) setRotation(ctx context.Context, call *Call, keyID string, set func(*keystore.Rotation)) error {
	k, err := s.rotationKey(ctx, call, keyID)
	if err != nil {
		return err
	}
	copies := moved{}
	return s.withTransfers(ctx, call, k.KeyRecord, copies, func(tx *keystore.Tx) error {
		current, err := currentKey(tx, k)
		if err != nil {
			return err
		}
		if err := checkRotation(current, call.Operation); err != nil {
			return err
		}
		changed := current.Clone()
		set(rotationOf(changed))
		return s.putRotation(tx, changed, copies)
	})
}

// rotationOf gives the rotation of a record that nobody else has, which thereby has one.
func rotationOf(r *keystore.KeyRecord) *keystore.Rotation {
	if r.Rotation == nil {
		r.Rotation = new(keystore.Rotation)
	}
	return r.Rotation
}
