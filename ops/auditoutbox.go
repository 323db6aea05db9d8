package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kms11/kms11/keystore"
)

const (
	// outboxInterval is how often events that are in the trail are removed from the outbox.
	outboxInterval = time.Second
	// outboxBatch is how many are removed in one transaction.
	outboxBatch = 200
	// outboxEnd is how long the last removal may take when the service ends.
	outboxEnd = 10 * time.Second
)

// outbox remembers the mutations of this process whose events are in the store.
type outbox struct {
	mu       sync.Mutex
	recorded []string // ids of events that are in the trail
	owed     []string // of those that the trail did not take
}

// settle notes what became of an event that is in the store.
func (o *outbox) settle(eventID string, recorded bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if recorded {
		o.recorded = append(o.recorded, eventID)
	} else {
		o.owed = append(o.owed, eventID)
	}
}

// take gives what there is to remove and to copy, and forgets it.
func (o *outbox) take() (recorded, owed []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	recorded, owed = o.recorded, o.owed
	o.recorded, o.owed = nil, nil
	return recorded, owed
}

// keepOutbox empties the outbox of this process until ctx ends, and then once more. At the same
// interval it records how many records were left out.
func (s *Service) keepOutbox(ctx context.Context) {
	if s.audit == nil {
		return
	}
	ticker := time.NewTicker(outboxInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), outboxEnd)
			defer cancel()
			s.emptyOutbox(ending)
			s.recordOmitted()
			return
		case <-ticker.C:
		}
		s.emptyOutbox(ctx)
		s.recordOmitted()
	}
}

// emptyOutbox removes events that are in the trail from the store, and copies those that are not.
// What fails is tried again.
func (s *Service) emptyOutbox(ctx context.Context) {
	recorded, owed := s.outbox.take()
	err := s.dropOutbox(ctx, recorded)
	if err != nil {
		for _, id := range recorded {
			s.outbox.settle(id, true)
		}
	}
	if len(owed) > 0 {
		if s.audit.Ready() == nil {
			var copied error
			if _, copied = s.copyOutbox(ctx, owed); copied == nil {
				owed = nil
			}
			err = errors.Join(err, copied)
		}
		for _, id := range owed {
			s.outbox.settle(id, false)
		}
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("the outbox of the audit trail was not emptied; it will be tried again", "error", err)
	}
}

// dropOutbox removes events from the store. One that is gone already is as good as removed.
func (s *Service) dropOutbox(ctx context.Context, eventIDs []string) error {
	for batch := range slices.Chunk(eventIDs, outboxBatch) {
		err := s.store.Update(ctx, func(tx *keystore.Tx) error {
			for _, id := range batch {
				if err := tx.DeleteOutbox(id); err != nil && !errors.Is(err, keystore.ErrNotFound) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("ops: outbox: %w", err)
		}
	}
	return nil
}

// copyOutbox puts events of the store into the trail, those that are not there yet, and removes them
// from the store. It gives how many it copied.
func (s *Service) copyOutbox(ctx context.Context, eventIDs []string) (copied int, err error) {
	var records []*keystore.OutboxRecord
	ids := map[string]bool{}
	after := s.audit.Sequence()
	for _, id := range eventIDs {
		record, err := s.store.Outbox(ctx, id)
		if errors.Is(err, keystore.ErrNotFound) {
			continue // its transaction failed after all
		}
		if err != nil {
			return 0, err
		}
		records, ids[id] = append(records, record), true
		after = min(after, record.After)
	}
	if len(records) == 0 {
		return 0, nil
	}
	there, err := s.audit.Recorded(after, ids)
	if err != nil {
		return 0, err
	}
	for _, record := range records {
		if there[record.EventID] {
			continue
		}
		if err := s.audit.Append(record.Event); err != nil {
			return copied, err
		}
		copied++
	}
	return copied, s.dropOutbox(ctx, eventIDs)
}

// RecoverAudit brings store and audit trail together after a crash: the events of mutations that the
// trail does not have are copied to it. It has to come before the first request.
func (s *Service) RecoverAudit(ctx context.Context) error {
	if s.audit == nil {
		return nil
	}
	var all []string
	for after := ""; ; {
		ids, more, err := s.store.ScanOutbox(ctx, after, outboxBatch)
		if err != nil {
			return err
		}
		if all = append(all, ids...); !more {
			break
		}
		after = ids[len(ids)-1]
	}
	copied, err := s.copyOutbox(ctx, all)
	if copied > 0 {
		s.log.Info("events of changes that a crash had kept from the audit trail were copied to it", "events", copied)
	}
	return err
}
