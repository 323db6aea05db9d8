package ops

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// auditedHarness is a harness whose service keeps a trail.
type auditedHarness struct {
	*harness
	dir   string
	trail *audit.Trail
	key   *AuditKey
}

func newAudited(t testing.TB) *auditedHarness {
	t.Helper()
	h := &auditedHarness{harness: newHarness(t), dir: t.TempDir()}
	h.openTrail()
	t.Cleanup(h.closeTrail)
	return h
}

func (h *auditedHarness) openTrail() {
	h.t.Helper()
	var err error
	if h.key, err = OpenAuditKey(h.t.Context(), h.store, h.domain); err != nil {
		h.t.Fatal(err)
	}
	h.trail, err = audit.Open(audit.Config{Dir: h.dir, Signer: h.key, Anchor: h.key.Anchor(), OnDigest: h.key.Keep, Account: account, Region: testRegion})
	if err != nil {
		h.t.Fatal(err)
	}
	h.service = New(Config{Store: h.store, Domain: h.domain, Account: account, Region: testRegion, Serves: servesRegion, Now: h.clock.Now, Audit: h.trail})
}

func (h *auditedHarness) closeTrail() {
	h.t.Helper()
	if err := h.trail.Close(); err != nil && !errors.Is(err, audit.ErrClosed) {
		h.t.Error(err)
	}
}

// request is what the protocol's handler does with a request, but for the answer.
func (h *auditedHarness) request(op string, in any) (*Call, any, error) {
	h.t.Helper()
	call := h.service.Begin("request-of-"+op, Origin{SourceIP: "192.0.2.1", UserAgent: "test"})
	call.Region, call.Caller, call.Operation = testRegion, RootCaller("aws", account), op
	out, err := h.invokeAs(call, op, in)
	if recorded := h.service.Conclude(call, out, err); recorded != nil {
		h.t.Fatal(recorded)
	}
	return call, out, err
}

// record is a record of the trail as far as tests look at it.
type record struct {
	EventID, EventName, EventSource, EventType, ErrorCode, RequestID, AWSRegion, RecipientAccountID string
	ReadOnly                                                                                        bool
	UserIdentity                                                                                    map[string]any
	RequestParameters, ResponseElements, AdditionalEventData                                        map[string]any
	ServiceEventDetails                                                                             map[string]any
	Resources                                                                                       []struct{ ARN, AccountID, Type string }
}

// records are those about keys.
func (h *auditedHarness) records() []record {
	h.t.Helper()
	return slices.DeleteFunc(h.told(), func(r record) bool { return r.EventSource != audit.SourceKMS })
}

func (h *auditedHarness) last() record {
	h.t.Helper()
	all := h.records()
	return all[len(all)-1]
}

