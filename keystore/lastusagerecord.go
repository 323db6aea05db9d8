package keystore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kms11/kms11/kms"
)

// LastUsageRecord is the last use of a KMS key in one Region, as far as it was written here. A key
// that was never used has none. A record that a Store gave out is shared: change a copy.
type LastUsageRecord struct {
	Partition string `json:"partition"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	KeyID     string `json:"keyId"`

	Operation kms.KeyLastUsageTrackingOperation `json:"operation"`
	Used      time.Time                         `json:"used"`
	RequestID string                            `json:"requestId,omitempty"`
	EventID   string                            `json:"eventId,omitempty"` // since content version 2
}

func lastUsagePlace(key KeyID) engineKey {
	return engineKey{partition: key.Partition, account: key.Account, region: key.Region, kind: "last-usage", id: key.ID}
}

// Key is the name of the key that r is about.
func (r *LastUsageRecord) Key() KeyID { return KeyID{r.Partition, r.Account, r.Region, r.KeyID} }

func (r *LastUsageRecord) place() engineKey { return lastUsagePlace(r.Key()) }

func (r *LastUsageRecord) prepare() (*LastUsageRecord, error) {
	if slices.Contains([]string{r.Partition, r.Account, r.Region, r.KeyID, string(r.Operation)}, "") || r.Used.IsZero() {
		return nil, errors.New("a member that every last use has is empty")
	}
	c := *r
	c.Used = utc(c.Used)
	return &c, nil
}

// LastUsage gives the last use of a key, ErrNotFound if none was written. The record is shared and
// must not be changed.
func (s *Store) LastUsage(ctx context.Context, key KeyID) (*LastUsageRecord, error) {
	return load(ctx, s, lastUsageKind, lastUsagePlace(key))
}

// LastUsage gives the last use of a key, ErrNotFound if none was written. The record must not be
// changed.
func (tx *Tx) LastUsage(key KeyID) (*LastUsageRecord, error) {
	return get(tx, lastUsageKind, lastUsagePlace(key))
}

// NoteLastUsage writes a use of a key unless a later one is there already, so that the order in
// which nodes write does not matter. A use of a key that is gone, or from before the key was made,
// is dropped: a replica may have been deleted and made again under its old id.
func (tx *Tx) NoteLastUsage(r *LastUsageRecord) error {
	key, err := tx.Key(r.Key())
	if errors.Is(err, ErrNotFound) || err == nil && r.Used.Before(key.Created) {
		return nil
	}
	if err != nil {
		return err
	}
	known, err := tx.LastUsage(r.Key())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil && known.Used.After(r.Used) {
		return nil
	}
	return put(tx, lastUsageKind, r)
}

// deleteLastUsage removes the last use of a key, if there is one.
func (tx *Tx) deleteLastUsage(key KeyID) error {
	if err := remove(tx, lastUsagePlace(key)); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}
