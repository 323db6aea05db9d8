package ops

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// TestRunDueOnTwoNodes lets two services over one store delete the same keys at once, while a
// third party cancels some deletions.
func TestRunDueOnTwoNodes(t *testing.T) {
	h := newHarness(t)
	const keys = 30
	var ids []string
	for range keys {
		key := h.createKey(nil)
		h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
		ids = append(ids, key.KeyId)
	}
	now := h.clock.Advance(7 * day)
	cancelled := make([]bool, keys)
	var wait sync.WaitGroup
	for _, service := range []*Service{h.service, h.newService()} {
		wait.Go(func() {
			if _, err := service.RunDue(t.Context(), now); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Go(func() {
		for i := range keys {
			_, err := h.invoke("CancelKeyDeletion", in{"KeyId": ids[keys-1-i]})
			cancelled[keys-1-i] = err == nil
		}
	})
	wait.Wait()
	for i, id := range ids {
		if cancelled[i] {
			if m := h.describe(id); m.KeyState != kms.KeyStateDisabled {
				t.Errorf("a cancelled deletion left the key %s", m.KeyState)
			}
		} else {
			h.wantNoKey(id)
		}
	}
	h.runDue(0)
}

// TestRunDueGoesOn: an entry that fails hinders no other and stays.
func TestRunDueGoesOn(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	unknown := &keystore.DueRecord{Due: h.clock.Now(), Action: "dance", Partition: "aws", Account: account, Region: testRegion, KeyID: key.KeyId}
	if err := h.store.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutDue(unknown) }); err != nil {
		t.Fatal(err)
	}
	now := h.clock.Advance(7 * day)
	for want := 1; want >= 0; want-- {
		done, err := h.service.RunDue(t.Context(), now)
		if done != want || err == nil || !strings.Contains(err.Error(), `unknown action "dance"`) {
			t.Errorf("%d entries were dealt with, want %d, and the error is %v", done, want, err)
		}
	}
	h.wantNoKey(key.KeyId)
}

// TestStaleEntry: an entry is no order. One that the key's record does not call for is dropped.
func TestStaleEntry(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	for _, keyID := range []string{key.KeyId, ghostKey} {
		entry := &keystore.DueRecord{Due: h.clock.Now(), Action: keystore.DueDeleteKey, Partition: "aws", Account: account, Region: testRegion, KeyID: keyID}
		if err := h.store.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutDue(entry) }); err != nil {
			t.Fatal(err)
		}
	}
	h.runDue(2)
	h.describe(key.KeyId)
	h.runDue(0)
}

// TestRunDueInBatches has more entries than are listed at a time.
func TestRunDueInBatches(t *testing.T) {
	h := newHarness(t)
	const n = 2*dueBatch + 1
	err := h.store.Update(t.Context(), func(tx *keystore.Tx) error {
		for i := range n {
			entry := &keystore.DueRecord{Due: h.clock.Now().Add(time.Duration(i)), Action: keystore.DueDeleteKey,
				Partition: "aws", Account: account, Region: testRegion, KeyID: ghostKey}
			if err := tx.PutDue(entry); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h.clock.Advance(n)
	h.runDue(n)
}

// TestRun: the scheduler does what is due when it starts, wakes for the next date, logs what fails
// and ends with its context.
func TestRun(t *testing.T) {
	h := newHarness(t)
	first, second := h.createKey(nil), h.createKey(nil)
	h.must("ScheduleKeyDeletion", in{"KeyId": first.KeyId, "PendingWindowInDays": 7})
	h.clock.Advance(time.Second)
	h.must("ScheduleKeyDeletion", in{"KeyId": second.KeyId, "PendingWindowInDays": 7})
	unknown := &keystore.DueRecord{Due: h.clock.Now(), Action: "dance", Partition: "aws", Account: account, Region: testRegion, KeyID: first.KeyId}
	if err := h.store.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutDue(unknown) }); err != nil {
		t.Fatal(err)
	}

	// A clock that runs: it begins at the first date, one second before the second.
	start, begin := h.clock.Advance(7*day-time.Second), time.Now()
	var log bytes.Buffer
	service := New(Config{Store: h.store, Domain: h.domain, Account: account, Region: testRegion,
		Now:    func() time.Time { return start.Add(time.Since(begin)) },
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		service.Run(ctx)
	}()
	for _, key := range []string{first.KeyId, second.KeyId} {
		for {
			if _, err := h.invoke("DescribeKey", in{"KeyId": key}); err != nil {
				break // only the test's own time limit ends the waiting for a date
			}
			time.Sleep(time.Millisecond)
		}
		h.wantNoKey(key)
	}
	if service.now().Before(start.Add(time.Second)) {
		t.Error("the second key was deleted before its date")
	}
	stop()
	<-stopped
	if !strings.Contains(log.String(), "dance") {
		t.Errorf("the log says nothing of what failed: %s", log.String())
	}
}

func TestSleep(t *testing.T) {
	h := newHarness(t)
	for range 100 {
		if wait := h.service.sleep(t.Context(), h.clock.Now()); wait <= longestSleep-jitter-1 || wait > longestSleep {
			t.Fatalf("with nothing to do it sleeps %s", wait)
		}
	}
	key := h.createKey(nil)
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	if wait := h.service.sleep(t.Context(), h.clock.Now()); wait < longestSleep-jitter {
		t.Errorf("a week before the next date it sleeps %s", wait)
	}
	tried := h.clock.Advance(7*day - 3*time.Second)
	if wait := h.service.sleep(t.Context(), tried); wait != 3*time.Second {
		t.Errorf("three seconds before the next date it sleeps %s", wait)
	}
	h.clock.Advance(4 * time.Second)
	if wait := h.service.sleep(t.Context(), tried); wait != 0 {
		t.Errorf("when the next date has passed meanwhile it sleeps %s", wait)
	}
	// What was tried and failed is not the next: it must not keep the scheduler awake.
	if wait := h.service.sleep(t.Context(), h.clock.Now()); wait < longestSleep-jitter {
		t.Errorf("with nothing but a failed entry it sleeps %s", wait)
	}
}
