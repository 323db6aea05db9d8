package ops

import (
	"errors"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const day = 24 * time.Hour

func (h *harness) describe(keyID string) *kms.KeyMetadata {
	h.t.Helper()
	return h.must("DescribeKey", in{"KeyId": keyID}).(*kms.DescribeKeyResponse).KeyMetadata
}

// runDue does what is due now and wants so many entries of it.
func (h *harness) runDue(want int) {
	h.t.Helper()
	done, err := h.service.RunDue(h.t.Context(), h.clock.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	if done != want {
		h.t.Fatalf("%d entries were due, want %d", done, want)
	}
}

func (h *harness) wantNoKey(keyID string) {
	h.t.Helper()
	_, err := h.invoke("DescribeKey", in{"KeyId": keyID})
	wantError(h.t, err, kms.NotFoundException, "Key 'arn:aws:kms:us-east-1:111122223333:key/"+keyID+"' does not exist")
}

func TestScheduleKeyDeletion(t *testing.T) {
	h := newHarness(t)
	h.clock.Advance(1500 * time.Microsecond) // clients see milliseconds
	for _, c := range []struct {
		request in
		days    int
	}{{in{}, 30}, {in{"PendingWindowInDays": 7}, 7}, {in{"PendingWindowInDays": 30}, 30}} {
		key := h.createKey(nil)
		c.request["KeyId"] = key.KeyId
		got := *h.must("ScheduleKeyDeletion", c.request).(*kms.ScheduleKeyDeletionResponse)
		want := kms.ScheduleKeyDeletionResponse{
			KeyId: key.Arn, KeyState: kms.KeyStatePendingDeletion, PendingWindowInDays: c.days,
			DeletionDate: kms.TimestampOf(h.clock.Now().Add(time.Duration(c.days) * day)),
		}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		m := h.describe(key.KeyId)
		if m.KeyState != want.KeyState || m.DeletionDate != want.DeletionDate || m.Enabled || m.PendingDeletionWindowInDays != 0 {
			t.Errorf("DescribeKey: %+v", m)
		}
	}
	key := h.createKey(nil)
	for days, text := range map[int]string{
		6:  "Value '6' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value greater than or equal to 7",
		0:  "Value '0' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value greater than or equal to 7",
		31: "Value '31' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value less than or equal to 30",
	} {
		_, err := h.invoke("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": days})
		wantError(t, err, kms.ValidationException, "1 validation error detected: "+text)
	}
	_, err := h.invoke("ScheduleKeyDeletion", in{"KeyId": ghostKey})
	wantError(t, err, kms.NotFoundException, "Key 'arn:aws:kms:us-east-1:111122223333:key/"+ghostKey+"' does not exist")
}

func TestDeletion(t *testing.T) {
	h := newHarness(t)
	key, other := h.createKey(nil), h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/a", "TargetKeyId": key.KeyId})
	h.must("CreateAlias", in{"AliasName": "alias/b/c", "TargetKeyId": key.KeyId})
	h.must("CreateAlias", in{"AliasName": "alias/other", "TargetKeyId": other.KeyId})
	blob := h.must("Encrypt", in{"KeyId": "alias/a", "Plaintext": []byte("x")}).(*kms.EncryptResponse).CiphertextBlob
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})

	_, err := h.invoke("Decrypt", in{"CiphertextBlob": blob})
	wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is pending deletion.")
	h.clock.Advance(7*day - time.Millisecond)
	h.runDue(0)
	h.describe("alias/a")

	// The entry outlives the process.
	h.restart()
	h.runDue(0)
	h.clock.Advance(time.Millisecond)
	h.runDue(1)
	h.wantNoKey(key.KeyId)
	for _, name := range []string{"a", "b/c"} {
		_, err = h.invoke("Encrypt", in{"KeyId": "alias/" + name, "Plaintext": []byte("x")})
		wantError(t, err, kms.NotFoundException, "Alias "+aliasARN(account, name)+" is not found.")
	}
	_, err = h.invoke("Decrypt", in{"CiphertextBlob": blob})
	wantError(t, err, kms.AccessDeniedException, unknownBlob(rootARN, "Decrypt"))
	for _, op := range []string{"CancelKeyDeletion", "ScheduleKeyDeletion", "GetKeyPolicy"} {
		_, err = h.invoke(op, in{"KeyId": key.KeyId})
		wantError(t, err, kms.NotFoundException, "Key '"+key.Arn+"' does not exist")
	}
	if names := h.aliasNames("", 0); len(names) != 1 || names[0] != "alias/other" {
		t.Errorf("the account lists %v", names)
	}
	if keys := h.must("ListKeys", in{}).(*kms.ListKeysResponse).Keys; len(keys) != 1 {
		t.Errorf("the account lists %v", keys)
	}
	h.runDue(0)

	// The name is free again and means the new key only.
	next := h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/a", "TargetKeyId": next.KeyId})
	_, err = h.invoke("Decrypt", in{"KeyId": "alias/a", "CiphertextBlob": blob})
	wantError(t, err, kms.IncorrectKeyException, "The key ID in the request does not identify a CMK that can perform this operation.")
	h.restart()
	h.wantNoKey(key.KeyId)
	if h.describe("alias/a").KeyId != next.KeyId {
		t.Error("the alias is not the new key's")
	}
}

