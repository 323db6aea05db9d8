package ops

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// TestReplicateKey: the answer, what the replica shares and what is its own.
func TestReplicateKey(t *testing.T) {
	h := newHarness(t)
	eu := h.at(ireland)
	key := h.multiKey(in{"Description": "of the primary", "Tags": tag("a=1"), "Policy": statement(everybody)})
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId})
	now := h.clock.Advance(time.Hour)

	policy := statement(everybody + `,"Sid":"of the replica"`)
	out := h.must("ReplicateKey", in{"KeyId": key.Arn, "ReplicaRegion": ireland, "Description": "of the replica",
		"Tags": tag("b=2"), "Policy": policy}).(*kms.ReplicateKeyResponse)
	want := *key
	want.Arn, want.Description, want.CreationDate = eu.arn(key.KeyId), "of the replica", kms.TimestampOf(now)
	want.MultiRegionConfiguration = &kms.MultiRegionConfiguration{
		MultiRegionKeyType: kms.MultiRegionKeyTypeReplica,
		PrimaryKey:         &kms.MultiRegionKey{Arn: key.Arn, Region: testRegion},
		ReplicaKeys:        []kms.MultiRegionKey{{Arn: want.Arn, Region: ireland}},
	}
	shown := want
	shown.KeyState, shown.Enabled, shown.CurrentKeyMaterialId = kms.KeyStateCreating, false, ""
	if !reflect.DeepEqual(*out.ReplicaKeyMetadata, shown) || out.ReplicaPolicy != policy || !slices.Equal(out.ReplicaTags, []kms.Tag{{TagKey: "b", TagValue: "2"}}) {
		t.Errorf("ReplicateKey gives\n%+v, want\n%+v; policy %s, tags %v", out.ReplicaKeyMetadata, shown, out.ReplicaPolicy, out.ReplicaTags)
	}
	if got := eu.metadata(key.KeyId); !reflect.DeepEqual(*got, want) {
		t.Errorf("the replica is\n%+v, want\n%+v", got, want)
	}
	h.wantPlaces(key.KeyId, testRegion, ireland)

	out = h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": oregon}).(*kms.ReplicateKeyResponse)
	if out.ReplicaPolicy != defaultKeyPolicy("aws", account) || len(out.ReplicaTags) != 0 || out.ReplicaKeyMetadata.Description != "" {
		t.Errorf("a replica without its own: %+v", out)
	}
	h.wantPlaces(key.KeyId, testRegion, ireland, oregon)
	h.restart()
	h.wantPlaces(key.KeyId, testRegion, ireland, oregon)

	// What changes in one Region stays there.
	eu = h.at(ireland)
	eu.get("UpdateKeyDescription", in{"KeyId": key.KeyId, "Description": "changed"})
	eu.get("TagResource", in{"KeyId": key.KeyId, "Tags": tag("c=3")})
	eu.get("PutKeyPolicy", in{"KeyId": key.KeyId, "Policy": statement(everybody)})
	eu.get("CreateAlias", in{"AliasName": "alias/here", "TargetKeyId": key.KeyId})
	eu.get("CreateGrant", in{"KeyId": key.KeyId, "GranteePrincipal": "arn:aws:iam::444455556666:root", "Operations": []string{"Decrypt"}})
	eu.get("DisableKey", in{"KeyId": key.KeyId})
	if m := h.describe(key.KeyId); m.Description != "of the primary" || !m.Enabled {
		t.Errorf("a change of the replica shows in the primary key: %+v", m)
	}
	if tags := h.must("ListResourceTags", in{"KeyId": key.KeyId}).(*kms.ListResourceTagsResponse).Tags; len(tags) != 1 || tags[0].TagKey != "a" {
		t.Errorf("the primary key's tags are %v", tags)
	}
	if grants := h.must("ListGrants", in{"KeyId": key.KeyId}).(*kms.ListGrantsResponse).Grants; len(grants) != 0 {
		t.Errorf("the primary key's grants are %v", grants)
	}
	_, err := h.invoke("DescribeKey", in{"KeyId": "alias/here"})
	wantError(t, err, kms.NotFoundException, "Alias arn:aws:kms:us-east-1:111122223333:alias/here is not found.")
	if listed := eu.get("ListKeys", in{}).(*kms.ListKeysResponse).Keys; len(listed) != 1 || listed[0].KeyArn != eu.arn(key.KeyId) {
		t.Errorf("the keys of %s are %v", ireland, listed)
	}
}

