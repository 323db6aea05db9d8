package ops

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// TestRotateKeyOnDemand uses up the 25 rotations of a key. One ciphertext of each generation opens
// after a restart.
func TestRotateKeyOnDemand(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId})
	next := h.clock.Now().Add(365 * day)
	blobs := []sealed{h.seal(key.KeyId, "generation 0")}
	seen := map[string]bool{key.CurrentKeyMaterialId: true}
	for i := 1; i <= 25; i++ {
		now := h.clock.Advance(time.Hour)
		got := h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId}).(*kms.RotateKeyOnDemandResponse)
		if got.KeyId != key.Arn {
			t.Errorf("the answer names %s", got.KeyId)
		}
		h.wantMaterials(key.KeyId, i+1, kms.RotationTypeOnDemand, now)
		blob := h.seal(key.KeyId, fmt.Sprintf("generation %d", i))
		if seen[blob.material] {
			t.Fatalf("generation %d has the material of an earlier one", i)
		}
		seen[blob.material] = true
		blobs = append(blobs, blob)
	}
	h.wantRotation(key.KeyId, 365, next) // it has not moved

	h.restart()
	limit := "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: " + key.Arn
	for range 2 {
		_, err := h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
		wantError(t, err, kms.LimitExceededException, limit)
	}
	for _, blob := range blobs {
		h.wantOpen(blob)
	}
	// Neither a new schedule nor an automatic rotation gives any back, and the latter still works.
	h.must("DisableKeyRotation", in{"KeyId": key.KeyId})
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	now := h.clock.Advance(90 * day)
	h.runDue(1)
	h.wantMaterials(key.KeyId, 27, kms.RotationTypeAutomatic, now)
	_, err := h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantError(t, err, kms.LimitExceededException, limit)
	h.wantOpen(blobs[0])
	reencrypted := h.must("ReEncrypt", in{"CiphertextBlob": blobs[0].blob, "DestinationKeyId": key.KeyId}).(*kms.ReEncryptResponse)
	if current := h.describe(key.KeyId).CurrentKeyMaterialId; reencrypted.SourceKeyMaterialId != blobs[0].material || reencrypted.DestinationKeyMaterialId != current {
		t.Errorf("ReEncrypt went from %s to %s", reencrypted.SourceKeyMaterialId, reencrypted.DestinationKeyMaterialId)
	}
}

// TestRotateKeyOnDemandAtOnce: of requests that come together just as many succeed as are left.
func TestRotateKeyOnDemandAtOnce(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) { rotationOf(r).OnDemand = 20 })
	var mu sync.Mutex
	var wait sync.WaitGroup
	outcomes := map[kms.ErrorCode]int{}
	for range 12 {
		wait.Go(func() {
			_, err := h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				outcomes["ok"]++
			} else {
				outcomes[kms.AsError(err).Code]++
			}
		})
	}
	wait.Wait()
	if outcomes["ok"] != 5 || outcomes[kms.LimitExceededException] != 7 {
		t.Errorf("outcomes %v, want 5 rotations and 7 refusals", outcomes)
	}
	if n := len(h.allMaterial(key.KeyId)); n != 6 {
		t.Errorf("the key has %d materials, want 6", n)
	}
}

// TestRotationConflict: no rotation on demand within 20 minutes of an automatic one (API
// reference, ConflictException).
func TestRotationConflict(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	conflict := func() {
		t.Helper()
		_, err := h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
		wantError(t, err, kms.ConflictException,
			"The request was rejected because an automatic rotation of this key is currently in progress or scheduled to begin within the next 20 minutes.")
	}
	h.clock.Advance(90*day - 20*time.Minute - time.Millisecond)
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	h.clock.Advance(time.Millisecond)
	conflict()
	h.clock.Advance(30 * time.Minute) // overdue: nobody has run it yet
	conflict()
	h.runDue(1)
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	h.clock.Advance(90 * day)
	conflict()
	h.must("DisableKeyRotation", in{"KeyId": key.KeyId})
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
}

