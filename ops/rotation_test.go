package ops

import (
	"context"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func (h *harness) rotationStatus(keyID string) kms.GetKeyRotationStatusResponse {
	h.t.Helper()
	return *h.must("GetKeyRotationStatus", in{"KeyId": keyID}).(*kms.GetKeyRotationStatusResponse)
}

// wantRotation wants a key to rotate with this period, next at this time; 0 days means not at all.
func (h *harness) wantRotation(keyID string, days int, next time.Time) {
	h.t.Helper()
	want := kms.GetKeyRotationStatusResponse{KeyId: keyID}
	if days > 0 {
		want.KeyRotationEnabled, want.RotationPeriodInDays, want.NextRotationDate = true, days, kms.TimestampOf(next)
	}
	if got := h.rotationStatus(keyID); got != want {
		h.t.Errorf("rotation status\ngot  %+v\nwant %+v", got, want)
	}
}

// allMaterial lists every material of a key.
func (h *harness) allMaterial(keyID string) []kms.RotationsListEntry {
	h.t.Helper()
	return h.must("ListKeyRotations", in{"KeyId": keyID, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}).(*kms.ListKeyRotationsResponse).Rotations
}

// sealed is a ciphertext with what it has to give.
type sealed struct {
	plaintext string
	blob      []byte
	material  string // KeyMaterialId
}

// seal encrypts a text that says which generation it is of.
func (h *harness) seal(keyID, plaintext string) sealed {
	h.t.Helper()
	blob := h.must("Encrypt", in{"KeyId": keyID, "Plaintext": []byte(plaintext)}).(*kms.EncryptResponse).CiphertextBlob
	return sealed{plaintext, blob, h.describe(keyID).CurrentKeyMaterialId}
}

func (h *harness) wantOpen(s sealed) {
	h.t.Helper()
	got := h.must("Decrypt", in{"CiphertextBlob": s.blob}).(*kms.DecryptResponse)
	if string(got.Plaintext) != s.plaintext {
		h.t.Errorf("a ciphertext of %q opens to something else", s.plaintext)
	}
	if got.KeyMaterialId != s.material {
		h.t.Errorf("%q was sealed under %s and opened with %s", s.plaintext, s.material, got.KeyMaterialId)
	}
}

func TestRotationSchedule(t *testing.T) {
	h := newHarness(t)
	h.clock.Advance(1500 * time.Microsecond) // clients see milliseconds
	key := h.createKey(nil)
	h.wantRotation(key.KeyId, 0, time.Time{})
	h.must("DisableKeyRotation", in{"KeyId": key.KeyId})
	h.must("EnableKeyRotation", in{"KeyId": key.Arn})
	h.wantRotation(key.KeyId, 365, h.clock.Now().Add(365*day))

	// Another call sets the period and starts it anew.
	for _, days := range []int{90, 2560, 180, 180} {
		h.clock.Advance(10 * day)
		h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": days})
		h.wantRotation(key.KeyId, days, h.clock.Now().Add(time.Duration(days)*day))
	}
	next := h.clock.Now().Add(180 * day)
	h.clock.Advance(day)
	h.restart()
	h.wantRotation(key.KeyId, 180, next)

	h.must("DisableKeyRotation", in{"KeyId": key.KeyId})
	h.must("DisableKeyRotation", in{"KeyId": key.KeyId})
	h.wantRotation(key.KeyId, 0, time.Time{})
	h.clock.Advance(1000 * day)
	h.runDue(0)
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId})
	h.wantRotation(key.KeyId, 365, h.clock.Now().Add(365*day))

	for days, text := range map[int]string{
		89:   "Value '89' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have value greater than or equal to 90",
		0:    "Value '0' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have value greater than or equal to 90",
		2561: "Value '2561' at 'rotationPeriodInDays' failed to satisfy constraint: Member must have value less than or equal to 2560",
	} {
		_, err := h.invoke("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": days})
		wantError(t, err, kms.ValidationException, "1 validation error detected: "+text)
	}
}