func TestCancelKeyDeletion(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/a", "TargetKeyId": key.KeyId})
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	h.clock.Advance(6 * day)
	if got := h.must("CancelKeyDeletion", in{"KeyId": key.KeyId}).(*kms.CancelKeyDeletionResponse); got.KeyId != key.Arn {
		t.Errorf("CancelKeyDeletion names %s", got.KeyId)
	}
	if m := h.describe("alias/a"); m.KeyState != kms.KeyStateDisabled || !m.DeletionDate.IsZero() {
		t.Errorf("a key whose deletion was cancelled: %+v", m)
	}
	h.clock.Advance(60 * day)
	h.runDue(0)
	h.must("EnableKey", in{"KeyId": key.KeyId})
	h.must("Encrypt", in{"KeyId": "alias/a", "Plaintext": []byte("x")})

	// A second schedule has a date of its own.
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId})
	h.clock.Advance(30*day - 1)
	h.runDue(0)
	h.clock.Advance(1)
	h.runDue(1)
	h.wantNoKey(key.KeyId)
}

func TestCancelKeyDeletionOfImportedKey(t *testing.T) {
	present := keystore.KeyMaterial{Material: kms.Material{ID: "a", Ordinal: 1, Blob: []byte{1}}}
	absent := keystore.KeyMaterial{Material: kms.Material{ID: "b", Ordinal: 2}}
	waiting := keystore.KeyMaterial{Material: kms.Material{ID: "c", Ordinal: 3}}
	for name, c := range map[string]struct {
		origin    kms.OriginType
		materials []keystore.KeyMaterial
		current   uint32
		want      kms.KeyState
	}{
		"never imported":         {kms.OriginTypeExternal, nil, 0, kms.KeyStatePendingImport},
		"imported":               {kms.OriginTypeExternal, []keystore.KeyMaterial{present}, 1, kms.KeyStateDisabled},
		"one expired":            {kms.OriginTypeExternal, []keystore.KeyMaterial{present, absent}, 2, kms.KeyStatePendingImport},
		"a pending one is away":  {kms.OriginTypeExternal, []keystore.KeyMaterial{present, waiting}, 1, kms.KeyStateDisabled},
		"not imported, resident": {kms.OriginTypeAwsKms, []keystore.KeyMaterial{{Material: kms.Material{ID: "d", Ordinal: 1, ObjectID: []byte{1}}}}, 1, kms.KeyStateDisabled},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			key := h.createKey(nil)
			h.editRecord(key.KeyId, func(r *keystore.KeyRecord) {
				setState(kms.KeyStatePendingDeletion, h.clock.Now())(r)
				r.Origin, r.Materials, r.Current = c.origin, c.materials, c.current
			})
			h.must("CancelKeyDeletion", in{"KeyId": key.KeyId})
			if got := h.describe(key.KeyId).KeyState; got != c.want {
				t.Errorf("the state is %s, want %s", got, c.want)
			}
		})
	}
}

