package keystore_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// doomed is a key that is to be deleted at a time.
func doomed(id string, at time.Time) *keystore.KeyRecord {
	r := newKey(id)
	r.State, r.DeletionDate, r.PendingWindowInDays = kms.KeyStatePendingDeletion, at, 7
	return r
}

// wantDue wants exactly these keys to be due at a time, in this order.
func wantDue(t testing.TB, s *keystore.Store, at time.Time, keys ...string) {
	t.Helper()
	got := []string{}
	for after := ""; ; {
		ids, err := s.ScanDue(t.Context(), at, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) == 0 {
			break
		}
		for _, id := range ids {
			entry, err := s.Due(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if entry.ID() != id || entry.Due.After(at) {
				t.Errorf("the entry %s is %+v", id, entry)
			}
			got = append(got, entry.Region+" "+entry.KeyID)
		}
		after = ids[len(ids)-1]
	}
	if fmt.Sprint(got) != fmt.Sprint(keys) {
		t.Errorf("at %s %q are due, want %q", at, got, keys)
	}
}

func TestDueFollowsTheKey(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	end := when.AddDate(1, 0, 0)
	early := doomed("z", when)
	early.Region = "eu-west-1"
	putKey(t, s, doomed("k", when.Add(time.Second)), early, doomed("l", when.Add(time.Hour)), newKey("m"))
	wantDue(t, s, when.Add(-1))
	wantDue(t, s, when, "eu-west-1 z")
	wantDue(t, s, when.Add(time.Second-1), "eu-west-1 z")
	wantDue(t, s, end, "eu-west-1 z", "us-east-1 k", "us-east-1 l")

	s = openStore(t, e, a, keystore.Options{})
	putKey(t, s, doomed("k", when.Add(2*time.Hour)), newKey("l")) // another date, cancelled
	wantDue(t, s, end, "eu-west-1 z", "us-east-1 k")
	putKey(t, s, doomed("k", when.Add(2*time.Hour))) // the same again
	wantDue(t, s, end, "eu-west-1 z", "us-east-1 k")
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(early.KeyID()) })
	wantDue(t, s, end, "us-east-1 k")
	update(t, s, func(tx *keystore.Tx) error { return tx.CreateKey(doomed("n", when)) })
	wantDue(t, s, end, "us-east-1 n", "us-east-1 k")
}

func TestNextDue(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	want := func(after time.Time, next time.Time) {
		t.Helper()
		got, ok, err := s.NextDue(t.Context(), after)
		if err != nil || ok == next.IsZero() || !got.Equal(next) {
			t.Errorf("after %s comes %s, %t, %v; want %s", after, got, ok, err, next)
		}
	}
	want(time.Time{}, time.Time{})
	putKey(t, s, doomed("k", when), doomed("l", when), doomed("m", when.Add(1)))
	want(time.Time{}, when)
	want(when.Add(-1), when)
	want(when, when.Add(1))
	want(when.In(time.FixedZone("", 3600)), when.Add(1))
	want(when.Add(1), time.Time{})
}

// TestDueEntryOfItsOwn is about entries that no key's record calls for.
func TestDueEntryOfItsOwn(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	entry := &keystore.DueRecord{Due: when.In(time.FixedZone("", 3600)), Action: keystore.DueDestroyMaterial,
		Partition: "aws", Account: "111122223333", Region: "us-east-1", KeyID: "k",
		Material: &kms.Material{ID: "ab", Ordinal: 1, Created: when, ObjectID: []byte{1}}}
	update(t, s, func(tx *keystore.Tx) error { return tx.PutDue(entry) })
	wantDue(t, s, when, "us-east-1 k")
	got, err := s.Due(t.Context(), entry.ID())
	if err != nil || got.Key() != newKey("k").KeyID() || got.Material.ID != "ab" || newKey("k").Calls(got) {
		t.Errorf("the entry is %+v, %v", got, err)
	}
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteDue(entry.ID()) })
	wantDue(t, s, when)
	if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.DeleteDue(entry.ID()) }); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("a second DeleteDue: %v", err)
	}
	for name, spoil := range map[string]func(*keystore.DueRecord){
		"no action": func(r *keystore.DueRecord) { r.Action = "" },
		"no time":   func(r *keystore.DueRecord) { r.Due = time.Time{} },
		"a comma":   func(r *keystore.DueRecord) { r.KeyID = "a,b" },
		"year 0":    func(r *keystore.DueRecord) { r.Due = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) },
		"year 1e4":  func(r *keystore.DueRecord) { r.Due = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		bad := *entry
		spoil(&bad)
		if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutDue(&bad) }); !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDueTampering: an entry that was changed or made up is refused; one that was taken away does
// not keep its key from being changed, and a change brings a new one back.
func TestDueTampering(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, doomed("k", when))
	ids, err := s.ScanDue(t.Context(), when, "", 1)
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	place := "-/-/-/due/" + ids[0]
	good := rawGet(t, e, place)
	const forged = "2000-01-01T00:00:00.000000000Z,delete-key,aws,111122223333,us-east-1,m"
	rawPut(t, e, "-/-/-/due/"+forged, good)
	if _, err := s.Due(t.Context(), forged); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("an entry in another place: %v", err)
	}
	rawPut(t, e, "-/-/-/due/"+forged, nil)
	rawPut(t, e, place, nil)
	putKey(t, s, newKey("k"))
	putKey(t, s, doomed("k", when))
	wantDue(t, s, when, "us-east-1 k")
}
