package ops

import (
	"context"
	"errors"
	"slices"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// UpdatePrimaryRegion implements the operation UpdatePrimaryRegion: a primary key and one of its
// replicas change places. The caller needs kms:UpdatePrimaryRegion on both. At AWS both are
// Updating for a while; here they have changed when it answers.
func (s *Service) UpdatePrimaryRegion(ctx context.Context, call *Call, in *kms.UpdatePrimaryRegionRequest) error {
	primary, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return err
	}
	if err := s.authorizeKey(call, primary); err != nil {
		return err
	}
	if err := checkPrimary(primary); err != nil {
		return err
	}
	if in.PrimaryRegion == primary.Region {
		return kms.Errorf(kms.UnsupportedOperationException, "%s is already the multi-region primary key.", primary.arn)
	}
	if err := s.checkRegion(primary, "PrimaryRegion", in.PrimaryRegion); err != nil {
		return err
	}
	replica, err := s.relative(ctx, primary, in.PrimaryRegion)
	if err != nil {
		return err
	}
	there := *call
	there.Region = in.PrimaryRegion
	if err := s.authorizeKey(&there, replica); err != nil {
		return err
	}
	return s.update(ctx, call, func(tx *keystore.Tx) error { return promote(tx, call.Operation, primary, replica) })
}

// promote makes a replica the primary key, as the transaction sees both. The entry of the
// automatic rotation, which is derived from the primary's record, goes over with its date.
func promote(tx *keystore.Tx, operation string, primary, replica key) error {
	from, err := currentKey(tx, primary)
	if err != nil {
		return err
	}
	if err := checkPrimary(from); err != nil {
		return err
	}
	to, err := currentKey(tx, replica)
	if err != nil {
		return err
	}
	for _, k := range []key{from, to} {
		if err := checkState(k, operation); err != nil {
			return err
		}
	}
	replicas := slices.Clone(from.MultiRegion.ReplicaRegions)
	at := slices.Index(replicas, to.Region)
	if at < 0 {
		return kms.NoSuchKey(kms.KeyARN(to.Region, to.Account, to.ID))
	}
	replicas[at] = from.Region
	promoted := to.Clone()
	promoted.MultiRegion = placesOf(to.Region, to.Region, replicas)
	if err := tx.PutKey(promoted); err != nil {
		return err
	}
	return tellRelatives(tx, promoted)
}

// relative finds the related key in another Region.
func (s *Service) relative(ctx context.Context, k key, region string) (key, error) {
	id := k.KeyID()
	id.Region = region
	record, err := s.store.Key(ctx, id)
	if errors.Is(err, keystore.ErrNotFound) {
		return key{}, kms.NoSuchKey(kms.KeyARN(region, k.Account, k.ID))
	}
	if err != nil {
		return key{}, err
	}
	return keyOf(record), nil
}