func (h *auditedHarness) outboxIDs() []string {
	h.t.Helper()
	ids, _, err := h.store.ScanOutbox(h.t.Context(), "", 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return ids
}

func TestEventOfARequest(t *testing.T) {
	h := newAudited(t)
	_, out, err := h.request("CreateKey", in{"Description": "d", "Tags": []in{{"TagKey": "k", "TagValue": "v"}}})
	if err != nil {
		t.Fatal(err)
	}
	made := out.(*kms.CreateKeyResponse).KeyMetadata
	r := h.last()
	if r.EventName != "CreateKey" || r.ReadOnly || r.ErrorCode != "" || r.RequestID != "request-of-CreateKey" || len(r.Resources) != 1 || r.Resources[0].ARN != made.Arn ||
		r.ResponseElements["keyMetadata"].(map[string]any)["keyId"] != made.KeyId || r.RequestParameters["description"] != "d" || r.UserIdentity["type"] != "Root" {
		t.Errorf("CreateKey: %+v", r)
	}
	call, out, err := h.request("Encrypt", in{"KeyId": made.KeyId, "Plaintext": []byte("secret"), "EncryptionContext": in{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	r = h.last()
	if r.EventName != "Encrypt" || !r.ReadOnly || r.ResponseElements != nil || r.EventID != call.EventID || r.AdditionalEventData["keyMaterialId"] != made.CurrentKeyMaterialId ||
		r.RequestParameters["encryptionContext"].(map[string]any)["a"] != "b" || r.RequestParameters["encryptionAlgorithm"] != "SYMMETRIC_DEFAULT" {
		t.Errorf("Encrypt: %+v", r)
	}
	used := h.lastUsage(made.KeyId).KeyLastUsage
	if used == nil || used.CloudTrailEventId != call.EventID {
		t.Errorf("GetKeyLastUsage says %+v, the event is %s", used, call.EventID)
	}
	h.writeLastUses()
	if used := h.node().lastUsage(made.KeyId).KeyLastUsage; used == nil || used.CloudTrailEventId != call.EventID {
		t.Errorf("from the store GetKeyLastUsage says %+v", used)
	}
	if _, _, err = h.request("Decrypt", in{"CiphertextBlob": out.(*kms.EncryptResponse).CiphertextBlob}); !errors.Is(err, kms.InvalidCiphertextException) {
		t.Fatal(err)
	}
	if r = h.last(); r.ErrorCode != "InvalidCiphertextException" || len(r.Resources) != 1 || r.AdditionalEventData != nil {
		t.Errorf("Decrypt that fails: %+v", r)
	}
	if _, _, err = h.request("Encrypt", in{"KeyId": 7}); err == nil {
		t.Fatal("it was decoded")
	}
	if r = h.last(); r.ErrorCode != "SerializationException" || r.EventName != "Encrypt" || r.RequestParameters != nil {
		t.Errorf("a malformed request: %+v", r)
	}
	if _, _, err = h.request("DisableKey", in{"KeyId": made.KeyId}); err != nil {
		t.Fatal(err)
	}
	if r = h.last(); r.ResponseElements["keyId"] != made.Arn { // CloudTrail's, since December 2022
		t.Errorf("DisableKey: %+v", r)
	}
	if _, _, err = h.request("CreateGrant", in{"KeyId": made.KeyId, "GranteePrincipal": "arn:aws:iam::111122223333:root", "Operations": []string{"Decrypt"}}); !errors.Is(err, kms.DisabledException) {
		t.Fatal(err)
	}
	if _, _, err = h.request("EnableKey", in{"KeyId": made.KeyId}); err != nil {
		t.Fatal(err)
	}
	if _, out, err = h.request("CreateGrant", in{"KeyId": made.KeyId, "GranteePrincipal": "arn:aws:iam::111122223333:root", "Operations": []string{"Decrypt"}}); err != nil {
		t.Fatal(err)
	}
	if r = h.last(); r.ResponseElements["keyId"] != made.Arn || r.ResponseElements["grantId"] != out.(*kms.CreateGrantResponse).GrantId || len(r.ResponseElements) != 2 {
		t.Errorf("CreateGrant: %+v", r)
	}
}

// TestOutbox: a mutation's event is in the store until it is in the trail, and once in the trail
// whatever a crash left of the two.
func TestOutbox(t *testing.T) {
	h := newAudited(t)
	key := h.createKeyAudited()
	if ids := h.outboxIDs(); len(ids) != 1 || ids[0] != h.last().EventID {
		t.Errorf("outbox: %v", ids)
	}
	h.service.emptyOutbox(t.Context())
	if ids := h.outboxIDs(); len(ids) != 0 {
		t.Errorf("outbox: %v", ids)
	}
	// Nothing was changed: nothing is in the store.
	if _, _, err := h.request("Encrypt", in{"KeyId": key, "Plaintext": []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.request("CreateAlias", in{"AliasName": "bad", "TargetKeyId": key}); err == nil {
		t.Fatal("a bad alias was made")
	}
	if ids := h.outboxIDs(); len(ids) != 0 {
		t.Errorf("outbox: %v", ids)
	}

	// A crash before the trail has the event, and one after.
	call := h.service.Begin("lost", Origin{})
	call.Region, call.Caller = testRegion, RootCaller("aws", account)
	if _, err := h.invokeAs(call, "DisableKey", in{"KeyId": key}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.request("EnableKey", in{"KeyId": key}); err != nil {
		t.Fatal(err)
	}
	before := len(h.records())
	if ids := h.outboxIDs(); len(ids) != 2 {
		t.Fatalf("outbox: %v", ids)
	}
	h.closeTrail()
	h.openTrail()
	for range 2 { // a second time nothing is left to do
		if err := h.service.RecoverAudit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all := h.records()
	r := all[len(all)-1]
	if len(all) != before+1 || r.EventName != "DisableKey" || r.RequestID != "lost" || r.EventID != call.EventID || r.AdditionalEventData["copiedFromKeystore"] != true {
		t.Errorf("%d records, then %d: %+v", before, len(all), r)
	}
	if ids := h.outboxIDs(); len(ids) != 0 {
		t.Errorf("outbox: %v", ids)
	}
	h.eachOnce(all)
}

func (h *auditedHarness) createKeyAudited() string {
	h.t.Helper()
	_, out, err := h.request("CreateKey", in{})
	if err != nil {
		h.t.Fatal(err)
	}
	return out.(*kms.CreateKeyResponse).KeyMetadata.KeyId
}

func (h *auditedHarness) eachOnce(all []record) {
	h.t.Helper()
	seen := map[string]bool{}
	for _, r := range all {
		if seen[r.EventID] {
			h.t.Errorf("event %s is there twice", r.EventID)
		}
		seen[r.EventID] = true
	}
}

// TestOutboxOwed: a mutation whose event the trail did not take is told of when it takes events
// again, without a restart.
func TestOutboxOwed(t *testing.T) {
	h := newAudited(t)
	key := h.createKeyAudited()
	call := h.service.Begin("owed", Origin{})
	call.Region, call.Caller = testRegion, RootCaller("aws", account)
	if _, err := h.invokeAs(call, "DisableKey", in{"KeyId": key}); err != nil {
		t.Fatal(err)
	}
	h.service.outbox.settle(call.EventID, false)
	h.service.emptyOutbox(t.Context())
	if r := h.last(); r.RequestID != "owed" || r.EventName != "DisableKey" {
		t.Errorf("the last record: %+v", r)
	}
	if ids := h.outboxIDs(); len(ids) != 0 {
		t.Errorf("outbox: %v", ids)
	}
	h.eachOnce(h.records())
}

// TestServiceEvents: what the scheduler does has an event under CloudTrail's name.
func TestServiceEvents(t *testing.T) {
	h := newAudited(t)
	key := h.createKeyAudited()
	if _, _, err := h.request("EnableKeyRotation", in{"KeyId": key, "RotationPeriodInDays": 90}); err != nil {
		t.Fatal(err)
	}
	h.clock.Advance(90 * day)
	h.runDue(1)
	arn := kms.KeyARN(testRegion, account, key).String()
	r := h.last()
	if r.EventName != "RotateKey" || r.EventType != "AwsServiceEvent" || r.UserIdentity["invokedBy"] != "AWS Internal" || r.RequestID != "" ||
		len(r.Resources) != 1 || r.Resources[0].ARN != arn || r.ServiceEventDetails["rotationType"] != "AUTOMATIC" || r.AWSRegion != testRegion {
		t.Errorf("rotation: %+v", r)
	}
	if _, _, err := h.request("ScheduleKeyDeletion", in{"KeyId": key, "PendingWindowInDays": 7}); err != nil {
		t.Fatal(err)
	}
	h.clock.Advance(7 * day)
	h.runDue(1)
	if r := h.last(); r.EventName != "DeleteKey" || r.EventType != "AwsServiceEvent" || r.ReadOnly || len(r.Resources) != 1 || r.Resources[0].ARN != arn || r.ResponseElements["keyId"] != arn {
		t.Errorf("deletion: %+v", r)
	}

	// Imported material that expires; whose it is does not matter here.
	other := h.createKeyAudited()
	h.editRecord(other, func(r *keystore.KeyRecord) {
		r.Origin = kms.OriginTypeExternal
		r.Materials[0].ExpirationModel = kms.ExpirationModelTypeKeyMaterialExpires
		r.Materials[0].ValidTo = h.clock.Now().Add(time.Hour)
	})
	h.clock.Advance(2 * time.Hour)
	h.runDue(1)
	if r := h.last(); r.EventName != "DeleteExpiredKeyMaterial" || r.EventType != "AwsServiceEvent" || len(r.Resources) != 1 || !strings.HasSuffix(r.Resources[0].ARN, other) {
		t.Errorf("expiry: %+v", r)
	}
	h.service.emptyOutbox(t.Context())
	if ids := h.outboxIDs(); len(ids) != 0 {
		t.Errorf("outbox: %v", ids)
	}
}

// TestUnauditable: while the trail cannot be written nothing is done that it would have to tell of.
func TestUnauditable(t *testing.T) {
	h := newAudited(t)
	h.closeTrail()
	if err := h.service.Auditable(); err == nil {
		t.Error("a closed trail takes events")
	}
	if _, err := h.service.RunDue(t.Context(), h.clock.Now()); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("the scheduler: %v", err)
	}
	call := h.service.Begin("r", Origin{})
	if err := h.service.Conclude(call, nil, nil); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestUnknownCaller: a request that nobody answers for is recorded without an identity.
func TestUnknownCaller(t *testing.T) {
	h := newAudited(t)
	call := h.service.Begin("r", Origin{SourceIP: "192.0.2.1"})
	call.Operation, call.Claimed = "Decrypt", `AKIA"`
	if err := h.service.Conclude(call, nil, kms.Errorf(kms.UnrecognizedClientException, "The security token included in the request is invalid.")); err != nil {
		t.Fatal(err)
	}
	r := h.last()
	if r.UserIdentity["type"] != "Unknown" || len(r.UserIdentity) != 1 || r.ErrorCode != "UnrecognizedClientException" || r.AdditionalEventData["claimedAccessKeyId"] != `AKIA"` || r.AWSRegion != testRegion {
		t.Errorf("%+v", r)
	}
}

// TestAuditKey: the key is made once and verifies what it signs; the trail verifies with it alone.
func TestAuditKey(t *testing.T) {
	h := newAudited(t)
	h.createKeyAudited()
	h.closeTrail()
	again, err := OpenAuditKey(t.Context(), h.store, h.domain)
	if err != nil || !again.Public().Equal(h.key.Public()) {
		t.Fatalf("another key, %v", err)
	}
	if anchor := again.Anchor(); anchor == nil || anchor.Digest != 1 || anchor.Sequence != 3 {
		t.Errorf("the keystore knows of %+v", anchor)
	}
	report, err := audit.Verify(h.dir, audit.VerifyOptions{})
	if err != nil || len(report.Findings) != 0 || report.Covered != 3 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestEveryMutationHasItsEvent holds the code to it: a change of the store for a request goes
// through Service.update. The files below change the store without an event, each for a reason.
func TestEveryMutationHasItsEvent(t *testing.T) {
	without := map[string]string{
		"audit.go":             "it is update itself",
		"auditkey.go":          "the trail's own record",
		"auditoutbox.go":       "events that are in the trail leave the store",
		"connect.go":           "states of connections, which follow a request that has its event",
		"connectvault.go":      "logins that were tried, for the same",
		"createstored.go":      "it only reads",
		"customstorecreate.go": "it only reads, but for the transaction of the request",
		"domainrotation.go":    "the description of a domain: the command has an event, see RecordRotation",
		"domainrotationend.go": "a due entry of a rotation that has ended",
		"erase.go":             "due entries that are done with, after their event",
		"granterase.go":        "grants of a key whose deletion has an event",
		"iamlist.go":           "it only reads",
		"identity.go":          "the administrator that is made with the keystore",
		"lastusagewrite.go":    "uses, which have events of their own",
		"rotationmaterial.go":  "a due entry that no record calls for",
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	update := regexp.MustCompile(`store\.Update\(`)
	var found []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") || !update.Match(text) {
			continue
		}
		found = append(found, file)
		if without[file] == "" {
			t.Errorf("%s changes the store by store.Update: use Service.update, so that the change has its audit event, or say here why it has none", file)
		}
	}
	if len(found) != len(without) {
		slices.Sort(found)
		t.Errorf("files that change the store without an event: %v", found)
	}
}
