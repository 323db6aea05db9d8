package ops

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// trackedOperations is the enum KeyLastUsageTrackingOperation of the API model.
var trackedOperations = strings.Fields(`Decapsulate Decrypt DeriveSharedSecret Encapsulate Encrypt GenerateDataKey GenerateDataKeyPair
	GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac ReEncrypt Sign Verify VerifyMac`)

func (h *harness) lastUsage(keyID string) *kms.GetKeyLastUsageResponse {
	h.t.Helper()
	return h.must("GetKeyLastUsage", in{"KeyId": keyID}).(*kms.GetKeyLastUsageResponse)
}

// node is the harness with a service of its own over the same store.
func (h *harness) node() *harness {
	node := *h
	node.service = h.newService()
	return &node
}

// requestID is the id of requests that use keys; it differs from that of all others.
const requestID = "00000000-0000-4000-8000-000000000001"

// use uses a key in a request of the account's root user.
func (h *harness) use(op string, request any) error {
	h.t.Helper()
	call := h.call(account)
	call.RequestID = requestID
	_, err := h.invokeAs(call, op, request)
	return err
}

func (h *harness) encryptAt(at time.Duration, keyID string) time.Time {
	h.t.Helper()
	now := h.clock.Advance(at)
	if err := h.use("Encrypt", in{"KeyId": keyID, "Plaintext": []byte("x")}); err != nil {
		h.t.Fatal(err)
	}
	return now
}