// TestRotationOfImportedKey: a rotation takes the material that waits, if every Region has it.
func TestRotationOfImportedKey(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(kms.CreateKeyRequest{MultiRegion: true})
	old := h.seal(key.KeyId, "old")
	// What an import leaves: material under the next ordinal that is not current.
	other := h.createKey(nil)
	source := keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: other.KeyId}
	record, err := h.store.Key(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	waiting := record.Clone().Materials[0]
	waiting.Ordinal, waiting.Description = 2, "quarterly"
	waiting.ExpirationModel = kms.ExpirationModelTypeKeyMaterialDoesNotExpire
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) { r.Origin = kms.OriginTypeExternal })
	none := "No available key material pending rotation for the key: " + key.Arn + "."
	_, err = h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantError(t, err, kms.KMSInvalidStateException, none)

	away := keystore.KeyMaterial{Material: kms.Material{ID: waiting.ID, Ordinal: 2, Created: waiting.Created}}
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) { r.Materials = append(r.Materials, away) })
	_, err = h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantError(t, err, kms.KMSInvalidStateException, none)

	const region = "eu-west-1"
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) {
		r.Materials[1] = waiting
		r.MultiRegion.ReplicaRegions = []string{region}
	})
	id := keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: key.KeyId}
	there := h.call(account)
	there.Region = region
	putReplica := func(materials ...keystore.KeyMaterial) {
		t.Helper()
		err := h.store.Update(t.Context(), func(tx *keystore.Tx) error {
			primary, err := tx.Key(id)
			if err != nil {
				return err
			}
			replica := primary.Clone()
			replica.Region, replica.MultiRegion.Type = region, kms.MultiRegionKeyTypeReplica
			replica.Materials = append(replica.Materials[:1], materials...)
			return tx.PutKey(replica)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	wantStates := func(want ...kms.KeyMaterialState) {
		t.Helper()
		for _, call := range []*Call{h.call(account), there} {
			got, err := h.invokeAs(call, "ListKeyRotations", in{"KeyId": key.KeyId, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"})
			if err != nil {
				t.Fatal(err)
			}
			states := []kms.KeyMaterialState{}
			for _, entry := range got.(*kms.ListKeyRotationsResponse).Rotations {
				states = append(states, entry.KeyMaterialState)
			}
			if call == there && len(states) < len(want) {
				continue // it has not been imported there
			}
			if fmt.Sprint(states) != fmt.Sprint(want) {
				t.Errorf("in %s: %v, want %v", call.Region, states, want)
			}
		}
	}
	putReplica()
	wantStates(kms.KeyMaterialStateCurrent, kms.KeyMaterialStatePendingMultiRegionImportAndRotation)
	_, err = h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantError(t, err, kms.KMSInvalidStateException, none)

	putReplica(waiting)
	wantStates(kms.KeyMaterialStateCurrent, kms.KeyMaterialStatePendingRotation)
	now := h.clock.Advance(time.Hour)
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantStates(kms.KeyMaterialStateNonCurrent, kms.KeyMaterialStateCurrent)
	all := h.allMaterial(key.KeyId)
	want := kms.RotationsListEntry{
		KeyId: key.KeyId, KeyMaterialId: waiting.ID, KeyMaterialDescription: "quarterly", ImportState: kms.ImportStateImported,
		KeyMaterialState: kms.KeyMaterialStateCurrent, ExpirationModel: kms.ExpirationModelTypeKeyMaterialDoesNotExpire,
		RotationDate: kms.TimestampOf(now), RotationType: kms.RotationTypeOnDemand,
	}
	if len(all) != 2 || all[1] != want {
		t.Errorf("got  %+v\nwant %+v", all, want)
	}
	got, err := h.invokeAs(there, "ListKeyRotations", in{"KeyId": key.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	if list := got.(*kms.ListKeyRotationsResponse).Rotations; len(list) != 1 || list[0] != want {
		t.Errorf("the replica lists %+v\nwant %+v", list, want)
	}
	h.wantOpen(old)
	h.wantOpen(h.seal(key.KeyId, "new"))
	sealedThere, err := h.invokeAs(there, "Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("there")})
	if err != nil {
		t.Fatal(err)
	}
	h.wantOpen(sealed{"there", sealedThere.(*kms.EncryptResponse).CiphertextBlob, waiting.ID})
	_, err = h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantError(t, err, kms.KMSInvalidStateException, none)
}