// TestDeletionOfRelatedKeys: a primary key waits for its replicas, and its window begins when the
// last one is gone.
func TestDeletionOfRelatedKeys(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(kms.CreateKeyRequest{MultiRegion: true})
	replicas := []string{"eu-west-1", "us-west-2"}
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) { r.MultiRegion.ReplicaRegions = replicas })
	id := keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: key.KeyId}
	err := h.store.Update(t.Context(), func(tx *keystore.Tx) error {
		primary, err := tx.Key(id)
		for _, region := range replicas {
			replica := primary.Clone()
			replica.Region, replica.MultiRegion.Type = region, kms.MultiRegionKeyTypeReplica
			err = errors.Join(err, tx.CreateKey(replica))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	in1 := func(region string) *Call {
		call := h.call(account)
		call.Region = region
		return call
	}
	got := *h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 10}).(*kms.ScheduleKeyDeletionResponse)
	want := kms.ScheduleKeyDeletionResponse{KeyId: key.Arn, KeyState: kms.KeyStatePendingReplicaDeletion, PendingWindowInDays: 10}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if m := h.describe(key.KeyId); m.PendingDeletionWindowInDays != 10 || !m.DeletionDate.IsZero() || len(m.MultiRegionConfiguration.ReplicaKeys) != 2 {
		t.Errorf("DescribeKey: %+v", m)
	}
	h.clock.Advance(60 * day)
	h.runDue(0)
	for i, region := range replicas {
		if _, err := h.invokeAs(in1(region), "ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7}); err != nil {
			t.Fatal(err)
		}
		h.clock.Advance(7 * day)
		h.runDue(1)
		m := h.describe(key.KeyId)
		if len(m.MultiRegionConfiguration.ReplicaKeys) != 1-i {
			t.Errorf("%d replicas are gone and the primary names %+v", i+1, m.MultiRegionConfiguration.ReplicaKeys)
		}
		if i == 0 && m.KeyState != kms.KeyStatePendingReplicaDeletion {
			t.Errorf("with one replica left the primary is %s", m.KeyState)
		}
	}
	m := h.describe(key.KeyId)
	if m.KeyState != kms.KeyStatePendingDeletion || m.DeletionDate != kms.TimestampOf(h.clock.Now().Add(10*day)) {
		t.Errorf("with no replica left the primary is %s until %s", m.KeyState, m.DeletionDate)
	}
	h.must("CancelKeyDeletion", in{"KeyId": key.KeyId})
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	h.clock.Advance(7 * day)
	h.runDue(1)
	h.wantNoKey(key.KeyId)
}

// TestDeletionOfResidentKey: a process that ends between the record and the object in the token
// leaves an entry, so that the object is destroyed later.
func TestDeletionOfResidentKey(t *testing.T) {
	hsmtest.Require(t, hsmtest.Resident)
	h := newHarness(t)
	ctx := t.Context()
	key := h.createKey(kms.CreateKeyRequest{KeySpec: kms.KeySpecEccNistEdwards25519, KeyUsage: kms.KeyUsageTypeSignVerify})
	record, err := h.store.Key(ctx, keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: key.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	material := record.CurrentMaterial()
	if len(material.ObjectID) == 0 {
		t.Fatal("SoftHSM2 2.6.1 wraps no Ed25519 keys, so this one was to live in the token")
	}
	sign := func() error {
		_, err := h.domain.Sign(ctx, material, record.Spec, kms.SigningAlgorithmSpecEd25519Sha512, hsm.SignInput{Message: []byte("x")})
		return err
	}
	if err := sign(); err != nil {
		t.Fatal(err)
	}
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	now := h.clock.Advance(7 * day)
	ids, err := h.store.ScanDue(ctx, now, "", 2)
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	if err := h.service.runEntry(ctx, ids[0], now); err != nil {
		t.Fatal(err)
	}
	h.wantNoKey(key.KeyId)
	if err := sign(); err != nil {
		t.Fatalf("the object is gone too early for this test: %v", err)
	}
	h.restart()
	h.runDue(1)
	if err := sign(); err == nil {
		t.Error("the token still signs with a deleted key")
	}
	h.runDue(0)

	// The usual way, without an interruption.
	key = h.createKey(kms.CreateKeyRequest{KeySpec: kms.KeySpecEccNistEdwards25519, KeyUsage: kms.KeyUsageTypeSignVerify})
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	h.clock.Advance(7 * day)
	h.runDue(2) // the key, then its object
	h.wantNoKey(key.KeyId)
	h.runDue(0)
}