// TestRotationAccess: the status alone may be asked from another account, and no alias is taken.
func TestRotationAccess(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/a", "TargetKeyId": key.KeyId})
	ghost := kms.KeyARN(testRegion, account, ghostKey).String()
	for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation", "GetKeyRotationStatus", "ListKeyRotations", "RotateKeyOnDemand"} {
		_, err := h.invoke(op, in{"KeyId": "alias/a"})
		wantError(t, err, kms.NotFoundException, "Invalid keyId alias/a")
		_, err = h.invoke(op, in{"KeyId": ghostKey})
		wantError(t, err, kms.NotFoundException, "Key '"+ghost+"' does not exist")
		_, err = h.invokeAs(h.call(stranger), op, in{"KeyId": key.Arn})
		if code := kms.AsError(err).Code; code != kms.AccessDeniedException {
			t.Errorf("%s by a stranger: %v", op, err)
		}
		_, err = h.invokeAs(h.userCall(account, "alice"), op, in{"KeyId": key.Arn})
		wantError(t, err, kms.AccessDeniedException, "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: kms:"+op+
			" on resource: "+key.Arn+" because no identity-based policy allows the kms:"+op+" action")
	}
	h.editRecord(key.KeyId, setPolicy(statement(everybody)))
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId})
	got, err := h.invokeAs(h.call(stranger), "GetKeyRotationStatus", in{"KeyId": key.Arn})
	if err != nil || !got.(*kms.GetKeyRotationStatusResponse).KeyRotationEnabled {
		t.Errorf("the status for a stranger who is allowed it: %+v, %v", got, err)
	}
	for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation", "ListKeyRotations", "RotateKeyOnDemand"} {
		_, err := h.invokeAs(h.call(stranger), op, in{"KeyId": key.Arn})
		if code := kms.AsError(err).Code; code != kms.AccessDeniedException {
			t.Errorf("%s by a stranger whom the policy allows it: %v", op, err)
		}
	}
}

// TestKeysThatDoNotRotate: asymmetric and HMAC keys have the status false and nothing else.
func TestKeysThatDoNotRotate(t *testing.T) {
	h := newHarness(t)
	for _, in1 := range []kms.CreateKeyRequest{
		{KeySpec: kms.KeySpecEccNistP256, KeyUsage: kms.KeyUsageTypeSignVerify},
		{KeySpec: kms.KeySpecHmac256, KeyUsage: kms.KeyUsageTypeGenerateVerifyMac},
	} {
		key := h.createKey(in1)
		h.wantRotation(key.KeyId, 0, time.Time{})
		for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation", "ListKeyRotations", "RotateKeyOnDemand"} {
			_, err := h.invoke(op, in{"KeyId": key.KeyId})
			wantError(t, err, kms.UnsupportedOperationException, "")
		}
	}
}

// TestRotationOfOtherOrigins: the rules for imported material and for custom key stores, whatever
// the state.
func TestRotationOfOtherOrigins(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	for _, origin := range []kms.OriginType{kms.OriginTypeExternal, kms.OriginTypeAwsCloudhsm, kms.OriginTypeExternalKeyStore} {
		refusal := key.Arn + " origin is " + string(origin) + " which is not valid for this operation."
		for _, state := range []kms.KeyState{kms.KeyStateEnabled, kms.KeyStateDisabled, kms.KeyStatePendingDeletion} {
			h.editRecord(key.KeyId, func(r *keystore.KeyRecord) {
				setState(state, h.clock.Now())(r)
				r.Origin = origin
			})
			for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation"} {
				_, err := h.invoke(op, in{"KeyId": key.KeyId})
				wantError(t, err, kms.UnsupportedOperationException, refusal)
			}
			for _, op := range []string{"GetKeyRotationStatus", "ListKeyRotations", "RotateKeyOnDemand"} {
				_, err := h.invoke(op, in{"KeyId": key.KeyId})
				if origin != kms.OriginTypeExternal {
					wantError(t, err, kms.UnsupportedOperationException, refusal)
				} else if op != "RotateKeyOnDemand" && err != nil {
					t.Errorf("%s of an imported key: %v", op, err)
				}
			}
		}
	}
}

