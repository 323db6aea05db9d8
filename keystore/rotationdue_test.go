package keystore_test

import (
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// rotating is a key whose next rotation is at a time.
func rotating(id string, next time.Time) *keystore.KeyRecord {
	r := newKey(id)
	r.Rotation = &keystore.Rotation{Enabled: true, PeriodInDays: 90, Next: next}
	return r
}

// TestRotationIsDue: a key calls for a rotation at its date while it is enabled.
func TestRotationIsDue(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	want := func(change func(*keystore.KeyRecord), keys ...string) {
		t.Helper()
		r := rotating("k", when)
		change(r)
		putKey(t, s, r)
		wantDue(t, s, when.Add(-1))
		wantDue(t, s, when, keys...)
		if due := len(keys) > 0; r.DueBy(when) != due || r.DueBy(when.Add(-1)) {
			t.Errorf("the record says that it is due: %t, %t", r.DueBy(when), r.DueBy(when.Add(-1)))
		}
	}
	want(func(*keystore.KeyRecord) {}, "us-east-1 k")
	for _, state := range []kms.KeyState{kms.KeyStateDisabled, kms.KeyStatePendingDeletion, kms.KeyStatePendingReplicaDeletion,
		kms.KeyStatePendingImport, kms.KeyStateCreating, kms.KeyStateUpdating} {
		want(func(r *keystore.KeyRecord) { r.State = state })
		want(func(*keystore.KeyRecord) {}, "us-east-1 k")
	}
	want(func(r *keystore.KeyRecord) { r.Rotation.Enabled = false })
	want(func(r *keystore.KeyRecord) { r.Rotation.Next = time.Time{} })
	want(func(r *keystore.KeyRecord) { r.Rotation = nil })
	multi := func(kind kms.MultiRegionKeyType) func(*keystore.KeyRecord) {
		return func(r *keystore.KeyRecord) {
			r.MultiRegion = &keystore.MultiRegion{Type: kind, PrimaryRegion: "us-east-1"}
		}
	}
	want(multi(kms.MultiRegionKeyTypeReplica))
	want(multi(kms.MultiRegionKeyTypePrimary), "us-east-1 k")

	// A date that moves leaves nothing at the old one; deletion takes the place of rotation.
	putKey(t, s, rotating("k", when.Add(time.Hour)))
	wantDue(t, s, when)
	wantDue(t, s, when.Add(time.Hour), "us-east-1 k")
	r := doomed("k", when.Add(time.Second))
	r.Rotation = &keystore.Rotation{Enabled: true, PeriodInDays: 90, Next: when}
	putKey(t, s, r)
	wantDue(t, s, when)
	wantDue(t, s, when.Add(time.Hour), "us-east-1 k")
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("k").KeyID()) })
	wantDue(t, s, when.Add(time.Hour))
}
