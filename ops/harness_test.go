package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
	"github.com/kms11/kms11/testkit"
)

func TestMain(m *testing.M) { hsmtest.Main(m) }

const (
	testRegion = "us-east-1"
	account    = "111122223333" // whose root user invoke acts as
	stranger   = "444455556666"
)

// harness is a service over a SoftHSM2 token and a bbolt file, with a clock that only a test moves.
type harness struct {
	t       testing.TB
	clock   *testkit.Clock
	domain  *hsm.Domain
	path    string // of the keystore
	engine  *boltengine.Engine
	store   *keystore.Store
	service *Service
	regions map[string]*hsm.Domain // of Regions with tokens of their own: see withTokens

	openToken func(context.Context, string) (*hsm.Token, error) // for rotations of domain keys
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	return newHarnessOn(t, hsmtest.Domain(t))
}

func newHarnessOn(t testing.TB, domain *hsm.Domain) *harness {
	t.Helper()
	h := &harness{
		t:      t,
		clock:  testkit.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
		domain: domain,
		path:   filepath.Join(t.TempDir(), "keystore.db"),
	}
	var err error
	if h.engine, err = boltengine.Create(h.path); err != nil {
		t.Fatal(err)
	}
	if h.store, err = keystore.Create(t.Context(), h.engine, h.domain.Describe(), h.domain); err != nil {
		t.Fatal(err)
	}
	h.service = h.newService()
	t.Cleanup(h.close)
	return h
}

// newService makes one more service over the same store, as another node has one.
func (h *harness) newService() *Service {
	return New(Config{Store: h.store, Domain: h.domain, Regions: h.regions, Account: account, Region: testRegion, Serves: servesRegion, Now: h.clock.Now, OpenToken: h.openToken})
}

func (h *harness) close() {
	if err := h.store.Close(); err != nil {
		h.t.Errorf("close store: %v", err)
	}
	if err := h.engine.Close(); err != nil {
		h.t.Errorf("close engine: %v", err)
	}
}

// restart closes the keystore and opens it again for a new service.
func (h *harness) restart() {
	h.t.Helper()
	h.close()
	var err error
	if h.engine, err = boltengine.Open(h.path); err != nil {
		h.t.Fatal(err)
	}
	if h.store, err = keystore.Open(h.t.Context(), h.engine, h.domain, keystore.Options{}); err != nil {
		h.t.Fatal(err)
	}
	h.service = h.newService()
}

// call is a request of an account's root user.
func (h *harness) call(account string) *Call {
	return &Call{RequestID: "test", Region: testRegion, Caller: RootCaller(kms.PartitionOf(testRegion), account)}
}

// userCall is a request of a user who has these identity policies.
func (h *harness) userCall(account, name string, policies ...string) *Call {
	h.t.Helper()
	caller := &Caller{Principal: policy.Principal{ARN: "arn:aws:iam::" + account + ":user/" + name, Account: account}}
	for _, text := range policies {
		document, err := policy.Parse([]byte(text))
		if err != nil {
			h.t.Fatal(err)
		}
		caller.Policies = append(caller.Policies, document)
	}
	return &Call{RequestID: "test", Region: testRegion, Caller: caller}
}

// addUser keeps a user of an account, as policies that name one want, with identity policies by name.
func (h *harness) addUser(account, name string, policies ...string) {
	h.t.Helper()
	user := &keystore.UserRecord{
		Partition: "aws", Account: account, Name: name, ARN: "arn:aws:iam::" + account + ":user/" + name,
		Created: h.clock.Now(), ID: newUniqueID(userIDPrefix), Identity: keystore.Identity{Policies: rawPolicies(policies...)},
	}
	if err := h.store.Update(h.t.Context(), func(tx *keystore.Tx) error { return tx.CreateUser(user) }); err != nil {
		h.t.Fatal(err)
	}
}

// rawPolicies are policies with the names policy-1 and so on.
func rawPolicies(texts ...string) map[string]json.RawMessage {
	policies := map[string]json.RawMessage{}
	for i, text := range texts {
		policies[fmt.Sprintf("policy-%d", i+1)] = json.RawMessage(text)
	}
	return policies
}

// invoke sends a request of the account's root user through the table of operations. The input is
// a map or a request of package kms.
func (h *harness) invoke(op string, in any) (out any, err error) {
	h.t.Helper()
	return h.invokeAs(h.call(account), op, in)
}

func (h *harness) invokeAs(call *Call, op string, in any) (out kms.Response, err error) {
	h.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		h.t.Fatal(err)
	}
	operation, ok := h.service.Operation(op)
	if !ok {
		h.t.Fatalf("no operation %s", op)
	}
	return operation.Invoke(h.t.Context(), h.service, call, body)
}

// must is invoke for requests that have to succeed.
func (h *harness) must(op string, in any) any {
	h.t.Helper()
	out, err := h.invoke(op, in)
	if err != nil {
		h.t.Fatalf("%s: %v", op, err)
	}
	return out
}

// createKey makes a key; in may be nil for a symmetric one.
func (h *harness) createKey(in any) *kms.KeyMetadata {
	h.t.Helper()
	if in == nil {
		in = kms.CreateKeyRequest{}
	}
	return h.must("CreateKey", in).(*kms.CreateKeyResponse).KeyMetadata
}

// editRecord writes a key's record as no request would.
func (h *harness) editRecord(keyID string, change func(*keystore.KeyRecord)) {
	h.t.Helper()
	id := keystore.KeyID{Partition: kms.PartitionOf(testRegion), Account: account, Region: testRegion, ID: keyID}
	err := h.store.Update(h.t.Context(), func(tx *keystore.Tx) error {
		record, err := tx.Key(id)
		if err != nil {
			return err
		}
		record = record.Clone()
		change(record)
		return tx.PutKey(record)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// wantError fails the test unless err is this code with exactly this message.
func wantError(t testing.TB, err error, code kms.ErrorCode, message string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want %s: %s", code, message)
		return
	}
	if got := kms.AsError(err); got.Code != code || got.Message != message {
		t.Errorf("got  %s: %s (%v)\nwant %s: %s", got.Code, got.Message, got.Cause, code, message)
	}
}

// kept says whether give gives the same twice. What the store's change feed still has to tell of an
// earlier change may make it anew, but not each time.
func kept[T comparable](give func() T) bool {
	for range 10 {
		if first := give(); give() == first {
			return true
		}
	}
	return false
}
