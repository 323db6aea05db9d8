package ops

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

// wantMaterials wants a key to have so many materials, the last of them current and made by a
// rotation of this type at this time.
func (h *harness) wantMaterials(keyID string, n int, why kms.RotationType, at time.Time) {
	h.t.Helper()
	all := h.allMaterial(keyID)
	if len(all) != n {
		h.t.Fatalf("the key has %d materials, want %d", len(all), n)
	}
	last := all[n-1]
	if last.RotationType != why || last.RotationDate != kms.TimestampOf(at) || last.KeyMaterialState != kms.KeyMaterialStateCurrent {
		h.t.Errorf("the last material is %+v, want one of %s at %s", last, why, at)
	}
	if current := h.describe(keyID).CurrentKeyMaterialId; current != last.KeyMaterialId {
		h.t.Errorf("DescribeKey says %s is current, the list %s", current, last.KeyMaterialId)
	}
}

// TestAutomaticRotation follows a key over some years with a stop and a disabled spell.
func TestAutomaticRotation(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	const period = 100 * day
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 100})
	blobs := []sealed{h.seal(key.KeyId, "first")}

	h.clock.Advance(period - time.Millisecond)
	h.runDue(0)
	now := h.clock.Advance(time.Millisecond)
	h.runDue(1)
	h.runDue(0)
	h.wantMaterials(key.KeyId, 2, kms.RotationTypeAutomatic, now)
	h.wantRotation(key.KeyId, 100, now.Add(period))
	blobs = append(blobs, h.seal(key.KeyId, "second"))

	// No server runs over three dates: one rotation, and a period from then.
	now = h.clock.Advance(3*period + day)
	h.restart()
	h.runDue(1)
	h.runDue(0)
	h.wantMaterials(key.KeyId, 3, kms.RotationTypeAutomatic, now)
	h.wantRotation(key.KeyId, 100, now.Add(period))
	blobs = append(blobs, h.seal(key.KeyId, "third"))

	// A disabled key rests and keeps its date; enabling it in time changes nothing.
	next := now.Add(period)
	h.must("DisableKey", in{"KeyId": key.KeyId})
	h.wantRotation(key.KeyId, 100, next)
	h.clock.Advance(day)
	h.must("EnableKey", in{"KeyId": key.KeyId})
	h.wantRotation(key.KeyId, 100, next)
	h.must("DisableKey", in{"KeyId": key.KeyId})
	h.clock.Advance(2 * period)
	h.restart()
	h.runDue(0)
	h.wantRotation(key.KeyId, 100, next)
	h.must("EnableKey", in{"KeyId": key.KeyId})
	h.runDue(1)
	h.wantMaterials(key.KeyId, 4, kms.RotationTypeAutomatic, h.clock.Now())
	h.wantRotation(key.KeyId, 100, h.clock.Now().Add(period))
	blobs = append(blobs, h.seal(key.KeyId, "fourth"))

	// Pending deletion: the status shows false, nothing rotates, cancelling restores the schedule.
	next = h.clock.Now().Add(period)
	h.clock.Advance(period - day)
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 30})
	h.wantRotation(key.KeyId, 0, time.Time{})
	h.clock.Advance(20 * day)
	h.runDue(0)
	h.must("CancelKeyDeletion", in{"KeyId": key.KeyId})
	h.wantRotation(key.KeyId, 100, next)
	h.runDue(0) // it is disabled
	h.must("EnableKey", in{"KeyId": key.KeyId})
	h.runDue(1)
	h.wantMaterials(key.KeyId, 5, kms.RotationTypeAutomatic, h.clock.Now())
	blobs = append(blobs, h.seal(key.KeyId, "fifth"))

	h.must("DisableKeyRotation", in{"KeyId": key.KeyId})
	h.clock.Advance(10 * period)
	h.runDue(0)
	h.restart()
	for _, blob := range blobs {
		h.wantOpen(blob)
	}
}

// TestDeletionOfRotatingKey: a deleted key leaves no date behind.
func TestDeletionOfRotatingKey(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	h.clock.Advance(365 * day)
	h.runDue(1)
	h.wantNoKey(key.KeyId)
	h.runDue(0)
}

