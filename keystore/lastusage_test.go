package keystore_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func newUse(key string, at time.Time) *keystore.LastUsageRecord {
	return &keystore.LastUsageRecord{Partition: "aws", Account: "111122223333", Region: "us-east-1", KeyID: key,
		Operation: kms.KeyLastUsageTrackingOperationSign, Used: at, RequestID: at.String()}
}

func noteUse(t testing.TB, s *keystore.Store, r *keystore.LastUsageRecord) {
	t.Helper()
	update(t, s, func(tx *keystore.Tx) error { return tx.NoteLastUsage(r) })
}

// wantUse wants the last use of key k to be one, nil for none, in and out of a transaction.
func wantUse(t testing.TB, s *keystore.Store, want *keystore.LastUsageRecord) {
	t.Helper()
	key := newKey("k").KeyID()
	check := func(got *keystore.LastUsageRecord, err error) {
		t.Helper()
		switch {
		case want == nil && !errors.Is(err, keystore.ErrNotFound):
			t.Errorf("%+v, %v, want ErrNotFound", got, err)
		case want != nil && (err != nil || *got != *want):
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	check(s.LastUsage(t.Context(), key))
	update(t, s, func(tx *keystore.Tx) error {
		check(tx.LastUsage(key))
		return nil
	})
}

func TestLastUsage(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"), newKey("l"))
	wantUse(t, s, nil)
	first, second := newUse("k", when), newUse("k", when.Add(time.Nanosecond))
	noteUse(t, s, first)
	wantUse(t, s, first)
	noteUse(t, s, second)
	wantUse(t, s, second)

	// An earlier use changes nothing; of two at the same time the last one noted stays.
	noteUse(t, s, first)
	wantUse(t, s, second)
	third := newUse("k", second.Used)
	third.RequestID = "another"
	noteUse(t, s, third)
	wantUse(t, s, third)
	wantUse(t, openStore(t, e, a, keystore.Options{}), third)

	// The use goes with its key, and not with another.
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("l").KeyID()) })
	wantUse(t, s, third)
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("k").KeyID()) })
	wantUse(t, s, nil)

	// What was not written in time is not written to a key that is gone or made anew.
	noteUse(t, s, third)
	wantUse(t, s, nil)
	again := newKey("k")
	again.Created = third.Used.Add(1)
	putKey(t, s, again)
	noteUse(t, s, third)
	wantUse(t, s, nil)
}

func TestLastUsageTampered(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"))
	noteUse(t, s, newUse("k", when))
	const place = "aws/111122223333/us-east-1/last-usage/k"
	raw := rawGet(t, e, place)
	rawPut(t, e, place, bytes.Replace(raw, []byte("Sign"), []byte("sigN"), 1))
	s = openStore(t, e, a, keystore.Options{})
	if _, err := s.LastUsage(t.Context(), newKey("k").KeyID()); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("it is read: %v", err)
	}
	err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.NoteLastUsage(newUse("k", when.Add(1))) })
	if !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("it is written over: %v", err)
	}
	// It does not keep its key from being deleted.
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("k").KeyID()) })
	wantUse(t, s, nil)
}

func TestLastUsageIncomplete(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	putKey(t, s, newKey("k"))
	noOperation := newUse("k", when)
	noOperation.Operation = ""
	err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.NoteLastUsage(noOperation) })
	if !errors.Is(err, keystore.ErrInvalid) {
		t.Errorf("a use without an operation: %v", err)
	}
}
