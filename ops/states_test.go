package ops

import (
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func setSpec(spec kms.KeySpec, usage kms.KeyUsageType) func(*keystore.KeyRecord) {
	return func(r *keystore.KeyRecord) { r.Spec, r.Usage = spec, usage }
}

// setState writes a state with what belongs to it.
func setState(state kms.KeyState, now time.Time) func(*keystore.KeyRecord) {
	return func(r *keystore.KeyRecord) {
		r.State, r.DeletionDate, r.PendingWindowInDays = state, time.Time{}, 0
		switch state {
		case kms.KeyStatePendingDeletion:
			r.DeletionDate, r.PendingWindowInDays = now.Add(7*24*time.Hour), 7
		case kms.KeyStatePendingReplicaDeletion:
			r.PendingWindowInDays = 7
		}
	}
}

// TestStates takes the management of a key through every state that a record can have. Unavailable
// is the state of a custom key store and never in a record.
func TestStates(t *testing.T) {
	h := newHarness(t)
	key, other := h.createKey(nil), h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/here", "TargetKeyId": key.KeyId})
	const (
		deletion   = "is pending deletion."
		replicas   = "is pending replica deletion."
		notPending = "is not pending deletion."
		updating   = "is updating."
	)
	states := []kms.KeyState{
		kms.KeyStateEnabled, kms.KeyStateDisabled, kms.KeyStatePendingDeletion, kms.KeyStatePendingReplicaDeletion,
		kms.KeyStatePendingImport, kms.KeyStateCreating, kms.KeyStateUpdating,
	}
	never := map[kms.KeyState]string{}
	pending := map[kms.KeyState]string{kms.KeyStatePendingDeletion: deletion, kms.KeyStatePendingReplicaDeletion: replicas}
	for _, c := range []struct {
		op      string
		in      in
		refused map[kms.KeyState]string // KMSInvalidStateException, by state
	}{
		{"ListAliases", in{"KeyId": key.KeyId}, never},
		{"ListResourceTags", in{"KeyId": key.KeyId}, never},
		{"GetKeyPolicy", in{"KeyId": key.KeyId}, never},
		{"ListKeyPolicies", in{"KeyId": key.KeyId}, never},
		{"PutKeyPolicy", in{"KeyId": key.KeyId, "Policy": statement(everybody)}, never},
		{"DescribeKey", in{"KeyId": "alias/here"}, never},
		{"CreateAlias", in{"AliasName": "alias/new", "TargetKeyId": key.KeyId}, pending},
		{"UpdateAlias", in{"AliasName": "alias/there", "TargetKeyId": key.KeyId}, pending},
		{"UpdateAlias", in{"AliasName": "alias/here", "TargetKeyId": other.KeyId}, never},
		{"DeleteAlias", in{"AliasName": "alias/here"}, never},
		{"TagResource", in{"KeyId": key.KeyId, "Tags": tag("a=b")}, pending},
		{"UntagResource", in{"KeyId": key.KeyId, "TagKeys": []string{"a"}}, pending},
		{"UpdateKeyDescription", in{"KeyId": key.KeyId, "Description": "d"}, pending},
		{"ScheduleKeyDeletion", in{"KeyId": key.KeyId}, map[kms.KeyState]string{
			kms.KeyStatePendingDeletion: deletion, kms.KeyStatePendingReplicaDeletion: replicas, kms.KeyStateUpdating: updating}},
		{"CancelKeyDeletion", in{"KeyId": key.KeyId}, map[kms.KeyState]string{
			kms.KeyStateEnabled: notPending, kms.KeyStateDisabled: notPending, kms.KeyStatePendingImport: notPending,
			kms.KeyStateCreating: notPending, kms.KeyStateUpdating: notPending}},
	} {
		for _, state := range states {
			t.Run(c.op+" "+string(state), func(t *testing.T) {
				h.editRecord(key.KeyId, setState(kms.KeyStateEnabled, h.clock.Now()))
				for alias, target := range map[string]string{"alias/here": key.KeyId, "alias/there": other.KeyId} {
					_, _ = h.invoke("DeleteAlias", in{"AliasName": alias})
					h.must("CreateAlias", in{"AliasName": alias, "TargetKeyId": target})
				}
				_, _ = h.invoke("DeleteAlias", in{"AliasName": "alias/new"})
				h.editRecord(key.KeyId, setState(state, h.clock.Now()))
				_, err := h.invoke(c.op, c.in)
				if text, refused := c.refused[state]; refused {
					wantError(t, err, kms.KMSInvalidStateException, key.Arn+" "+text)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
	}
}