// TestRotationOnTwoNodes lets services over one store do the same rotations at once, while
// encryption goes on.
func TestRotationOnTwoNodes(t *testing.T) {
	h := newHarness(t)
	const keys, rounds, period = 12, 3, 90 * day
	var ids []string
	for range keys {
		key := h.createKey(nil)
		h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
		ids = append(ids, key.KeyId)
	}
	services := []*Service{h.service, h.newService(), h.newService()}
	for round := range rounds {
		now := h.clock.Advance(period)
		var wait sync.WaitGroup
		for _, service := range services {
			wait.Go(func() {
				if _, err := service.RunDue(t.Context(), now); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		for _, id := range ids {
			h.wantMaterials(id, round+2, kms.RotationTypeAutomatic, now)
		}
		h.runDue(0)
	}
}

// TestStaleRotationEntry: an entry that no record calls for is dropped and rotates nothing.
func TestStaleRotationEntry(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	ids, err := h.store.ScanDue(t.Context(), h.clock.Now().Add(90*day), "", 2)
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	entry, err := h.store.Due(t.Context(), ids[0])
	if err != nil {
		t.Fatal(err)
	}
	h.clock.Advance(90 * day)
	h.runDue(1)
	for range 2 { // a node that was slow, then one that was slower
		if err := h.service.rotateDueKey(t.Context(), entry, h.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	h.wantMaterials(key.KeyId, 2, kms.RotationTypeAutomatic, h.clock.Now())
	h.wantRotation(key.KeyId, 90, h.clock.Now().Add(90*day))
}

// TestEnableKeyWakesScheduler: a rotation that was due while its key was disabled does not wait
// for the scheduler's next round.
func TestEnableKeyWakesScheduler(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	h.must("DisableKey", in{"KeyId": key.KeyId})
	h.clock.Advance(100 * day)
	if len(h.service.overdue) != 0 {
		t.Error("the scheduler was woken for nothing")
	}
	h.must("EnableKey", in{"KeyId": key.KeyId})
	if len(h.service.overdue) != 1 {
		t.Fatal("the scheduler was not woken")
	}
	h.must("EnableKey", in{"KeyId": key.KeyId}) // does not wait although nobody heeds the first call
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		h.service.Run(ctx)
	}()
	for len(h.service.overdue) != 0 || len(h.allMaterial(key.KeyId)) < 2 {
		time.Sleep(time.Millisecond) // only the test's own time limit ends the waiting
	}
	stop()
	<-stopped
	h.wantMaterials(key.KeyId, 2, kms.RotationTypeAutomatic, h.clock.Now())
}

// TestUseWhileRotating encrypts and decrypts with a key that is rotated on demand and by date at
// the same time: nothing fails, and every ciphertext says truly which material made it.
func TestUseWhileRotating(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	stop := make(chan struct{})
	var users sync.WaitGroup
	blobs := make([][]sealed, 4)
	for user := range blobs {
		users.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				got, err := h.invoke("GenerateDataKey", kms.GenerateDataKeyRequest{KeyId: key.KeyId, KeySpec: kms.DataKeySpecAes256})
				if err != nil {
					t.Errorf("user %d, call %d: %v", user, i, err)
					return
				}
				made := got.(*kms.GenerateDataKeyResponse)
				blob := sealed{string(made.Plaintext), made.CiphertextBlob, made.KeyMaterialId}
				blobs[user] = append(blobs[user], blob)
				got, err = h.invoke("Decrypt", kms.DecryptRequest{CiphertextBlob: blob.blob})
				if err != nil {
					t.Errorf("user %d, call %d: %v", user, i, err)
					return
				}
				if opened := got.(*kms.DecryptResponse); opened.KeyMaterialId != blob.material || string(opened.Plaintext) != blob.plaintext {
					t.Errorf("user %d, call %d: opened with another material or to something else", user, i)
				}
			}
		})
	}
	for range 5 {
		h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
		h.clock.Advance(90 * day)
		h.runDue(1)
	}
	close(stop)
	users.Wait()
	if n := len(h.allMaterial(key.KeyId)); n != 11 {
		t.Errorf("the key has %d materials, want 11", n)
	}
	h.restart()
	used := map[string]bool{}
	for _, all := range blobs {
		for _, blob := range all {
			if !used[blob.material] {
				used[blob.material] = true
				got := h.must("Decrypt", in{"CiphertextBlob": blob.blob}).(*kms.DecryptResponse)
				if string(got.Plaintext) != blob.plaintext {
					t.Error("a data key changed")
				}
			}
		}
	}
}