// TestRotationStates takes rotation through every state that a record can have.
func TestRotationStates(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId})
	type refusal struct {
		code kms.ErrorCode
		text string
	}
	invalid := func(text string) refusal { return refusal{kms.KMSInvalidStateException, key.Arn + text} }
	noImport := refusal{kms.UnsupportedOperationException, key.Arn + " origin is EXTERNAL which is not valid for this operation."}
	changes := map[kms.KeyState]refusal{
		kms.KeyStateDisabled:               {kms.DisabledException, key.Arn + " is disabled."},
		kms.KeyStatePendingDeletion:        invalid(" is pending deletion."),
		kms.KeyStatePendingReplicaDeletion: invalid(" is pending replica deletion."),
		kms.KeyStatePendingImport:          noImport,
		kms.KeyStateCreating:               invalid(" is creating."),
	}
	onDemand := map[kms.KeyState]refusal{kms.KeyStatePendingImport: invalid(" is pending import.")}
	for state, r := range changes {
		if state != kms.KeyStatePendingImport {
			onDemand[state] = r
		}
	}
	refused := map[string]map[kms.KeyState]refusal{
		"EnableKeyRotation": changes, "DisableKeyRotation": changes, "RotateKeyOnDemand": onDemand,
		"GetKeyRotationStatus": {kms.KeyStatePendingImport: noImport}, "ListKeyRotations": {},
	}
	for op, byState := range refused {
		for _, state := range []kms.KeyState{
			kms.KeyStateEnabled, kms.KeyStateDisabled, kms.KeyStatePendingDeletion, kms.KeyStatePendingReplicaDeletion,
			kms.KeyStatePendingImport, kms.KeyStateCreating, kms.KeyStateUpdating,
		} {
			t.Run(op+" "+string(state), func(t *testing.T) {
				h.editRecord(key.KeyId, func(r *keystore.KeyRecord) {
					setState(state, h.clock.Now())(r)
					r.Origin = kms.OriginTypeAwsKms
					if state == kms.KeyStatePendingImport {
						r.Origin = kms.OriginTypeExternal
					}
				})
				_, err := h.invoke(op, in{"KeyId": key.KeyId})
				if want, no := byState[state]; no {
					wantError(t, err, want.code, want.text)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestRotationOfRelatedKeys: replicas share material and schedule, and cannot change them.
func TestRotationOfRelatedKeys(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(kms.CreateKeyRequest{MultiRegion: true})
	const region = "eu-west-1"
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) { r.MultiRegion.ReplicaRegions = []string{region, "us-west-2"} })
	id := keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: key.KeyId}
	err := h.store.Update(t.Context(), func(tx *keystore.Tx) error {
		primary, err := tx.Key(id)
		if err != nil {
			return err
		}
		replica := primary.Clone()
		replica.Region, replica.MultiRegion.Type = region, kms.MultiRegionKeyTypeReplica
		return tx.CreateKey(replica) // the other Region names one that is gone
	})
	if err != nil {
		t.Fatal(err)
	}
	there := h.call(account)
	there.Region = region
	replica := kms.KeyARN(region, account, key.KeyId).String()
	for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"} {
		_, err := h.invokeAs(there, op, in{"KeyId": key.KeyId})
		wantError(t, err, kms.UnsupportedOperationException, replica+" is not a multi-region primary key.")
	}
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	blob := h.seal(key.KeyId, "on demand")
	h.clock.Advance(90 * day)
	h.runDue(1) // the primary's date; the replica has none of its own
	automatic := h.seal(key.KeyId, "automatic")
	status, err := h.invokeAs(there, "GetKeyRotationStatus", in{"KeyId": key.KeyId})
	if err != nil || *status.(*kms.GetKeyRotationStatusResponse) != h.rotationStatus(key.KeyId) {
		t.Errorf("the replica's status: %+v, %v", status, err)
	}
	for _, s := range []sealed{blob, automatic} {
		got, err := h.invokeAs(there, "Decrypt", in{"CiphertextBlob": s.blob})
		if err != nil || string(got.(*kms.DecryptResponse).Plaintext) != s.plaintext {
			t.Errorf("a ciphertext of the primary in the replica's Region: %v", err)
		}
	}
	back, err := h.invokeAs(there, "Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("from the replica")})
	if err != nil {
		t.Fatal(err)
	}
	h.wantOpen(sealed{"from the replica", back.(*kms.EncryptResponse).CiphertextBlob, automatic.material})
}

// TestRotationThatFails: what could not be done leaves key and date as they were.
func TestRotationThatFails(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	next := h.clock.Now().Add(90 * day)
	now := h.clock.Advance(91 * day)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if done, err := h.service.RunDue(gone, now); err == nil || done != 0 {
		t.Errorf("%d entries were dealt with although nothing could be, %v", done, err)
	}
	h.wantRotation(key.KeyId, 90, next)
	if h.describe(key.KeyId).CurrentKeyMaterialId != key.CurrentKeyMaterialId {
		t.Error("the material changed")
	}
	h.runDue(1)
	h.wantRotation(key.KeyId, 90, now.Add(90*day))
}
