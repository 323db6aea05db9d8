package keystore_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
)

func heldUser() *keystore.UserRecord {
	return &keystore.UserRecord{
		Partition: "aws", Account: "111122223333", Name: "alice", ARN: "arn:aws:iam::111122223333:user/alice", ID: "AIDA",
		Created: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
	}
}

func putUser(t testing.TB, s *keystore.Store, user *keystore.UserRecord) {
	t.Helper()
	update(t, s, func(tx *keystore.Tx) error { return tx.PutUser(user) })
}

func holdUser(t testing.TB, s *keystore.Store) keystore.Held[keystore.UserRecord] {
	t.Helper()
	held, err := s.HoldUser(t.Context(), heldUser().UserID())
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// TestHeld: a held record is current exactly until the store would give another one.
func TestHeld(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, quietEngine{e}, a)
	putUser(t, s, heldUser())
	if (keystore.Held[keystore.UserRecord]{}).Current() {
		t.Error("nothing is current")
	}
	held := holdUser(t, s)
	calls := a.calls.Load()
	if again := holdUser(t, s); !held.Current() || again != held || again.Record() != held.Record() || a.calls.Load() != calls {
		t.Error("a record that did not change is not current")
	}
	if n := testing.AllocsPerRun(100, func() { held.Current() }); n != 0 {
		t.Errorf("asking allocates %v times", n)
	}
	putKey(t, s, newKey("k"))
	if !held.Current() {
		t.Error("a write elsewhere ends it")
	}
	for i := range 5 {
		changed := heldUser()
		changed.AccessKeys = []string{string(rune('a' + i))}
		putUser(t, s, changed)
		if held.Current() {
			t.Fatal("it is current after a write")
		}
		if held = holdUser(t, s); !held.Current() || held.Record().AccessKeys[0] != changed.AccessKeys[0] {
			t.Fatalf("the record after a write is %+v", held.Record())
		}
	}
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteUser(heldUser().UserID()) })
	if held.Current() {
		t.Error("it is current after it was deleted")
	}
}

// TestHeldWithoutCache: a record that is not kept is never current, and none is in a store that is closed.
func TestHeldWithoutCache(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, quietEngine{e}, a)
	putUser(t, s, heldUser())
	if holdUser(t, openStore(t, quietEngine{e}, a, keystore.Options{CacheRecords: -1})).Current() {
		t.Error("it is current without a cache")
	}
	held := holdUser(t, s)
	if !held.Current() {
		t.Error("it is not current")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if held.Current() {
		t.Error("it is current in a closed store")
	}
}

// TestHeldElsewhere: what another node writes, and the loss of the feed that would tell of it, end it.
func TestHeldElsewhere(t *testing.T) {
	e := &twoNodeEngine{Engine: newEngine(t)}
	a := newAuthenticator()
	here := newStore(t, e, a)
	there := openStore(t, e.Engine, a, keystore.Options{})
	putUser(t, there, heldUser())
	var held keystore.Held[keystore.UserRecord]
	holding := func() bool {
		held = holdUser(t, here)
		return held.Current()
	}
	eventually(t, "a held record", holding)
	changed := heldUser()
	changed.AccessKeys = []string{"a"}
	putUser(t, there, changed)
	eventually(t, "the other node's write", func() bool { return holding() && len(held.Record().AccessKeys) == 1 })
	e.setFeed(false)
	eventually(t, "an end without a feed", func() bool { return !held.Current() })
}

// TestHeldStays: asking whether a record is current counts as using it, so a scan of others does not
// push it out.
func TestHeldStays(t *testing.T) {
	e, a := quietEngine{newEngine(t)}, newAuthenticator()
	first := newStore(t, e, a)
	putUser(t, first, heldUser())
	s := openStore(t, e, a, keystore.Options{CacheRecords: 8})
	held := holdUser(t, s)
	for i := range 80 {
		id := strconv.Itoa(i)
		putKey(t, first, newKey(id))
		if !held.Current() {
			t.Fatalf("it was pushed out before key %s", id)
		}
		wantKey(t, s, newKey(id))
	}
}
