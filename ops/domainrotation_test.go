package ops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
	"github.com/kms11/kms11/kms"
)

// rotateDomain begins a rotation and brings it to where it waits.
func (h *harness) rotateDomain(request RotationRequest) {
	h.t.Helper()
	if _, err := h.service.RotateDomain(h.t.Context(), request); err != nil {
		h.t.Fatal(err)
	}
	d, err := h.service.domainFor(request.Region)
	if err != nil {
		h.t.Fatal(err)
	}
	h.advance(d, kms.RotationWaiting)
}

// advance does what a rotation calls for now, after which it has to be in a phase.
func (h *harness) advance(d *hsm.Domain, want kms.RotationPhase) {
	h.t.Helper()
	if err := h.service.advanceRotation(h.t.Context(), d); err != nil {
		h.t.Fatal(err)
	}
	h.wantPhase(d, want)
}

func (h *harness) wantPhase(d *hsm.Domain, want kms.RotationPhase) {
	h.t.Helper()
	description, err := h.service.described(h.t.Context(), d)
	if err != nil {
		h.t.Fatal(err)
	}
	got := kms.RotationPhase("")
	if description.Rotation != nil {
		got = description.Rotation.Phase
	}
	if got != want {
		h.t.Fatalf("the rotation is in the phase %q, not %q: %+v", got, want, h.service.rotations.progressOf(d.ID()))
	}
}

// retire lets the old keys' time pass.
func (h *harness) retire(d *hsm.Domain) {
	h.t.Helper()
	h.clock.Advance(oldKeysServe)
	if _, err := h.service.RunDue(h.t.Context(), h.clock.Now()); err != nil {
		h.t.Fatal(err)
	}
	h.wantPhase(d, "")
}

// reopen is a restart of the whole: the domain is found anew by what the header says.
func (h *harness) reopen(tokens ...*hsm.Token) {
	h.t.Helper()
	h.close()
	var err error
	if h.engine, err = boltengine.Open(h.path); err != nil {
		h.t.Fatal(err)
	}
	header, err := keystore.ReadHeader(h.t.Context(), h.engine)
	if err != nil {
		h.t.Fatal(err)
	}
	domain, err := hsm.OpenDomain(h.t.Context(), tokens, header.Domain)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = domain.Close() })
	h.domain = domain
	if h.store, err = keystore.Open(h.t.Context(), h.engine, domain, keystore.Options{}); err != nil {
		h.t.Fatal(err)
	}
	h.service = h.newService()
}

// wantKeys wants a token to hold these versions of each key of a domain, and nothing else of it but
// resident keys.
func wantKeys(t testing.TB, token *hsm.Token, domain string, want ...uint32) {
	t.Helper()
	objects, err := hsm.DomainObjects(t.Context(), token, domain)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, o := range objects {
		if o.Role != "resident" {
			got[fmt.Sprintf("%s %d", o.Role, o.Version)]++
		}
	}
	wanted := 0
	for _, v := range want {
		for _, role := range []kms.DomainKeyRole{kms.RoleWrap, kms.RoleRecord, kms.RoleSeal} {
			wanted++
			if got[fmt.Sprintf("%s %d", role, v)] != 1 {
				t.Errorf("the token does not hold %s key %d once: %v", role, v, got)
			}
		}
	}
	if len(got) != wanted {
		t.Errorf("the token holds %v, not the versions %v", got, want)
	}
}

