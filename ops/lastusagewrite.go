package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kms11/kms11/keystore"
)

const (
	// lastUsesInterval is how often last uses are written, and so how much of them a crash loses.
	lastUsesInterval = time.Minute
	// lastUsesEnd is how long the last writing may take, when the service ends.
	lastUsesEnd = 10 * time.Second
	// lastUsesBatch is how many are written in one transaction: few enough not to hold up others.
	lastUsesBatch = 50
)

// keepLastUses writes last uses until ctx ends, and then once more.
func (s *Service) keepLastUses(ctx context.Context) {
	ticker := time.NewTicker(lastUsesInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastUsesEnd)
			defer cancel()
			if err := s.WriteLastUses(ending); err != nil {
				s.log.Error("the last uses of some keys were not written and are lost", "keys", s.lastUses.entries.Load(), "error", err)
			}
			return
		case <-ticker.C:
		case <-s.lastUses.crowded:
		}
		if err := s.WriteLastUses(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("the last uses of some keys were not written and will be tried again", "keys", s.lastUses.entries.Load(), "error", err)
		}
	}
}

// WriteLastUses writes the last uses of keys that are in memory to the store. Run calls it every
// minute. What it does not write, because of the error, stays in memory for the next time. Calls
// may run at the same time, here and on other nodes: of several uses of a key the last one stays.
func (s *Service) WriteLastUses(ctx context.Context) error {
	if lost := s.lastUses.lost.Swap(0); lost > 0 {
		s.log.Warn("the last uses of more keys than can be remembered", "lost", lost)
	}
	var failed []error
	for batch := range slices.Chunk(s.lastUses.list(), lastUsesBatch) {
		refused, err := s.writeLastUses(ctx, batch)
		if err != nil {
			return errors.Join(append(failed, fmt.Errorf("ops: last uses: %w", err))...)
		}
		failed = append(failed, refused...)
	}
	return errors.Join(failed...)
}

// writeLastUses writes entries in one transaction. A key whose records were tampered with hinders
// no other: it gives one of refused.
func (s *Service) writeLastUses(ctx context.Context, batch []notedUse) (refused []error, err error) {
	var written []notedUse
	err = s.store.Update(ctx, func(tx *keystore.Tx) error {
		refused, written = nil, nil
		for _, entry := range batch {
			err := tx.NoteLastUsage(&keystore.LastUsageRecord{
				Partition: entry.key.Partition, Account: entry.key.Account, Region: entry.key.Region, KeyID: entry.key.ID,
				Operation: entry.use.operation, Used: entry.use.at, RequestID: entry.use.requestID, EventID: entry.use.eventID,
			})
			switch {
			case errors.Is(err, keystore.ErrTampered):
				refused = append(refused, fmt.Errorf("ops: last use: %w", err))
			case err != nil:
				return err
			default:
				written = append(written, entry)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, entry := range written {
		s.lastUses.drop(entry.key, entry.use)
	}
	return refused, nil
}
