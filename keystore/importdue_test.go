package keystore_test

import (
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// TestExpiryIsDue: a key calls for the end of its imported material at the earliest ValidTo of what
// is there, in every state.
func TestExpiryIsDue(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	imported := func(ordinal uint32, validTo time.Time, blob ...byte) keystore.KeyMaterial {
		return keystore.KeyMaterial{
			Material: kms.Material{ID: "ab", Ordinal: ordinal, Created: when, Blob: blob},
			ValidTo:  validTo, ExpirationModel: kms.ExpirationModelTypeKeyMaterialExpires,
		}
	}
	never := imported(1, time.Time{}, 1)
	put := func(state kms.KeyState, materials ...keystore.KeyMaterial) {
		t.Helper()
		r := newKey("k")
		r.State, r.Materials, r.Current = state, materials, 1
		putKey(t, s, r)
	}
	for _, state := range []kms.KeyState{kms.KeyStateEnabled, kms.KeyStateDisabled, kms.KeyStatePendingDeletion, kms.KeyStatePendingReplicaDeletion,
		kms.KeyStatePendingImport, kms.KeyStateUpdating} {
		put(state, never, imported(2, when.Add(time.Hour), 1), imported(3, when, 1), imported(4, when.Add(-time.Hour)))
		wantDue(t, s, when.Add(-1))
		wantDue(t, s, when.Add(2*time.Hour), "us-east-1 k")
		put(state, never, imported(2, when.Add(time.Hour), 1))
		wantDue(t, s, when)
		wantDue(t, s, when.Add(time.Hour), "us-east-1 k")
		put(state, never)
		wantDue(t, s, when.Add(2*time.Hour))
	}
	r := newKey("k")
	r.Materials, r.Current = []keystore.KeyMaterial{{Material: kms.Material{ID: "ab", Ordinal: 1, Created: when, ObjectID: []byte{1}}, ValidTo: when}}, 1
	putKey(t, s, r)
	wantDue(t, s, when, "us-east-1 k") // what lives in the token expires as well
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(r.KeyID()) })
	wantDue(t, s, when.Add(2*time.Hour))
}