// wantNewest wants every blob in the store to be under the newest domain key and every record by the newest
// record key.
func (h *harness) wantNewest(d *hsm.Domain) {
	h.t.Helper()
	blobs := 0
	err := h.store.Secrets(h.t.Context(), func(secrets keystore.Secrets) {
		for _, m := range secrets.Materials {
			if len(m.Blob) > 0 && h.service.isOf(d, m) {
				blobs++
				if m.DomainKey != d.WrappingVersion() {
					h.t.Errorf("a material of key %s is under domain key %d", secrets.KeyID, m.DomainKey)
				}
			}
		}
		for _, sealed := range secrets.Sealed {
			if d == h.domain && hsm.SealVersion(*sealed.Value) != d.SealingVersion() {
				h.t.Errorf("%s %s is sealed by key %d", sealed.Kind, sealed.Of, hsm.SealVersion(*sealed.Value))
			}
		}
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if blobs == 0 {
		h.t.Error("there is no blob in the store")
	}
}

// TestDomainRotation rotates the keys of a domain with keys of every kind, which work before, during and
// after it, also for what was made before; what was handed out before is good for a day; then the old keys are
// gone, and old copies of the store with them.
func TestDomainRotation(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC) // the transfer key goes through the rotation too
	token := hsmtest.Token(t)
	h := newHarnessOn(t, hsmtest.Domain(t, token))
	if err := h.domain.MakeTransferKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.store1(func(tx *keystore.Tx) error { return tx.SetDomain(h.domain.Describe()) })
	transfer := h.domain.Describe().Transfer.ID
	use := h.oneKeyOfEachKind()
	useAll := func(when string) {
		t.Helper()
		for i, u := range use {
			u(t)
			if t.Failed() {
				t.Fatalf("%s: kind %d", when, i)
			}
		}
	}
	here := h.at(testRegion)
	key := h.createKey(nil)
	blob := here.encrypt(key.KeyId, "text")
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	waiting, imported := h.external(nil), h.external(nil)
	here.mustBring(imported.KeyId, randomMaterial(32), nil)
	importedBlob := here.encrypt(imported.KeyId, "imported")
	late := h.external(nil)
	h.users(account, "alice")
	granted := h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": "arn:aws:iam::" + account + ":user/alice", "Operations": []string{"Decrypt"}})
	admin, err := h.service.CreateAdministrator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A key that is deleted before the rotation: after it nothing can bring it back.
	deleted := h.createKey(nil)
	deletedRecord := here.record(deleted.KeyId).Clone()
	h.must("ScheduleKeyDeletion", in{"KeyId": deleted.KeyId, "PendingWindowInDays": 7})
	h.clock.Advance(8 * day)
	h.runDue(1)
	parameters := here.parameters(waiting.KeyId, "RSAES_OAEP_SHA_256", "RSA_2048")
	lateParameters := here.parameters(late.KeyId, "RSAES_OAEP_SHA_256", "RSA_2048")

	useAll("before")
	backup := filepath.Join(t.TempDir(), "backup.db")
	place := "aws/" + account + "/" + testRegion + "/key/" + key.KeyId
	oldRecord := h.raw(place)
	h.copyStore(backup)

	if _, err := h.service.RotateDomain(t.Context(), RotationRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.service.RotateDomain(t.Context(), RotationRequest{}); !errors.Is(err, ErrRotation) {
		t.Errorf("a second rotation meanwhile: %v", err)
	}
	useAll("making")
	if err := h.service.makeKeys(t.Context(), h.domain); err != nil {
		t.Fatal(err)
	}
	h.wantPhase(h.domain, kms.RotationWrapping)
	useAll("wrapping")
	fresh := h.createKey(nil)
	if m := here.record(fresh.KeyId).CurrentMaterial(); m.DomainKey != 2 {
		t.Errorf("a key made while both versions are there is under domain key %d", m.DomainKey)
	}
	here.wantOpens(key.KeyId, blob, "text")
	h.advance(h.domain, kms.RotationWaiting)
	h.wantNewest(h.domain)
	useAll("waiting")
	h.reopen(token)
	useAll("waiting, after a restart")
	if h.signedBy(admin); h.domain.Describe().Transfer.ID == transfer || h.domain.Describe().Transfer.DomainKey != 2 {
		t.Error("the transfer key is the old one")
	}
	if _, err := here.try("ImportKeyMaterial", here.wrapped(parameters, waiting.KeyId, "RSAES_OAEP_SHA_256", randomMaterial(32), nil)); err != nil {
		t.Errorf("an import token from before: %v", err)
	}
	if m := here.record(waiting.KeyId).CurrentMaterial(); m.DomainKey != 2 {
		t.Errorf("what was imported by a pair from before is under domain key %d", m.DomainKey)
	}
	alice := h.userCall(account, "alice")
	decrypt := in{"KeyId": key.KeyId, "CiphertextBlob": blob, "GrantTokens": []string{granted.GrantToken}}
	if _, err := h.invokeAs(alice, "Decrypt", decrypt); err != nil {
		t.Errorf("a grant token from before: %v", err)
	}
	// A day less a bit is not enough.
	h.clock.Advance(oldKeysServe - time.Second)
	if _, err := h.service.RunDue(t.Context(), h.clock.Now()); err != nil {
		t.Fatal(err)
	}
	h.wantPhase(h.domain, kms.RotationWaiting)
	wantKeys(t, token, h.domain.ID(), 1, 2)

	h.clock.Advance(time.Second)
	if _, err := h.service.RunDue(t.Context(), h.clock.Now()); err != nil {
		t.Fatal(err)
	}
	h.wantPhase(h.domain, "")
	wantKeys(t, token, h.domain.ID(), 2)
	useAll("after")
	h.reopen(token)
	useAll("after, and a restart")
	here = h.at(testRegion)
	here.wantOpens(key.KeyId, blob, "text")
	here.wantOpens(imported.KeyId, importedBlob, "imported")
	h.signedBy(admin)
	_, err = h.invokeAs(alice, "Decrypt", decrypt)
	wantError(t, err, kms.InvalidGrantTokenException, "The grant token is not valid.")
	delete(decrypt, "GrantTokens")
	if _, err := h.invokeAs(alice, "Decrypt", decrypt); err != nil {
		t.Errorf("the grant itself: %v", err)
	}
	_, err = here.try("ImportKeyMaterial", here.wrapped(lateParameters, late.KeyId, "RSAES_OAEP_SHA_256", randomMaterial(32), nil))
	if got := kms.AsError(err); got.Code != kms.InvalidImportTokenException && got.Code != kms.ExpiredImportTokenException {
		t.Errorf("an import token by the old keys: %v", err)
	}

	// The key that was deleted: its blob is worth nothing any more.
	if _, err := h.domain.Encrypt(t.Context(), &deletedRecord.Materials[0].Material, nil, []byte("x")); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("the blob of a deleted key: %v", err)
	}
	// A record by the old record key that is put back.
	h.putRaw(place, oldRecord)
	h.reopen(token) // not from a cache
	if _, err := h.invoke("DescribeKey", in{"KeyId": key.KeyId}); err == nil || !errors.Is(kms.AsError(err).Cause, keystore.ErrTampered) && !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("an old record put back: %v", err)
	}
	// The whole old store.
	old, err := boltengine.Open(backup)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	header, err := keystore.ReadHeader(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, header.Domain); !errors.Is(err, hsm.ErrWrongToken) {
		_ = d.Close()
		t.Errorf("the store from before the rotation opens: %v", err)
	}
}