func (h *harness) writeLastUses() {
	h.t.Helper()
	if err := h.service.WriteLastUses(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// wantLastUse wants a key to have been used last at a time, the zero time for never.
func (h *harness) wantLastUse(keyID, op string, at time.Time) {
	h.t.Helper()
	got := h.lastUsage(keyID).KeyLastUsage
	if at.IsZero() {
		if got != nil {
			h.t.Errorf("the key was last used by %+v, want never", *got)
		}
		return
	}
	want := kms.KeyLastUsageData{Operation: kms.KeyLastUsageTrackingOperation(op), Timestamp: kms.TimestampOf(at), KmsRequestId: requestID}
	if got == nil || *got != want {
		h.t.Errorf("the key was last used by %+v, want %+v", got, want)
	}
}

// cryptoKeys are the keys that the uses need.
func cryptoKeys(t *testing.T) *keyring {
	t.Helper()
	k := &keyring{harness: newHarness(t), keys: map[kind]*kms.KeyMetadata{}}
	for _, of := range []kind{{symmetricDefault, encryptDecrypt}, {"RSA_2048", encryptDecrypt}, {"ECC_NIST_P256", signVerify},
		{"HMAC_256", generateVerify}, {"ECC_NIST_P256", keyAgreement}, {"ML_KEM_768", encapsulate}} {
		if of.usage == encapsulate && !hsmtest.Has(hsmtest.MLKEM) {
			continue
		}
		k.keys[of] = k.createKey(in{"KeySpec": of.spec, "KeyUsage": of.usage})
	}
	return k
}

// TestLastUsageOfOperations: a success of each tracked operation is a use of its keys. A dry run, a
// failure and any other operation is none.
func TestLastUsageOfOperations(t *testing.T) {
	k := cryptoKeys(t)
	var seen []string
	for _, u := range k.uses() {
		keys := []*kms.KeyMetadata{u.key}
		if u.other != nil {
			keys = append(keys, u.other)
		}
		before := k.lastUsage(u.key.KeyId).KeyLastUsage
		now := k.clock.Advance(time.Second)
		if slices.Contains(dryRuns(), u.op) {
			err := k.use(u.op, u.but("DryRun", true))
			wantError(t, err, kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set.")
		}
		if slices.Contains(trackedOperations, u.op) {
			k.editRecord(u.key.KeyId, func(r *keystore.KeyRecord) { r.State = kms.KeyStateDisabled })
			if err := k.use(u.op, u.request); !errors.Is(err, kms.DisabledException) {
				t.Errorf("%s with a disabled key: %v", u.name, err)
			}
			k.editRecord(u.key.KeyId, func(r *keystore.KeyRecord) { r.State = kms.KeyStateEnabled })
		}
		if after := k.lastUsage(u.key.KeyId).KeyLastUsage; (before == nil) != (after == nil) || before != nil && *before != *after {
			t.Errorf("%s that did not happen changed the last use to %+v", u.name, after)
		}
		if err := k.use(u.op, u.request); err != nil {
			t.Fatalf("%s: %v", u.name, err)
		}
		if slices.Contains(trackedOperations, u.op) {
			for _, key := range keys {
				k.wantLastUse(key.KeyId, u.op, now)
			}
			seen = append(seen, u.op)
		} else if after := k.lastUsage(u.key.KeyId).KeyLastUsage; before != nil && *before != *after {
			t.Errorf("%s counts as a use", u.name)
		}
		if u.op == "EnableKey" {
			break // what follows disables the key
		}
	}
	slices.Sort(seen)
	want := slices.Clone(trackedOperations)
	if !hsmtest.Has(hsmtest.MLKEM) { // no request for these succeeds
		want = slices.DeleteFunc(want, func(op string) bool { return op == "Encapsulate" || op == "Decapsulate" })
	}
	if seen = slices.Compact(seen); !slices.Equal(seen, want) {
		t.Errorf("uses by %v", seen)
	}
}

// TestLastUsageOfRefusal: what the token refuses is no use either.
func TestLastUsageOfRefusal(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(in{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"})
	err := h.use("VerifyMac", in{"KeyId": key.KeyId, "Message": []byte("m"), "MacAlgorithm": "HMAC_SHA_256", "Mac": make([]byte, 32)})
	if !errors.Is(err, kms.KMSInvalidMacException) {
		t.Fatal(err)
	}
	h.wantLastUse(key.KeyId, "", time.Time{})
}

func TestGetKeyLastUsage(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	got := h.lastUsage(key.Arn)
	// The clock of the tests is behind the one by which the store was made.
	want := kms.GetKeyLastUsageResponse{KeyId: key.KeyId, KeyCreationDate: key.CreationDate, TrackingStartDate: kms.TimestampOf(h.store.Created())}
	if *got != want {
		t.Errorf("of an unused key it says %+v, want %+v", got, want)
	}
	h.clock.Advance(h.store.Created().Sub(h.clock.Now()) + time.Hour)
	later := h.createKey(nil)
	if got := h.lastUsage(later.KeyId); got.TrackingStartDate != later.CreationDate {
		t.Errorf("of a later key it says %+v", got)
	}

	// It answers in every state.
	now := h.encryptAt(time.Second, key.KeyId)
	h.must("DisableKey", in{"KeyId": key.KeyId})
	h.wantLastUse(key.KeyId, "Encrypt", now)
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId})
	h.wantLastUse(key.KeyId, "Encrypt", now)
}

func TestGetKeyLastUsageErrors(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/a", "TargetKeyId": key.KeyId})
	request := in{"KeyId": key.Arn}
	ask := func(call *Call) error { _, err := h.invokeAs(call, "GetKeyLastUsage", request); return err }

	who := "User: arn:aws:iam::" + account + ":user/u is not authorized to perform: kms:GetKeyLastUsage on resource: " + key.Arn
	wantError(t, ask(h.userCall(account, "u")), kms.AccessDeniedException, who+" because no identity-based policy allows the kms:GetKeyLastUsage action")
	allow := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:GetKeyLastUsage","Resource":"*"}}`
	if err := ask(h.userCall(account, "u", allow)); err != nil {
		t.Error(err)
	}
	wantError(t, ask(h.call(stranger)), kms.AccessDeniedException, unseen(h.call(stranger).Caller.Principal, "kms:GetKeyLastUsage").(*kms.Error).Message)

	for _, id := range []string{ghostKey, "alias/a", "arn:aws:kms:us-east-1:nobody"} {
		_, want := h.invoke("GetKeyPolicy", in{"KeyId": id}) // which takes the same
		_, err := h.invoke("GetKeyLastUsage", in{"KeyId": id})
		wantError(t, err, kms.AsError(want).Code, kms.AsError(want).Message)
	}
	_, err := h.invoke("GetKeyLastUsage", in{"KeyId": ghostKey})
	wantError(t, err, kms.NotFoundException, fmt.Sprintf("Key '%s' does not exist", strings.Replace(key.Arn, key.KeyId, ghostKey, 1)))
}

// TestLastUsageOfRelatedKeys: each Region of a multi-Region key has its own.
func TestLastUsageOfRelatedKeys(t *testing.T) {
	h := newHarness(t)
	key := h.multiKey(nil, ireland)
	blob := h.at(ireland).encrypt(key.KeyId, "x")
	h.wantLastUse(key.KeyId, "", time.Time{})
	h.writeLastUses()
	h.wantLastUse(key.KeyId, "", time.Time{})
	abroad := h.at(ireland).get("GetKeyLastUsage", in{"KeyId": key.KeyId}).(*kms.GetKeyLastUsageResponse)
	if abroad.KeyLastUsage == nil || abroad.KeyLastUsage.Operation != "Encrypt" {
		t.Errorf("in %s it says %+v", ireland, abroad)
	}
	now := h.clock.Advance(time.Second)
	if err := h.use("Decrypt", in{"CiphertextBlob": blob}); err != nil {
		t.Fatal(err)
	}
	h.wantLastUse(key.KeyId, "Decrypt", now)
}

// TestLastUsageOfDeletedKey: the record goes with the key, and a replica that is made again under
// the old id has not been used.
func TestLastUsageOfDeletedKey(t *testing.T) {
	h := newHarness(t)
	other := h.node()
	key := h.createKey(nil)
	id := keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: key.KeyId}
	used := h.encryptAt(time.Second, key.KeyId)
	other.encryptAt(time.Second, key.KeyId)
	h.writeLastUses()
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	h.clock.Advance(7 * day)
	h.runDue(1)
	other.writeLastUses()
	if _, err := h.store.LastUsage(t.Context(), id); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("the last use of a deleted key: %v", err)
	}

	made := h.createKey(nil)
	id.ID = made.KeyId
	h.service.lastUses.note(id, lastUse{operation: "Sign", at: used, requestID: requestID})
	h.wantLastUse(made.KeyId, "", time.Time{})
	h.writeLastUses()
	h.wantLastUse(made.KeyId, "", time.Time{})
}
