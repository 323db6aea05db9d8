package ops

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func (h *harness) revision() uint64 {
	h.t.Helper()
	header, err := h.store.Header(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return header.Revision
}

// TestLastUsageIsKept: uses are written in a transaction of their own, not by their requests, and
// outlive the process from then on.
func TestLastUsageIsKept(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	before := h.revision()
	h.encryptAt(time.Second, key.KeyId)
	written := h.encryptAt(time.Second, key.KeyId)
	if h.revision() != before {
		t.Error("Encrypt wrote to the store")
	}
	h.writeLastUses()
	if h.revision() != before+1 || h.service.lastUses.entries.Load() != 0 {
		t.Errorf("%d transactions, %d entries left", h.revision()-before, h.service.lastUses.entries.Load())
	}
	h.wantLastUse(key.KeyId, "Encrypt", written)
	h.writeLastUses()
	if h.revision() != before+1 {
		t.Error("it was written again")
	}
	h.restart()
	h.wantLastUse(key.KeyId, "Encrypt", written)

	// A crash loses what was not written.
	h.wantLastUse(key.KeyId, "Encrypt", written)
	now := h.encryptAt(time.Second, key.KeyId)
	h.wantLastUse(key.KeyId, "Encrypt", now)
	h.restart()
	h.wantLastUse(key.KeyId, "Encrypt", written)
}

// TestLastUsageOfTwoNodes: whoever writes last, the last use stays.
func TestLastUsageOfTwoNodes(t *testing.T) {
	h := newHarness(t)
	other := h.node()
	key := h.createKey(nil)
	first := h.encryptAt(time.Second, key.KeyId)
	second := other.encryptAt(time.Second, key.KeyId)
	h.wantLastUse(key.KeyId, "Encrypt", first) // it cannot know yet
	other.writeLastUses()
	h.wantLastUse(key.KeyId, "Encrypt", second)
	h.writeLastUses()
	for _, node := range []*harness{h, other} {
		node.wantLastUse(key.KeyId, "Encrypt", second)
	}
	h.restart()
	h.wantLastUse(key.KeyId, "Encrypt", second)
}

// TestLastUsageStoreFails: what cannot be written stays in memory, and a record that was tampered
// with hinders no other.
func TestLastUsageStoreFails(t *testing.T) {
	h := newHarness(t)
	bad, good := h.createKey(nil), h.createKey(nil)
	h.encryptAt(time.Second, bad.KeyId)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.service.WriteLastUses(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("without a store: %v", err)
	}
	h.writeLastUses()

	place := []byte("aws/" + account + "/" + testRegion + "/last-usage/" + bad.KeyId)
	err := h.engine.Update(t.Context(), func(tx keystore.EngineTx) error {
		raw, err := tx.Get(place)
		if err != nil {
			return err
		}
		return tx.Put(place, bytes.Replace(raw, []byte("Encrypt"), []byte("Decrypt"), 1))
	})
	if err != nil {
		t.Fatal(err)
	}
	h.restart()
	h.encryptAt(time.Second, bad.KeyId)
	now := h.encryptAt(time.Second, good.KeyId)
	err = h.service.WriteLastUses(t.Context())
	if !errors.Is(err, keystore.ErrTampered) || !strings.Contains(err.Error(), bad.KeyId) || strings.Contains(err.Error(), good.KeyId) {
		t.Errorf("a record that was tampered with: %v", err)
	}
	if n := h.service.lastUses.entries.Load(); n != 1 {
		t.Errorf("%d entries are left", n)
	}
	h.restart()
	h.wantLastUse(good.KeyId, "Encrypt", now)
	if _, err := h.invoke("GetKeyLastUsage", in{"KeyId": bad.KeyId}); kms.AsError(err).Code != kms.KMSInternalException {
		t.Errorf("a record that was tampered with is told: %v", err)
	}
}

// TestLastUsageOfRun: Run writes when there are many, and when it ends.
func TestLastUsageOfRun(t *testing.T) {
	h := newHarness(t)
	key, last := h.createKey(nil), h.createKey(nil)
	now := h.encryptAt(time.Second, key.KeyId)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		h.service.Run(ctx)
	}()
	h.service.lastUses.crowded <- struct{}{}
	for h.service.lastUses.entries.Load() > 0 {
		time.Sleep(time.Millisecond) // only the test's own time limit ends the waiting
	}
	h.encryptAt(0, last.KeyId)
	stop()
	<-stopped
	h.restart()
	h.wantLastUse(key.KeyId, "Encrypt", now)
	h.wantLastUse(last.KeyId, "Encrypt", now)
}

// TestLastUsageConcurrently: two nodes use and write at once, and the time never goes back.
func TestLastUsageConcurrently(t *testing.T) {
	h := newHarness(t)
	keys := []*kms.KeyMetadata{h.createKey(nil), h.createKey(nil)}
	nodes := []*harness{h, h.node()}
	var wait sync.WaitGroup
	for _, node := range nodes {
		for _, key := range keys {
			wait.Go(func() {
				var seen time.Time
				for range 40 {
					h.clock.Advance(time.Millisecond)
					if err := node.use("Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")}); err != nil {
						t.Error(err)
						return
					}
					out, err := node.invoke("GetKeyLastUsage", in{"KeyId": key.KeyId})
					if err != nil {
						t.Error(err)
						return
					}
					used := out.(*kms.GetKeyLastUsageResponse).KeyLastUsage
					if used == nil || used.Timestamp.Before(seen) {
						t.Errorf("after %s comes %+v", seen, used)
						return
					}
					seen = used.Timestamp.Time
				}
			})
		}
		wait.Go(func() {
			for range 10 {
				if err := node.service.WriteLastUses(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for _, key := range keys {
		now := nodes[1].encryptAt(time.Millisecond, key.KeyId)
		nodes[1].writeLastUses()
		nodes[0].writeLastUses()
		nodes[0].wantLastUse(key.KeyId, "Encrypt", now)
	}
	if a, b := nodes[0].service.lastUses.entries.Load(), nodes[1].service.lastUses.entries.Load(); a != 0 || b != 0 {
		t.Errorf("%d and %d entries are left", a, b)
	}
}

// BenchmarkWriteLastUses is the writing of a batch of keys that were written before.
func BenchmarkWriteLastUses(b *testing.B) {
	h := newHarness(b)
	key := h.createKey(nil)
	var ids []keystore.KeyID
	for i := range lastUsesBatch {
		id := keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: kms.FormatUUID([16]byte{15: byte(i)})}
		h.copyKey(key.KeyId, id.ID)
		ids = append(ids, id)
	}
	for b.Loop() {
		at := h.clock.Advance(time.Second)
		for _, id := range ids {
			h.service.lastUses.note(id, lastUse{operation: "Sign", at: at, requestID: requestID})
		}
		h.writeLastUses()
	}
}

// copyKey writes the record of a key like another.
func (h *harness) copyKey(from, to string) {
	h.t.Helper()
	id := keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: from}
	err := h.store.Update(h.t.Context(), func(tx *keystore.Tx) error {
		record, err := tx.Key(id)
		if err != nil {
			return err
		}
		record = record.Clone()
		record.ID = to
		return tx.CreateKey(record)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}
