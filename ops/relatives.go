package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/keystore"
)

// keyGetter reads a key's record, in a transaction or not; ErrNotFound if there is none. The
// record is shared and must not be changed.
type keyGetter func(keystore.KeyID) (*keystore.KeyRecord, error)

// keys reads records outside a transaction.
func (s *Service) keys(ctx context.Context) keyGetter {
	return func(id keystore.KeyID) (*keystore.KeyRecord, error) { return s.store.Key(ctx, id) }
}

// eachRelative calls do with the records of a multi-Region key in its other Regions. They are
// shared and must not be changed.
func eachRelative(get keyGetter, r *keystore.KeyRecord, do func(*keystore.KeyRecord) error) error {
	if r.MultiRegion == nil {
		return nil
	}
	for _, region := range append([]string{r.MultiRegion.PrimaryRegion}, r.MultiRegion.ReplicaRegions...) {
		if region == r.Region {
			continue
		}
		id := r.KeyID()
		id.Region = region
		relative, err := get(id)
		if errors.Is(err, keystore.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := do(relative); err != nil {
			return err
		}
	}
	return nil
}
