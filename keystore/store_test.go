package keystore_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
	"github.com/kms11/kms11/kms"
)

const headerKey = "-/-/-/header/store"

// authenticator stands for a token: the store only needs MACs. Version 1 and 2 have a key.
type authenticator struct {
	domain  string
	version uint32
	calls   atomic.Int64
	fail    atomic.Bool
}

var errTokenDown = errors.New("the token is down")

func (a *authenticator) MAC(_ context.Context, version uint32, data []byte) ([]byte, error) {
	a.calls.Add(1)
	if a.fail.Load() {
		return nil, errTokenDown
	}
	if version != 1 && version != 2 {
		return nil, fmt.Errorf("record key %d does not exist", version)
	}
	m := hmac.New(sha256.New, fmt.Appendf(nil, "record key %d of %s", version, a.domain))
	m.Write(data)
	return m.Sum(nil), nil
}

func (a *authenticator) RecordKeyVersion() uint32 { return a.version }

func domain(versions ...uint32) kms.Domain {
	d := kms.Domain{ID: "000102030405060708090a0b0c0d0e0f", Scheme: kms.DeriveECB}
	for _, v := range versions {
		d.Keys = append(d.Keys, kms.DomainKey{
			Role: kms.RoleRecord, Version: v, ObjectID: binary.BigEndian.AppendUint32([]byte("record"), v), Check: []byte{9, 9},
		})
	}
	return d
}

func newAuthenticator() *authenticator { return &authenticator{domain: "test", version: 1} }