// TestRelatedKeysInteroperate: what one related key makes another can use, for each kind of key.
func TestRelatedKeysInteroperate(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC)
	h := newHarness(t)
	eu := h.at(ireland)
	t.Run("encryption", func(t *testing.T) {
		key := h.multiKey(nil)
		before := h.at(testRegion).encrypt(key.KeyId, "before the replica")
		h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
		eu.wantOpens(key.KeyId, before, "before the replica")
		h.at(testRegion).wantOpens(key.KeyId, eu.encrypt(key.KeyId, "from the replica"), "from the replica")
		single := h.createKey(nil)
		moved := eu.get("ReEncrypt", in{"CiphertextBlob": before, "DestinationKeyId": key.KeyId}).(*kms.ReEncryptResponse)
		if moved.SourceKeyId != eu.arn(key.KeyId) {
			t.Errorf("ReEncrypt names %s", moved.SourceKeyId)
		}
		h.at(testRegion).wantOpens(key.KeyId, moved.CiphertextBlob, "before the replica")
		_, err := eu.try("Decrypt", in{"CiphertextBlob": h.at(testRegion).encrypt(single.KeyId, "x"), "KeyId": single.KeyId})
		wantError(t, err, kms.NotFoundException, "Key '"+eu.arn(single.KeyId)+"' does not exist")
		lone := h.multiKey(nil)
		_, err = eu.try("Decrypt", in{"CiphertextBlob": h.at(testRegion).encrypt(lone.KeyId, "x")})
		wantError(t, err, kms.AccessDeniedException, unknownBlob(rootARN, "Decrypt"))
	})
	t.Run("signing", func(t *testing.T) {
		key := h.multiKey(in{"KeySpec": "ECC_NIST_P256", "KeyUsage": signVerify}, ireland)
		request := in{"KeyId": key.KeyId, "Message": []byte("m"), "SigningAlgorithm": "ECDSA_SHA_256"}
		request["Signature"] = eu.get("Sign", request).(*kms.SignResponse).Signature
		h.must("Verify", request)
		ours, theirs := h.must("GetPublicKey", in{"KeyId": key.KeyId}), eu.get("GetPublicKey", in{"KeyId": key.KeyId})
		if !slices.Equal(ours.(*kms.GetPublicKeyResponse).PublicKey, theirs.(*kms.GetPublicKeyResponse).PublicKey) {
			t.Error("the public keys differ")
		}
	})
	t.Run("RSA", func(t *testing.T) {
		key := h.multiKey(in{"KeySpec": "RSA_2048", "KeyUsage": encryptDecrypt}, ireland)
		request := in{"KeyId": key.KeyId, "Plaintext": []byte("m"), "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
		blob := h.must("Encrypt", request).(*kms.EncryptResponse).CiphertextBlob
		out := eu.get("Decrypt", in{"KeyId": key.KeyId, "CiphertextBlob": blob, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"})
		if string(out.(*kms.DecryptResponse).Plaintext) != "m" {
			t.Error("it decrypts to something else")
		}
	})
	t.Run("HMAC", func(t *testing.T) {
		key := h.multiKey(in{"KeySpec": "HMAC_384", "KeyUsage": generateVerify}, ireland)
		request := in{"KeyId": key.KeyId, "Message": []byte("m"), "MacAlgorithm": "HMAC_SHA_384"}
		request["Mac"] = h.must("GenerateMac", request).(*kms.GenerateMacResponse).Mac
		eu.get("VerifyMac", request)
	})
	t.Run("key agreement", func(t *testing.T) {
		key := h.multiKey(in{"KeySpec": "ECC_NIST_P256", "KeyUsage": keyAgreement}, ireland)
		request := in{"KeyId": key.KeyId, "KeyAgreementAlgorithm": "ECDH", "PublicKey": peer(t)}
		ours := h.must("DeriveSharedSecret", request).(*kms.DeriveSharedSecretResponse).SharedSecret
		theirs := eu.get("DeriveSharedSecret", request).(*kms.DeriveSharedSecretResponse).SharedSecret
		if !slices.Equal(ours, theirs) {
			t.Error("the shared secrets differ")
		}
	})
}

// TestReplicaRecord: every member of a key's record is either shared or the replica's own.
func TestReplicaRecord(t *testing.T) {
	shared := []string{"Partition", "Account", "ID", "Spec", "Usage", "Origin", "Manager", "Materials", "Current", "Rotation"}
	own := map[string]any{
		"Region": ireland, "Created": time.Unix(2, 0), "Description": "own", "Policy": "own policy",
		"Tags": []keystore.Tag{{Key: "own"}}, "State": kms.KeyStateEnabled,
		"MultiRegion": &keystore.MultiRegion{Type: kms.MultiRegionKeyTypeReplica, PrimaryRegion: testRegion, ReplicaRegions: []string{oregon, ireland}},
		// A new key in no custom key store.
		"DeletionDate": time.Time{}, "PendingWindowInDays": int32(0), "Aliases": []string(nil), "CustomKeyStoreID": "", "XksKeyID": "",
	}
	primary := &keystore.KeyRecord{
		Partition: "aws", Account: account, Region: testRegion, ID: "mrk-1", Created: time.Unix(1, 0), Description: "d",
		Spec: kms.KeySpecSymmetricDefault, Usage: kms.KeyUsageTypeEncryptDecrypt, Origin: kms.OriginTypeAwsKms,
		Manager: kms.KeyManagerTypeCustomer, State: kms.KeyStateUpdating, DeletionDate: time.Unix(3, 0), PendingWindowInDays: 7,
		Policy: "p", Tags: []keystore.Tag{{Key: "k"}}, Aliases: []string{"a"}, Current: 2,
		Materials: []keystore.KeyMaterial{{Material: kms.Material{ID: "1", Ordinal: 1, Blob: []byte{1}}}, {Material: kms.Material{ID: "2", Ordinal: 2}}},
		Rotation:  &keystore.Rotation{Enabled: true, PeriodInDays: 90}, CustomKeyStoreID: "c", XksKeyID: "x",
		MultiRegion: placesOf(testRegion, testRegion, []string{oregon}),
	}
	got := reflect.ValueOf(*replicaOf(primary, &keystore.KeyRecord{Region: ireland, Created: time.Unix(2, 0), Description: "own",
		Policy: "own policy", Tags: []keystore.Tag{{Key: "own"}}}))
	for i := range got.NumField() {
		if !got.Type().Field(i).IsExported() {
			continue // the ARN that was made for the record: keystore.TestARN
		}
		name, value := got.Type().Field(i).Name, got.Field(i).Interface()
		want, isOwn := own[name]
		if slices.Contains(shared, name) {
			want, isOwn = reflect.ValueOf(*primary).Field(i).Interface(), true
		}
		if !isOwn || !reflect.DeepEqual(value, want) {
			t.Errorf("%s of the replica is %+v, want %+v", name, value, want)
		}
	}
	if got.Field(0).IsZero() || &replicaOf(primary, primary).Materials[0] == &primary.Materials[0] {
		t.Error("the replica's record shares memory with the primary's")
	}
}

// TestReplicaOfImportedKey: a replica of an imported key names the material and waits for it.
func TestReplicaOfImportedKey(t *testing.T) {
	h := newHarness(t)
	eu := h.at(ireland)
	key := h.multiKey(nil)
	blob := h.at(testRegion).encrypt(key.KeyId, "x")
	h.at(testRegion).edit(key.KeyId, func(r *keystore.KeyRecord) {
		r.Origin = kms.OriginTypeExternal
		m := &r.Materials[0]
		m.Description, m.ExpirationModel, m.ValidTo = "quarterly", kms.ExpirationModelTypeKeyMaterialExpires, h.clock.Now().Add(day)
	})
	out := h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland}).(*kms.ReplicateKeyResponse)
	if out.ReplicaKeyMetadata.KeyState != kms.KeyStateCreating {
		t.Errorf("the answer shows the state %s", out.ReplicaKeyMetadata.KeyState)
	}
	_, err := eu.try("Decrypt", in{"CiphertextBlob": blob})
	wantError(t, err, kms.KMSInvalidStateException, eu.arn(key.KeyId)+" is pending import.")
	ours, theirs := h.at(testRegion).record(key.KeyId), eu.record(key.KeyId)
	m := theirs.Materials[0]
	if theirs.State != kms.KeyStatePendingImport || m.ID != ours.Materials[0].ID || m.Ordinal != 1 || m.Description != "quarterly" ||
		m.Present() || m.ExpirationModel != "" || !m.ValidTo.IsZero() || !ours.Materials[0].Present() {
		t.Errorf("the replica's record: %s with %+v", theirs.State, m)
	}
	_, err = h.invoke("UpdatePrimaryRegion", in{"KeyId": key.KeyId, "PrimaryRegion": ireland})
	wantError(t, err, kms.KMSInvalidStateException, eu.arn(key.KeyId)+" is pending import.")
}
