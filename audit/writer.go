package audit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// runWriter is the one writer. While it writes, and in Strict syncs, the next batch gathers.
func (t *Trail) runWriter() {
	retry := time.NewTimer(t.c.RetryInterval)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-t.kick:
		case <-retry.C:
			t.resume()
		case <-t.quit:
			t.commit()
			return
		}
		t.commit()
		if t.Ready() != nil {
			retry.Reset(t.c.RetryInterval)
		}
	}
}

// commit writes what was appended, in Strict syncs it, and tells those who wait.
func (t *Trail) commit() {
	for {
		if t.c.Mode == Async {
			runtime.Gosched() // those who are about to append share the write
		}
		t.mu.Lock()
		if t.syncFail != nil && t.stopped == nil {
			t.stop(t.syncFail)
		}
		if t.syncFail = nil; len(t.buffer) == 0 {
			t.mu.Unlock()
			return
		}
		records, b := t.buffer, t.waiting
		first, last := t.durable.sequence+1, t.head
		t.buffer, t.spare, t.waiting = t.spare[:0], nil, nil
		t.mu.Unlock()

		err := t.writeRecords(first, records)
		if err == nil && t.c.Mode == Strict {
			err = t.segment.sync()
		}

		t.mu.Lock()
		if err == nil {
			t.durable = last
			t.note(first, last)
			t.acknowledge()
			t.feed(records, first, last.sequence)
		} else {
			t.stop(err)
			err = t.stopped
		}
		if t.c.Mode == Async {
			t.full, t.current = append(t.full, t.segment.takeRetired()...), t.segment.file
		}
		t.spare = reusable(records)
		t.mu.Unlock()
		b.err = err
		close(b.done)
	}
}

// maxSpare is the largest buffer that is kept for the next batch.
const maxSpare = 4 << 20

func reusable(b []byte) []byte {
	if cap(b) > maxSpare {
		return nil
	}
	return b[:0]
}

// writeRecords writes records, the first of which has a number, to the present file or a new one.
func (t *Trail) writeRecords(first uint64, records []byte) error {
	if now := t.now(); t.segment.full(t.c.RotateBytes, t.c.RotateAfter, now) {
		if err := t.segment.create(first, now); err != nil {
			return err
		}
	}
	return t.segment.write(records)
}

// feed hands records to the sinks. The caller holds mu, which keeps their order.
func (t *Trail) feed(records []byte, first, last uint64) {
	for _, sink := range t.sinks {
		sink.offer(records, first, last)
	}
}

// stop ends the service of the trail after a failure: the chain goes back to what is durable, and
// everybody who waits is told. The caller is the writer and holds mu.
func (t *Trail) stop(err error) {
	t.stopped = fmt.Errorf("%w: %w", ErrStopped, err)
	t.down.Store(true)
	t.since = t.now()
	t.refused, t.lost = 0, t.head.sequence-t.durable.sequence
	t.head = t.durable
	t.segment.abandon()
	t.current = nil
	t.buffer = t.buffer[:0]
	if t.waiting != nil {
		t.waiting.err = t.stopped
		close(t.waiting.done)
		t.waiting = nil
	}
	t.log.Error("the audit trail cannot be written: no request is served until it can", "dir", t.c.Dir, "error", err)
}

// resume tries to go on after a failure: it cuts the file to what was acknowledged and writes a
// record that tells of the gap. Until that is synced nothing else is written.
func (t *Trail) resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped == nil || t.closed {
		return
	}
	if err := t.tryResume(); err != nil {
		t.segment.abandon()
		t.log.Debug("the audit trail still cannot be written", "error", err)
		return
	}
	t.log.Info("the audit trail is written again", "dir", t.c.Dir, "refused", t.refused, "withheld", t.lost)
	t.stopped, t.refused, t.lost = nil, 0, 0
	t.down.Store(false)
}

func (t *Trail) tryResume() error {
	if t.segment.name != "" {
		// A file that was begun for what failed is empty.
		size := int64(0)
		if t.segment.name == t.good.file {
			size = t.good.size
		}
		if err := t.segment.reopen(t.segment.name, t.segment.opened, size); err != nil {
			return err
		}
	}
	spans, head, durable := slices.Clone(t.spans), t.head, t.durable
	event := t.ownEvent(eventResume, details{
		{"stoppedAt", t.since.UTC().Format(time.RFC3339)}, {"reason", t.stopped.Error()},
		{"refused", t.refused}, {"withheld", t.lost},
	})
	err := t.writeNow(event)
	if err == nil {
		err = t.segment.sync()
	}
	if err != nil {
		t.spans, t.head, t.durable = spans, head, durable
		return err
	}
	t.acknowledge()
	return nil
}

// runSyncer makes what Async wrote durable at an interval.
func (t *Trail) runSyncer() {
	ticker := time.NewTicker(t.c.SyncInterval)
	defer ticker.Stop()
	for {
		select {
		case <-t.quit:
			return
		case <-ticker.C:
			t.syncAsync()
		}
	}
}

// syncAsync syncs outside the lock, so that writing goes on. The writer hears of a failure.
func (t *Trail) syncAsync() {
	t.mu.Lock()
	full, current := t.full, t.current
	t.full, t.current = nil, nil
	t.mu.Unlock()
	err := syncRetired(full)
	if err == nil && current != nil {
		err = current.Sync()
	}
	// A file that was closed meanwhile was given up after a failure, or is full and will be synced as such.
	if err == nil || errors.Is(err, os.ErrClosed) {
		return
	}
	t.mu.Lock()
	t.syncFail = err
	t.mu.Unlock()
	t.wake()
}