func newEngine(t testing.TB) *boltengine.Engine {
	t.Helper()
	e, err := boltengine.Create(filepath.Join(t.TempDir(), "keystore.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Check(context.Background()); err != nil {
			t.Errorf("the file's structure: %v", err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// quietEngine has a feed without changes. Otherwise a store hears of its own writes some time later
// and loads a record once more, and whether a read is a hit depends on when that is.
type quietEngine struct{ keystore.Engine }

func (quietEngine) Watch(ctx context.Context) (<-chan keystore.Change, error) {
	feed := make(chan keystore.Change)
	context.AfterFunc(ctx, func() { close(feed) })
	return feed, nil
}

// newStore makes a store in e.
func newStore(t testing.TB, e keystore.Engine, a keystore.Authenticator) *keystore.Store {
	t.Helper()
	s, err := keystore.Create(t.Context(), e, domain(1), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openStore(t testing.TB, e keystore.Engine, a keystore.Authenticator, o keystore.Options) *keystore.Store {
	t.Helper()
	s, err := keystore.Open(t.Context(), e, a, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var when = time.Date(2026, 11, 5, 12, 30, 15, 123456789, time.UTC)

func newKey(id string) *keystore.KeyRecord {
	return &keystore.KeyRecord{
		Partition: "aws", Account: "111122223333", Region: "us-east-1", ID: id,
		Created: when, Description: "a <key> & \u2028more",
		Spec: kms.KeySpecSymmetricDefault, Usage: kms.KeyUsageTypeEncryptDecrypt, Origin: kms.OriginTypeAwsKms,
		Manager: kms.KeyManagerTypeCustomer, State: kms.KeyStateEnabled,
		Policy: "{\n  \"Version\" : \"2012-10-17\"\n}",
		Tags:   []keystore.Tag{{Key: "project", Value: "x"}, {Key: "empty"}},
		Materials: []keystore.KeyMaterial{{Material: kms.Material{
			ID: "ab12", Ordinal: 1, Created: when, Scheme: kms.DeriveECB, Wrap: kms.AESKeyWrap, DomainKey: 1, Length: 32, Blob: []byte{1, 2, 3},
		}}},
		Current: 1,
	}
}

// fullKey has every member set.
func fullKey(id string) *keystore.KeyRecord {
	r := newKey(id)
	r.State = kms.KeyStatePendingDeletion
	r.DeletionDate = when.AddDate(0, 0, 7)
	r.PendingWindowInDays = 7
	r.Materials = append(r.Materials, keystore.KeyMaterial{
		Material: kms.Material{
			ID: "cd34", Ordinal: 3, Created: when, Scheme: kms.DeriveSP800108, Wrap: kms.AESKeyWrapPad, DomainKey: 2, Length: 32,
			Blob: []byte{4}, ObjectID: []byte{5}, PublicKey: []byte{6},
		},
		Rotated: when, RotationType: kms.RotationTypeOnDemand, Description: "imported",
		ExpirationModel: kms.ExpirationModelTypeKeyMaterialExpires, ValidTo: when.AddDate(1, 0, 0),
	})
	r.Current = 3
	r.Rotation = &keystore.Rotation{Enabled: true, PeriodInDays: 365, Next: when.AddDate(1, 0, 0), OnDemand: 2, OnDemandStarted: when}
	r.MultiRegion = &keystore.MultiRegion{Type: kms.MultiRegionKeyTypePrimary, PrimaryRegion: "us-east-1", ReplicaRegions: []string{"eu-west-1"}}
	r.CustomKeyStoreID, r.XksKeyID = "cks-1234567890abcdef0", "xks key"
	return r
}

func putKey(t testing.TB, s *keystore.Store, records ...*keystore.KeyRecord) {
	t.Helper()
	err := s.Update(t.Context(), func(tx *keystore.Tx) error {
		for _, r := range records {
			if err := tx.PutKey(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func wantKey(t testing.TB, s *keystore.Store, want *keystore.KeyRecord) {
	t.Helper()
	got, err := s.Key(t.Context(), want.KeyID())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Clone(), want) || got.ARN() != want.ARN() {
		t.Fatalf("Key gives\n%+v, want\n%+v", got, want)
	}
}

// rawGet and rawPut are what somebody with the file but without the token can do.
func rawGet(t testing.TB, e keystore.Engine, key string) (value []byte) {
	t.Helper()
	err := e.View(t.Context(), func(tx keystore.EngineTx) error {
		v, err := tx.Get([]byte(key))
		value = bytes.Clone(v)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return value
}

func rawPut(t testing.TB, e keystore.Engine, key string, value []byte) {
	t.Helper()
	err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
		if value == nil {
			return tx.Delete([]byte(key))
		}
		return tx.Put([]byte(key), value)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCreateOpen(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	if _, err := keystore.ReadHeader(t.Context(), e); !errors.Is(err, keystore.ErrNoStore) {
		t.Errorf("ReadHeader of nothing: %v", err)
	}
	if _, err := keystore.Open(t.Context(), e, a, keystore.Options{}); !errors.Is(err, keystore.ErrNoStore) {
		t.Errorf("Open of nothing: %v", err)
	}
	s := newStore(t, e, a)
	h, err := keystore.ReadHeader(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if h.Format != 3 || len(h.StoreID) != 36 || h.Created.IsZero() || h.Revision != 1 || !reflect.DeepEqual(h.Domain, domain(1)) {
		t.Errorf("the header is %+v", h)
	}
	if own, err := s.Header(t.Context()); err != nil || !reflect.DeepEqual(own, h) {
		t.Errorf("Header gives %+v, %v, want %+v", own, err, h)
	}
	if _, err := keystore.Create(t.Context(), e, domain(1), a); !errors.Is(err, keystore.ErrExists) {
		t.Errorf("a second Create: %v", err)
	}
	other := newEngine(t)
	if _, err := keystore.Create(t.Context(), other, domain(2), a); !errors.Is(err, keystore.ErrInvalid) {
		t.Errorf("Create without the record key in the domain: %v", err)
	}
	rawPut(t, other, "something", []byte("else"))
	if _, err := keystore.Create(t.Context(), other, domain(1), a); !errors.Is(err, keystore.ErrExists) {
		t.Errorf("Create in an engine that holds something: %v", err)
	}
}

func TestRecordsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystore.db")
	a := newAuthenticator()
	e, err := boltengine.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := keystore.Create(t.Context(), e, domain(1), a)
	if err != nil {
		t.Fatal(err)
	}
	key := fullKey("mrk-00112233445566778899aabbccddeeff")
	user := &keystore.UserRecord{
		Partition: "aws", Account: "111122223333", Name: "a/b%-", ARN: "arn:aws:iam::111122223333:user/a", Created: when, ID: "AIDAEXAMPLE",
		Identity:   keystore.Identity{Policies: map[string]json.RawMessage{"p": json.RawMessage(`{"Action":"kms:*<>&"}`)}},
		AccessKeys: []string{"AKIAEXAMPLE"},
	}
	access := &keystore.AccessKeyRecord{
		ID: "AKIAEXAMPLE", Account: "111122223333", PrincipalARN: user.ARN, SealedSecret: []byte{1, 2}, Created: when, Disabled: true,
	}
	err = s.Update(t.Context(), func(tx *keystore.Tx) error {
		return errors.Join(tx.CreateKey(key), tx.CreateUser(user), tx.CreateAccessKey(access))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), e.Close()); err != nil {
		t.Fatal(err)
	}

	if e, err = boltengine.Open(path); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s = openStore(t, e, a, keystore.Options{})
	wantKey(t, s, key)
	if got, err := s.User(t.Context(), user.UserID()); err != nil || !reflect.DeepEqual(got, user) {
		t.Errorf("User gives %+v, %v", got, err)
	}
	if got, err := s.AccessKey(t.Context(), access.ID); err != nil || !reflect.DeepEqual(got, access) {
		t.Errorf("AccessKey gives %+v, %v", got, err)
	}
	s.Close()
}

func TestTimesAreStoredInUTC(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	local := newKey("k")
	local.Created = when.In(time.FixedZone("X", 3600))
	putKey(t, s, local)
	wantKey(t, s, newKey("k"))
	if local.Created.Location() == time.UTC {
		t.Error("PutKey changed the caller's record")
	}
}

func TestNotFound(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	_, keyErr := s.Key(t.Context(), newKey("absent").KeyID())
	_, userErr := s.User(t.Context(), keystore.UserID{Partition: "aws", Account: "1", Name: "absent"})
	_, accessErr := s.AccessKey(t.Context(), "absent")
	_, emptyErr := s.Key(t.Context(), keystore.KeyID{})
	for _, err := range []error{keyErr, userErr, accessErr, emptyErr} {
		if !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r, want := fullKey("k"), fullKey("k")
	c := r.Clone()
	if !reflect.DeepEqual(c, r) {
		t.Fatal("the clone differs")
	}
	c.Tags[0].Value = "changed"
	c.Materials[0].ID = "changed"
	for i := range c.Materials {
		m := &c.Materials[i]
		for _, b := range [][]byte{m.Blob, m.ObjectID, m.PublicKey} {
			clear(b)
		}
	}
	c.Rotation.OnDemand = 99
	c.MultiRegion.ReplicaRegions[0] = "changed"
	if !reflect.DeepEqual(r, want) {
		t.Errorf("changing the clone changed the original: %+v", r)
	}
}

func TestMaterial(t *testing.T) {
	r := fullKey("k")
	for ordinal, id := range map[uint32]string{1: "ab12", 3: "cd34"} {
		if m := r.Material(ordinal); m == nil || m.ID != id {
			t.Errorf("Material(%d) = %+v", ordinal, m)
		}
	}
	for _, ordinal := range []uint32{0, 2, 4, 1<<32 - 1} {
		if m := r.Material(ordinal); m != nil {
			t.Errorf("Material(%d) = %+v", ordinal, m)
		}
	}
	if m := r.CurrentMaterial(); m == nil || m.ID != "cd34" {
		t.Errorf("CurrentMaterial() = %+v", m)
	}
	if (&keystore.KeyMaterial{}).Present() || !r.Materials[0].Present() {
		t.Error("Present is wrong")
	}
}

func TestInvalidRecordsAreRefused(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	for name, spoil := range map[string]func(*keystore.KeyRecord){
		"no account":        func(r *keystore.KeyRecord) { r.Account = "" },
		"no state":          func(r *keystore.KeyRecord) { r.State = "" },
		"no time":           func(r *keystore.KeyRecord) { r.Created = time.Time{} },
		"bad UTF-8":         func(r *keystore.KeyRecord) { r.Description = "\xff" },
		"bad tag":           func(r *keystore.KeyRecord) { r.Tags[0].Value = "\xff" },
		"ordinals":          func(r *keystore.KeyRecord) { r.Materials = append(r.Materials, r.Materials[0]) },
		"ordinal 0":         func(r *keystore.KeyRecord) { r.Materials[0].Ordinal = 0 },
		"no current":        func(r *keystore.KeyRecord) { r.Current = 2 },
		"year out of range": func(r *keystore.KeyRecord) { r.Created = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"too large":         func(r *keystore.KeyRecord) { r.Policy = string(make([]byte, keystore.MaxValueSize)) },
	} {
		r := newKey("k")
		spoil(r)
		// The error sticks: a function that does not look at it commits nothing either.
		err := s.Update(t.Context(), func(tx *keystore.Tx) error {
			if err := tx.PutKey(newKey("other")); err != nil {
				return err
			}
			_ = tx.PutKey(r)
			return nil
		})
		if !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if _, err := s.Key(t.Context(), newKey("other").KeyID()); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("a refused transaction left something: %v", err)
	}
	for _, r := range []*keystore.UserRecord{
		{},
		{Partition: "aws", Account: "1", Name: "n", ARN: "a", Created: when},
		{Partition: "aws", Account: "1", Name: "n", ARN: "a", Created: when, ID: "i",
			Identity: keystore.Identity{Policies: map[string]json.RawMessage{"p": json.RawMessage("{")}}},
		{Partition: "aws", Account: "1", Name: "n", ARN: "a", Created: when, ID: "i",
			Identity: keystore.Identity{Boundary: json.RawMessage("{")}},
	} {
		if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutUser(r) }); !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("PutUser(%+v): %v", r, err)
		}
	}
	if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutAccessKey(&keystore.AccessKeyRecord{}) }); !errors.Is(err, keystore.ErrInvalid) {
		t.Errorf("PutAccessKey: %v", err)
	}
}
