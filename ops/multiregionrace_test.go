package ops

import (
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/kms11/kms11/kms"
)

// TestReplicateKeyOnce: of several requests for one replica, to several nodes, one makes it.
func TestReplicateKeyOnce(t *testing.T) {
	h := newHarness(t)
	key := h.multiKey(nil)
	other := *h
	other.service = h.newService()
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		made int
	)
	for i := range 8 {
		node, region := []*harness{h, &other}[i%2], []string{ireland, oregon}[i/4]
		wait.Go(func() {
			_, err := node.at(testRegion).try("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": region})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
				return
			}
			wantError(t, err, kms.AlreadyExistsException, "Key '"+h.at(region).arn(key.KeyId)+"' already exists")
		})
	}
	wait.Wait()
	if made != 2 {
		t.Errorf("%d requests made 2 replicas", made)
	}
	replicas := h.at(testRegion).record(key.KeyId).MultiRegion.ReplicaRegions
	if len(replicas) != 2 || !slices.Contains(replicas, ireland) || !slices.Contains(replicas, oregon) {
		t.Fatalf("the replicas are in %v", replicas)
	}
	h.wantPlaces(key.KeyId, testRegion, replicas...)
}

// TestRelatedKeysAgree: whatever is done to related keys at once, they agree afterwards and one of
// them is the primary key.
func TestRelatedKeysAgree(t *testing.T) {
	h := newHarness(t)
	regions := []string{testRegion, ireland, oregon}
	key := h.multiKey(nil, ireland)
	blob := h.at(testRegion).encrypt(key.KeyId, "before")
	expected := []kms.ErrorCode{kms.UnsupportedOperationException, kms.AlreadyExistsException, kms.NotFoundException}
	var wait sync.WaitGroup
	for _, region := range regions {
		for _, c := range []struct {
			op string
			in func(round int) in
		}{
			{"UpdatePrimaryRegion", func(round int) in { return in{"PrimaryRegion": regions[round%3]} }},
			{"ReplicateKey", func(round int) in { return in{"ReplicaRegion": regions[round%3]} }},
			{"RotateKeyOnDemand", func(int) in { return in{} }},
			{"UpdateKeyDescription", func(int) in { return in{"Description": region} }},
			{"EnableKeyRotation", func(round int) in { return in{"RotationPeriodInDays": 90 + round} }},
		} {
			wait.Go(func() {
				for round := range 6 {
					request := c.in(round)
					request["KeyId"] = key.KeyId
					if _, err := h.at(region).try(c.op, request); err != nil && !slices.Contains(expected, kms.AsError(err).Code) {
						t.Errorf("%s in %s: %v", c.op, region, err)
					}
				}
			})
		}
	}
	wait.Wait()

	first := h.at(testRegion).record(key.KeyId)
	primary := first.MultiRegion.PrimaryRegion
	h.wantPlaces(key.KeyId, primary, first.MultiRegion.ReplicaRegions...)
	for _, region := range append([]string{primary}, first.MultiRegion.ReplicaRegions...) {
		here := h.at(region)
		record := here.record(key.KeyId)
		if record.Current != first.Current || len(record.Materials) != len(first.Materials) || !reflect.DeepEqual(record.Rotation, first.Rotation) {
			t.Errorf("in %s there is material %d of %d, in %s %d of %d", region, record.Current, len(record.Materials),
				testRegion, first.Current, len(first.Materials))
		}
		if record.Description != "" && record.Description != region {
			t.Errorf("the key in %s has the description %q", region, record.Description)
		}
		here.wantOpens(key.KeyId, blob, "before")
	}
	newest := h.at(primary).encrypt(key.KeyId, "after")
	for _, region := range first.MultiRegion.ReplicaRegions {
		h.at(region).wantOpens(key.KeyId, newest, "after")
	}
}