func (h *harness) raw(place string) (raw []byte) {
	h.t.Helper()
	err := h.engine.View(h.t.Context(), func(tx keystore.EngineTx) error {
		b, err := tx.Get([]byte(place))
		raw = bytes.Clone(b)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return raw
}

func (h *harness) putRaw(place string, raw []byte) {
	h.t.Helper()
	if err := h.engine.Update(h.t.Context(), func(tx keystore.EngineTx) error { return tx.Put([]byte(place), raw) }); err != nil {
		h.t.Fatal(err)
	}
}

// copyStore copies the keystore's file between two runs.
func (h *harness) copyStore(to string) {
	h.t.Helper()
	h.close()
	data, err := os.ReadFile(h.path)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	if h.engine, err = boltengine.Open(h.path); err != nil {
		h.t.Fatal(err)
	}
	if h.store, err = keystore.Open(h.t.Context(), h.engine, h.domain, keystore.Options{}); err != nil {
		h.t.Fatal(err)
	}
	h.service = h.newService()
}

// withOpener lets rotations open tokens.
func (h *harness) withOpener(tokens ...*hsm.Token) *harness {
	h.openToken = func(_ context.Context, uri string) (*hsm.Token, error) {
		for _, t := range tokens {
			if t.URI().String() == uri {
				return t, nil
			}
		}
		return nil, fmt.Errorf("%w: %s", hsm.ErrTokenDown, uri)
	}
	h.service = h.newService()
	return h
}

// TestDomainRotationTokens adds a second token to a domain and takes the first one out.
func TestDomainRotationTokens(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC) // else all keys of that kind keep their token in the domain
	one, two := hsmtest.Token(t), hsmtest.Token(t)
	h := newHarnessOn(t, hsmtest.Domain(t, one)).withOpener(two)
	first, second := one.URI().String(), two.URI().String()
	use := h.oneKeyOfEachKind() // among them a resident one
	useAll := func(when string) {
		t.Helper()
		for range 3 { // by either token
			for _, u := range use {
				u(t)
			}
		}
		if t.Failed() {
			t.Fatal(when)
		}
	}
	refused := func(request RotationRequest, text string) {
		t.Helper()
		if _, err := h.service.RotateDomain(t.Context(), request); !errors.Is(err, ErrRotation) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
		h.wantPhase(h.domain, "")
	}
	both := RotationRequest{Tokens: []string{first, second}}
	refused(both, "no enrolment pair")
	fingerprint, err := hsm.Enroll(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	refused(both, fingerprint)
	both.Fingerprints = []string{strings.Repeat("00", 32)}
	refused(both, "confirm the fingerprint")
	refused(RotationRequest{Tokens: []string{second}, Fingerprints: []string{fingerprint}}, "has to stay")
	refused(RotationRequest{Tokens: []string{first, first}}, "named twice")
	refused(RotationRequest{Region: ireland}, "no tokens of its own")

	// Capitals and colons are how people write it.
	written := strings.ToUpper(fingerprint[:2]) + ":" + fingerprint[2:]
	both.Fingerprints = []string{written}
	if _, err := h.service.RotateDomain(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	if err := h.service.makeKeys(t.Context(), h.domain); err != nil {
		t.Fatal(err)
	}
	h.wantPhase(h.domain, kms.RotationWrapping)
	useAll("wrapping")
	h.reopen(one, two)
	useAll("wrapping, after a restart")
	h.advance(h.domain, kms.RotationWaiting)
	useAll("waiting")
	wantKeys(t, one, h.domain.ID(), 1, 2)
	wantKeys(t, two, h.domain.ID(), 2)
	if _, err := hsm.Fingerprint(t.Context(), two); !errors.Is(err, hsm.ErrEnrolment) {
		t.Errorf("the enrolment pair is still there: %v", err)
	}
	h.retire(h.domain)
	wantKeys(t, one, h.domain.ID(), 2)
	wantKeys(t, two, h.domain.ID(), 2)
	h.reopen(one, two)
	useAll("after")

	// The resident key keeps its token in the domain.
	onlySecond := RotationRequest{Tokens: []string{second}}
	if hsmtest.Has(hsmtest.Resident) {
		resident := h.residentKey()
		refused(onlySecond, resident)
		h.must("ScheduleKeyDeletion", in{"KeyId": resident, "PendingWindowInDays": 7})
		h.clock.Advance(8 * day)
		h.runDue(2)
		use = use[:9:9] // without it
	}
	if _, err := h.service.RotateDomain(t.Context(), onlySecond); err != nil {
		t.Fatal(err)
	}
	if err := h.service.makeKeys(t.Context(), h.domain); err != nil {
		t.Fatal(err)
	}
	useAll("leaving")
	h.reopen(one, two)
	useAll("leaving, after a restart")
	h.advance(h.domain, kms.RotationWaiting)
	wantKeys(t, one, h.domain.ID(), 2)
	wantKeys(t, two, h.domain.ID(), 2, 3)
	h.withOpener(one, two)
	h.retire(h.domain)
	wantKeys(t, one, h.domain.ID())
	wantKeys(t, two, h.domain.ID(), 3)
	useAll("without the first")
	h.reopen(two)
	useAll("without the first, after a restart")
	if got := len(h.domain.Holders()); got != 1 {
		t.Errorf("%d tokens hold the domain", got)
	}
	if _, err := hsm.OpenDomain(t.Context(), []*hsm.Token{one}, h.domain.Describe()); !errors.Is(err, hsm.ErrWrongToken) {
		t.Errorf("the first token: %v", err)
	}
}

// residentKey is the id of the key that lives in a token.
func (h *harness) residentKey() (id string) {
	h.t.Helper()
	named, err := h.service.residents(h.t.Context(), h.domain)
	if err != nil || len(named) != 1 {
		h.t.Fatalf("resident keys: %v, %v", named, err)
	}
	for _, key := range named {
		id = key
	}
	return id
}

// A faultyEngine fails the commit that it counts down to, before it or after it.
type faultyEngine struct {
	keystore.Engine
	left  int
	after bool
	hit   bool
}

var errFault = errors.New("a fault of the test")

func (e *faultyEngine) Update(ctx context.Context, fn func(keystore.EngineTx) error) error {
	if e.left--; e.left != 0 {
		return e.Engine.Update(ctx, fn)
	}
	e.hit = true
	if e.after {
		if err := e.Engine.Update(ctx, fn); err != nil {
			return err
		}
	}
	return errFault
}

// TestDomainRotationFaults has each commit of a rotation fail once, before or after it happened, and the
// process end there. Whoever comes after it finishes the rotation, or nothing was changed; every key works all
// along.
func TestDomainRotationFaults(t *testing.T) {
	token := hsmtest.Token(t)
	h := newHarnessOn(t, hsmtest.Domain(t, token))
	here := h.at(testRegion)
	admin, err := h.service.CreateAdministrator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	var blobs [][]byte
	for range 3 {
		key := h.createKey(nil)
		keys, blobs = append(keys, key.KeyId), append(blobs, here.encrypt(key.KeyId, "text"))
	}
	rotations := 0
	for fault := 1; ; fault++ {
		hit := false
		for _, after := range []bool{false, true} {
			h.reopen(token)
			faulty := &faultyEngine{Engine: h.engine, left: fault, after: after}
			store, err := keystore.Open(t.Context(), faulty, h.domain, keystore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			service := New(Config{Store: store, Domain: h.domain, Account: account, Region: testRegion, Now: h.clock.Now})
			_, err = service.RotateDomain(t.Context(), RotationRequest{})
			if err == nil {
				err = service.advanceRotation(t.Context(), h.domain)
			}
			if err == nil {
				h.clock.Advance(oldKeysServe)
				_, err = service.RunDue(t.Context(), h.clock.Now())
			}
			if err != nil && !errors.Is(err, errFault) {
				t.Fatalf("commit %d fails: %v", fault, err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			hit = hit || faulty.hit

			before := h.domain
			h.reopen(token)
			_ = before.Close()
			for i, key := range keys {
				h.at(testRegion).wantOpens(key, blobs[i], "text")
			}
			h.signedBy(admin)
			if err := h.service.advanceRotation(t.Context(), h.domain); err != nil {
				t.Fatal(err)
			}
			h.clock.Advance(oldKeysServe)
			if _, err := h.service.RunDue(t.Context(), h.clock.Now()); err != nil {
				t.Fatal(err)
			}
			h.wantPhase(h.domain, "")
			for i, key := range keys {
				h.at(testRegion).wantOpens(key, blobs[i], "text")
			}
			h.signedBy(admin)
			h.wantNewest(h.domain)
			if n := len(h.domain.Describe().Keys); n != 3 {
				t.Fatalf("the domain has %d keys", n)
			}
			rotations++
		}
		if !hit {
			break
		}
	}
	orphans, err := h.service.Orphans(t.Context())
	if err != nil || len(orphans) != 0 {
		t.Errorf("orphans: %+v, %v", orphans, err)
	}
	if rotations < 12 {
		t.Errorf("%d rotations", rotations)
	}
	t.Logf("%d rotations, the newest keys are %d", rotations, h.domain.WrappingVersion())
}

// TestDomainRotationInterrupted: a rotation whose keys were not made is given up.
func TestDomainRotationInterrupted(t *testing.T) {
	token := hsmtest.Token(t)
	h := newHarnessOn(t, hsmtest.Domain(t, token))
	key := h.createKey(nil)
	blob := h.at(testRegion).encrypt(key.KeyId, "text")
	if _, err := h.service.RotateDomain(t.Context(), RotationRequest{}); err != nil {
		t.Fatal(err)
	}
	h.reopen(token) // which does not know the request
	h.advance(h.domain, "")
	wantKeys(t, token, h.domain.ID(), 1)
	h.at(testRegion).wantOpens(key.KeyId, blob, "text")
	if p := h.service.rotations.progressOf(h.domain.ID()); !strings.Contains(p.Problem, "nothing was changed") {
		t.Errorf("the status says %+v", p)
	}
	h.rotateDomain(RotationRequest{})
	h.retire(h.domain)
	wantKeys(t, token, h.domain.ID(), 2)
}

// TestDomainRotationDamage: a record that somebody else wrote gets no new MAC, and keeps the old keys there.
func TestDomainRotationDamage(t *testing.T) {
	token := hsmtest.Token(t)
	h := newHarnessOn(t, hsmtest.Domain(t, token))
	good, bad := h.createKey(nil), h.createKey(nil)
	place := "aws/" + account + "/" + testRegion + "/key/" + bad.KeyId
	genuine := h.raw(place)
	forged := bytes.Clone(genuine)
	forged[len(forged)-1] ^= 1
	h.putRaw(place, forged)
	h.reopen(token)
	if _, err := h.service.RotateDomain(t.Context(), RotationRequest{}); err != nil {
		t.Fatal(err)
	}
	err := h.service.advanceRotation(t.Context(), h.domain)
	if !errors.Is(err, keystore.ErrTampered) || !strings.Contains(err.Error(), bad.KeyId) {
		t.Errorf("a forged record: %v", err)
	}
	h.wantPhase(h.domain, kms.RotationWrapping)
	if !bytes.Equal(h.raw(place), forged) {
		t.Error("the forged record was written anew")
	}
	h.at(testRegion).encrypt(good.KeyId, "text")
	h.putRaw(place, genuine) // from a backup
	h.advance(h.domain, kms.RotationWaiting)
	h.at(testRegion).encrypt(bad.KeyId, "text")
	h.putRaw(place, forged)
	h.clock.Advance(oldKeysServe)
	if _, err := h.service.RunDue(t.Context(), h.clock.Now()); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("a forged record when the time has come: %v", err)
	}
	h.wantPhase(h.domain, kms.RotationWaiting)
	wantKeys(t, token, h.domain.ID(), 1, 2)
	h.putRaw(place, genuine)
	if _, err := h.service.RunDue(t.Context(), h.clock.Now()); err != nil {
		t.Fatal(err)
	}
	h.wantPhase(h.domain, "")
	h.wantNewest(h.domain)
}

// TestDomainRotationOfRegion rotates the keys of a Region's own tokens.
func TestDomainRotationOfRegion(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC)
	h := newHarness(t).withTokens(ireland)
	eu := h.regions[ireland]
	h.store1(func(tx *keystore.Tx) error {
		return tx.PutRegionDomain(keystore.RegionDomain{Region: ireland, Created: h.clock.Now(), Domain: eu.Describe()})
	})
	key := h.multiKey(nil, ireland)
	blob := h.at(ireland).encrypt(key.KeyId, "text")
	h.rotateDomain(RotationRequest{Region: ireland})
	if here, there := h.at(testRegion).record(key.KeyId).CurrentMaterial(), h.at(ireland).record(key.KeyId).CurrentMaterial(); here.DomainKey != 1 || there.DomainKey != 2 {
		t.Errorf("the materials are under domain keys %d and %d", here.DomainKey, there.DomainKey)
	}
	h.retire(eu)
	h.at(ireland).wantOpens(key.KeyId, blob, "text")
	h.at(testRegion).wantOpens(key.KeyId, blob, "text")
	// Material passes between the domains, by the new transfer key.
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	h.at(ireland).wantOpens(key.KeyId, h.at(testRegion).encrypt(key.KeyId, "new"), "new")
}

// TestDomainRotationUnderLoad rotates twice while requests of all sorts run.
func TestDomainRotationUnderLoad(t *testing.T) {
	token := hsmtest.Token(t)
	h := newHarnessOn(t, hsmtest.Domain(t, token))
	use := h.oneKeyOfEachKind()
	var stop atomic.Bool
	var running sync.WaitGroup
	var calls atomic.Int64
	for worker := range 4 {
		running.Go(func() {
			for i := worker; !stop.Load() && !t.Failed(); i++ {
				use[i%len(use)](t)
				calls.Add(1)
			}
		})
	}
	running.Go(func() {
		for !stop.Load() && !t.Failed() {
			out, err := h.invoke("CreateKey", in{})
			if err != nil {
				t.Errorf("CreateKey: %v", err)
				return
			}
			id := out.(*kms.CreateKeyResponse).KeyMetadata.KeyId
			for _, op := range []string{"RotateKeyOnDemand", "DisableKey", "EnableKey"} {
				if _, err := h.invoke(op, in{"KeyId": id}); err != nil {
					t.Errorf("%s: %v", op, err)
				}
			}
			blob, err := h.invoke("Encrypt", in{"KeyId": id, "Plaintext": []byte("text")})
			if err != nil {
				t.Errorf("Encrypt: %v", err)
				return
			}
			if _, err := h.invoke("Decrypt", in{"CiphertextBlob": blob.(*kms.EncryptResponse).CiphertextBlob}); err != nil {
				t.Errorf("Decrypt: %v", err)
			}
		}
	})
	for range 2 {
		for before := calls.Load(); calls.Load() < before+20 && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
		h.rotateDomain(RotationRequest{})
		h.retire(h.domain)
	}
	stop.Store(true)
	running.Wait()
	h.wantNewest(h.domain)
	wantKeys(t, token, h.domain.ID(), 3)
	t.Logf("%d calls", calls.Load())
}

// TestOrphans finds an object whose record was never written, and a domain key that nothing names.
func TestOrphans(t *testing.T) {
	hsmtest.Require(t, hsmtest.Resident)
	token := hsmtest.Token(t)
	h := newHarnessOn(t, hsmtest.Domain(t, token))
	edwards := in{"KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY"}
	h.createKey(edwards)
	want := func(n int) []Orphan {
		t.Helper()
		orphans, err := h.service.Orphans(t.Context())
		if err != nil || len(orphans) != n {
			t.Fatalf("orphans: %+v, %v", orphans, err)
		}
		return orphans
	}
	want(0)
	lost, err := h.domain.GenerateKey(t.Context(), hsm.KeyRequest{Spec: "ECC_NIST_EDWARDS25519", Usage: "SIGN_VERIFY", KeyID: "a key that never was"})
	if err != nil {
		t.Fatal(err)
	}
	if o := want(1)[0]; o.Role != "resident" || o.Label != "a key that never was" || o.ID != fmt.Sprintf("%x", lost.ObjectID) || o.Token != token.URI().String() {
		t.Errorf("the orphan is %+v", o)
	}
	if err := h.domain.Destroy(t.Context(), &lost); err != nil {
		t.Fatal(err)
	}
	if _, err := h.domain.Renew(t.Context(), hsm.Renewal{Tokens: []*hsm.Token{token}}); err != nil {
		t.Fatal(err)
	}
	for _, o := range want(3) {
		if o.Version != 2 || o.Role == "resident" {
			t.Errorf("an orphan is %+v", o)
		}
	}
	h.rotateDomain(RotationRequest{}) // makes its own in their place
	want(0)
	h.retire(h.domain)
	want(0)
}
