package ops

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kms11/kms11/keystore"
)

const (
	// longestSleep is how long the scheduler sleeps at most; each sleep is up to jitter shorter, so
	// that nodes which started together do not stay together.
	longestSleep = time.Minute
	jitter       = 15 * time.Second
	// dueBatch is how many entries are listed at a time.
	dueBatch = 100
)

// dueActions says what is done for an entry by its action.
func dueActions() map[keystore.DueAction]func(*Service, context.Context, *keystore.DueRecord, time.Time) error {
	return map[keystore.DueAction]func(*Service, context.Context, *keystore.DueRecord, time.Time) error{
		keystore.DueDeleteKey:       (*Service).eraseKey,
		keystore.DueRotateKey:       (*Service).rotateDueKey,
		keystore.DueExpireMaterial:  (*Service).expireMaterial,
		keystore.DueDestroyMaterial: (*Service).destroyMaterial,
		keystore.DueDeleteGrants:    (*Service).sweepGrants,

		keystore.DueRetireDomainKeys: (*Service).retireDomainKeys,
	}
}

// Run does what is due, at its time, until ctx ends. What fails is logged and tried again within a
// minute. Several nodes may run it over one store at once. What another node, or a request, puts
// into the store while this one sleeps is seen within a minute of its time; what a request to this
// one makes overdue is done at once.
//
// It also writes the last uses of keys to the store, every minute and once more when ctx has ended.
// So it should end after the last request and before the store is closed. And it keeps the custom key
// stores connected whose records say so.
func (s *Service) Run(ctx context.Context) {
	var writing sync.WaitGroup
	writing.Go(func() { s.keepLastUses(ctx) })
	writing.Go(func() { s.keepOutbox(ctx) })
	writing.Go(func() { s.keepConnections(ctx) })
	defer writing.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.overdue:
		}
		now := s.now()
		if _, err := s.RunDue(ctx, now); err != nil && ctx.Err() == nil {
			s.log.Error("scheduled work failed and will be tried again", "error", err)
		}
		timer.Reset(s.sleep(ctx, now))
	}
}

// wake has Run look for what is due. It never waits: one call that is still to be heeded is enough.
func (s *Service) wake() {
	select {
	case s.overdue <- struct{}{}:
	default:
	}
}

// sleep is how long to wait after what was due at a time has been tried: until the next entry is
// due, within bounds.
func (s *Service) sleep(ctx context.Context, tried time.Time) time.Duration {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	wait := longestSleep - jitter*time.Duration(binary.BigEndian.Uint32(random[:])>>16)>>16
	if next, ok, err := s.store.NextDue(ctx, tried); err == nil && ok {
		wait = min(wait, next.Sub(s.now()))
	}
	return max(wait, 0)
}

// RunDue does everything that is due at a time, once, and gives how many entries it has dealt with.
// An entry that fails stays, does not hinder the others and is part of the error. Every action
// looks at the records again in its own transaction, so calls may run at the same time, here and on
// other nodes, and one that was cut short can be repeated.
func (s *Service) RunDue(ctx context.Context, now time.Time) (done int, err error) {
	if err := s.Auditable(); err != nil {
		return 0, err // what cannot be recorded is not done
	}
	var failed []error
	after := ""
	for {
		ids, err := s.store.ScanDue(ctx, now, after, dueBatch)
		if err != nil {
			return done, errors.Join(append(failed, err)...)
		}
		if len(ids) == 0 {
			return done, errors.Join(failed...)
		}
		for _, id := range ids {
			if err := s.runEntry(ctx, id, now); err != nil {
				failed = append(failed, fmt.Errorf("ops: due entry %s: %w", id, err))
			} else {
				done++
			}
		}
		after = ids[len(ids)-1]
	}
}

func (s *Service) runEntry(ctx context.Context, id string, now time.Time) error {
	entry, err := s.store.Due(ctx, id)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil // another node was faster
	}
	if err != nil {
		return err
	}
	act, known := dueActions()[entry.Action]
	if !known {
		return fmt.Errorf("unknown action %q", entry.Action)
	}
	return act(s, ctx, entry, now)
}
