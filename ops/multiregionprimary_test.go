package ops

import (
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// TestUpdatePrimaryRegion: the roles change in every related record, and only they.
func TestUpdatePrimaryRegion(t *testing.T) {
	h := newHarness(t)
	us, eu := h.at(testRegion), h.at(ireland)
	key := h.multiKey(nil, ireland, oregon)
	blob := us.encrypt(key.KeyId, "before")
	eu.get("UpdateKeyDescription", in{"KeyId": key.KeyId, "Description": "of Ireland"})
	eu.get("CreateAlias", in{"AliasName": "alias/here", "TargetKeyId": key.KeyId})
	h.at(oregon).get("DisableKey", in{"KeyId": key.KeyId}) // a third key may be in any state

	if out := us.get("UpdatePrimaryRegion", in{"KeyId": key.Arn, "PrimaryRegion": ireland}); out != nil {
		t.Errorf("UpdatePrimaryRegion answers %v", out)
	}
	h.wantPlaces(key.KeyId, ireland, testRegion, oregon)
	if m := eu.metadata("alias/here"); m.Description != "of Ireland" || !m.Enabled {
		t.Errorf("the new primary key is %+v", m)
	}
	if m := h.at(oregon).metadata(key.KeyId); m.KeyState != kms.KeyStateDisabled {
		t.Errorf("the third key is %s", m.KeyState)
	}
	eu.wantOpens(key.KeyId, blob, "before")
	us.wantOpens(key.KeyId, eu.encrypt(key.KeyId, "after"), "after")

	// The primary's operations are those of the new one.
	notPrimary := us.arn(key.KeyId) + " is not a multi-region primary key."
	for _, c := range []struct {
		op string
		in in
	}{
		{"UpdatePrimaryRegion", in{"KeyId": key.KeyId, "PrimaryRegion": ireland}},
		{"ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland}},
		{"EnableKeyRotation", in{"KeyId": key.KeyId}},
		{"RotateKeyOnDemand", in{"KeyId": key.KeyId}},
	} {
		_, err := us.try(c.op, c.in)
		wantError(t, err, kms.UnsupportedOperationException, notPrimary)
	}
	// A request that found the old roles is refused by what the transaction sees.
	h.at(oregon).get("EnableKey", in{"KeyId": key.KeyId})
	err := h.store.Update(t.Context(), func(tx *keystore.Tx) error {
		return promote(tx, "UpdatePrimaryRegion", keyOf(us.record(key.KeyId)), keyOf(h.at(oregon).record(key.KeyId)))
	})
	wantError(t, err, kms.UnsupportedOperationException, notPrimary)
	eu.get("UpdatePrimaryRegion", in{"KeyId": key.KeyId, "PrimaryRegion": testRegion})
	h.wantPlaces(key.KeyId, testRegion, ireland, oregon)
}

// TestRotationMovesWithPrimary: the schedule and its date are those of whichever key is primary.
func TestRotationMovesWithPrimary(t *testing.T) {
	h := newHarness(t)
	us, eu := h.at(testRegion), h.at(ireland)
	key := h.multiKey(nil)
	us.get("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	us.get("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	first := us.encrypt(key.KeyId, "first")
	wantSame := func(rotations int) {
		t.Helper()
		ours, theirs := us.record(key.KeyId), eu.record(key.KeyId)
		if len(ours.Materials) != rotations+1 || ours.Current != uint32(rotations+1) {
			t.Errorf("after %d rotations there are %d materials", rotations, len(ours.Materials))
		}
		if theirs.Current != ours.Current || len(theirs.Materials) != len(ours.Materials) || *theirs.Rotation != *ours.Rotation {
			t.Errorf("the Regions differ: material %d of %d and %d of %d", ours.Current, len(ours.Materials), theirs.Current, len(theirs.Materials))
		}
		us.wantOpens(key.KeyId, eu.encrypt(key.KeyId, "x"), "x")
		eu.wantOpens(key.KeyId, us.encrypt(key.KeyId, "x"), "x")
		eu.wantOpens(key.KeyId, first, "first")
	}
	wantSame(0)
	us.get("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantSame(1)
	us.get("UpdatePrimaryRegion", in{"KeyId": key.KeyId, "PrimaryRegion": ireland})
	h.clock.Advance(90 * day)
	h.runDue(1)
	wantSame(2)
	status := us.get("GetKeyRotationStatus", in{"KeyId": key.KeyId}).(*kms.GetKeyRotationStatusResponse)
	if !status.KeyRotationEnabled || status.NextRotationDate != kms.TimestampOf(h.clock.Now().Add(90*day)) {
		t.Errorf("the replica's status is %+v", status)
	}
	eu.get("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantSame(3)
	eu.get("DisableKeyRotation", in{"KeyId": key.KeyId})
	h.clock.Advance(90 * day)
	h.runDue(0)
	wantSame(3)
}

// TestDeletionAcrossRegions: replicas go at any time, a primary key waits for them, and a replica
// made again has nothing of the one before but what is shared.
func TestDeletionAcrossRegions(t *testing.T) {
	h := newHarness(t)
	us, eu := h.at(testRegion), h.at(ireland)
	key := h.multiKey(nil, ireland)
	old := eu.encrypt(key.KeyId, "old")
	eu.get("CreateGrant", in{"KeyId": key.KeyId, "GranteePrincipal": "arn:aws:iam::444455556666:root", "Operations": []string{"Decrypt"}})
	eu.get("CreateAlias", in{"AliasName": "alias/here", "TargetKeyId": key.KeyId})
	guest := func() error {
		_, err := eu.invokeAs(eu.callOf(RootCaller("aws", stranger)), "Decrypt", in{"KeyId": eu.arn(key.KeyId), "CiphertextBlob": old})
		return err
	}
	if err := guest(); err != nil {
		t.Fatal(err)
	}
	remove := func(side site) {
		t.Helper()
		side.get("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	}
	pass := func() {
		t.Helper()
		h.clock.Advance(7 * day)
		if _, err := h.service.RunDue(t.Context(), h.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	remove(eu)
	exists := "Key '" + eu.arn(key.KeyId) + "' already exists"
	_, err := us.try("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	wantError(t, err, kms.AlreadyExistsException, exists)
	pass()
	h.wantPlaces(key.KeyId, testRegion)
	_, err = eu.try("DescribeKey", in{"KeyId": key.KeyId})
	wantError(t, err, kms.NotFoundException, "Key '"+eu.arn(key.KeyId)+"' does not exist")
	us.wantOpens(key.KeyId, old, "old")

	us.get("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	h.wantPlaces(key.KeyId, testRegion, ireland)
	eu.wantOpens(key.KeyId, old, "old")
	if grants := eu.get("ListGrants", in{"KeyId": key.KeyId}).(*kms.ListGrantsResponse).Grants; len(grants) != 0 {
		t.Errorf("the new replica has the old one's grants: %v", grants)
	}
	if err := guest(); err == nil {
		t.Error("the grantee of the old replica can use the new one")
	}
	if aliases := eu.get("ListAliases", in{"KeyId": key.KeyId}).(*kms.ListAliasesResponse).Aliases; len(aliases) != 0 {
		t.Errorf("the new replica has the old one's aliases: %v", aliases)
	}

	// A primary key that waits makes no replicas and gives its role to none.
	us.get("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 8})
	waits := us.arn(key.KeyId) + " is pending replica deletion."
	_, err = us.try("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": oregon})
	wantError(t, err, kms.KMSInvalidStateException, waits)
	_, err = us.try("UpdatePrimaryRegion", in{"KeyId": key.KeyId, "PrimaryRegion": ireland})
	wantError(t, err, kms.KMSInvalidStateException, waits)
	eu.wantOpens(key.KeyId, old, "old")
	remove(eu)
	pass()
	if m := us.metadata(key.KeyId); m.KeyState != kms.KeyStatePendingDeletion || m.DeletionDate != kms.TimestampOf(h.clock.Now().Add(8*day)) {
		t.Errorf("without its replica the primary key is %s until %s", m.KeyState, m.DeletionDate)
	}
	us.get("CancelKeyDeletion", in{"KeyId": key.KeyId})
	us.get("EnableKey", in{"KeyId": key.KeyId})

	// A key that has given its role away goes like any replica.
	us.get("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	us.get("UpdatePrimaryRegion", in{"KeyId": key.KeyId, "PrimaryRegion": ireland})
	remove(us)
	pass()
	h.wantPlaces(key.KeyId, ireland)
	h.wantNoKey(key.KeyId)
	eu.wantOpens(key.KeyId, old, "old")
}

// TestRegionNoLongerServed: related keys there stay related, and share what changes.
func TestRegionNoLongerServed(t *testing.T) {
	h := newHarness(t)
	us, eu := h.at(testRegion), h.at(ireland)
	key := h.multiKey(nil, ireland)
	h.service = New(Config{Store: h.store, Domain: h.domain, Account: account, Region: testRegion, Now: h.clock.Now})
	_, err := us.try("UpdatePrimaryRegion", in{"KeyId": key.KeyId, "PrimaryRegion": ireland})
	wantError(t, err, kms.ValidationException, "PrimaryRegion eu-west-1 is not a Region that this server serves.")
	us.get("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	if record := eu.record(key.KeyId); record.Current != 2 {
		t.Errorf("the replica has the material %d", record.Current)
	}
	us.get("ScheduleKeyDeletion", in{"KeyId": key.KeyId})
	if state := us.metadata(key.KeyId).KeyState; state != kms.KeyStatePendingReplicaDeletion {
		t.Errorf("the primary key is %s", state)
	}
}
