package keystore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func revision(t *testing.T, s *keystore.Store) uint64 {
	t.Helper()
	h, err := s.Header(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h.Revision
}

func TestUpdateReadsItsOwnWrites(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	k := newKey("k")
	err := s.Update(t.Context(), func(tx *keystore.Tx) error {
		if err := tx.CreateKey(k); err != nil {
			return err
		}
		if err := tx.CreateKey(k); !errors.Is(err, keystore.ErrExists) {
			t.Errorf("a second CreateKey: %v", err)
		}
		got, err := tx.Key(k.KeyID())
		if err != nil {
			return err
		}
		got = got.Clone()
		got.Description = "second"
		if err := tx.PutKey(got); err != nil {
			return err
		}
		if got, err = tx.Key(k.KeyID()); err != nil || got.Description != "second" {
			t.Errorf("after a Put: %+v, %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Description = "second"
	wantKey(t, s, k)

	err = s.Update(t.Context(), func(tx *keystore.Tx) error {
		if err := tx.DeleteKey(k.KeyID()); err != nil {
			return err
		}
		if _, err := tx.Key(k.KeyID()); !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("after a Delete: %v", err)
		}
		if err := tx.DeleteKey(k.KeyID()); !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("a second Delete: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Key(t.Context(), k.KeyID()); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("a deleted key: %v", err)
	}
}

func TestRevision(t *testing.T) {
	e := newEngine(t)
	s := newStore(t, e, newAuthenticator())
	if r := revision(t, s); r != 1 {
		t.Fatalf("a new store is at %d", r)
	}
	putKey(t, s, newKey("a"), newKey("b"))
	if r := revision(t, s); r != 2 {
		t.Errorf("one transaction of two writes led to %d", r)
	}
	// Neither reading nor failing is a revision.
	err := s.Update(t.Context(), func(tx *keystore.Tx) error {
		if tx.Revision() != 3 || tx.Header().Revision != 2 {
			t.Errorf("the transaction says %d after %d", tx.Revision(), tx.Header().Revision)
		}
		_, err := tx.Key(newKey("a").KeyID())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("wanted")
	err = s.Update(t.Context(), func(tx *keystore.Tx) error { return errors.Join(tx.PutKey(newKey("c")), failed) })
	if !errors.Is(err, failed) {
		t.Errorf("Update gives %v", err)
	}
	if r := revision(t, s); r != 2 {
		t.Errorf("nothing was written, and the revision is %d", r)
	}
	for _, id := range []string{"a", "b"} {
		raw := rawGet(t, e, "aws/111122223333/us-east-1/key/"+id)
		if raw[15] != 2 {
			t.Errorf("record %s carries revision %x", id, raw[8:16])
		}
	}
	err = s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("a").KeyID()) })
	if err != nil {
		t.Fatal(err)
	}
	if r := revision(t, s); r != 3 {
		t.Errorf("a deletion led to %d", r)
	}
}

func TestPanicInUpdate(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		_ = s.Update(t.Context(), func(tx *keystore.Tx) error {
			_ = tx.PutKey(newKey("k"))
			panic("wanted")
		})
	}()
	if _, err := s.Key(t.Context(), newKey("k").KeyID()); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("it left something: %v", err)
	}
	putKey(t, s, newKey("k"))
	wantKey(t, s, newKey("k"))
}

func TestTokenDownInUpdate(t *testing.T) {
	a := newAuthenticator()
	s := newStore(t, newEngine(t), a)
	putKey(t, s, newKey("k"))
	a.fail.Store(true)
	err := s.Update(t.Context(), func(tx *keystore.Tx) error {
		_ = tx.PutKey(newKey("other"))
		return nil
	})
	if !errors.Is(err, errTokenDown) {
		t.Errorf("Update gives %v", err)
	}
	if _, err := s.Key(t.Context(), newKey("k").KeyID()); !errors.Is(err, errTokenDown) || errors.Is(err, keystore.ErrTampered) {
		t.Errorf("Key gives %v", err)
	}
	a.fail.Store(false)
	wantKey(t, s, newKey("k"))
}

// TestTokenCalls counts what happens while other writers wait: one MAC per written record and one
// for the header, given that the cache has what is read. A new key costs two more: the number of keys
// is read and written.
func TestTokenCalls(t *testing.T) {
	a := newAuthenticator()
	s := newStore(t, quietEngine{newEngine(t)}, a)
	putKey(t, s, newKey("a"), newKey("b"))
	wantKey(t, s, newKey("a"))
	before := a.calls.Load()
	err := s.Update(t.Context(), func(tx *keystore.Tx) error {
		r, err := tx.Key(newKey("a").KeyID())
		if err != nil {
			return err
		}
		return errors.Join(tx.PutKey(r), tx.PutKey(newKey("c")))
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := a.calls.Load() - before; n != 5 {
		t.Errorf("an update of two records, one of them new, made %d token calls, want 5", n)
	}
}

// uncertainEngine commits and then says that it did not: what a lost connection looks like.
type uncertainEngine struct {
	quietEngine
	uncertain bool
}

var errUncertain = errors.New("the connection broke during the commit")

func (e *uncertainEngine) Update(ctx context.Context, fn func(keystore.EngineTx) error) error {
	err := e.Engine.Update(ctx, fn)
	if err == nil && e.uncertain {
		return errUncertain
	}
	return err
}

func TestFailedButPersisted(t *testing.T) {
	e := &uncertainEngine{quietEngine: quietEngine{newEngine(t)}}
	a := newAuthenticator()
	s, err := keystore.Create(t.Context(), e, domain(1), a)
	if err != nil {
		t.Fatal(err)
	}
	putKey(t, s, newKey("k"))
	wantKey(t, s, newKey("k"))
	e.uncertain = true
	changed := newKey("k")
	changed.State = kms.KeyStateDisabled
	err = s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutKey(changed) })
	if !errors.Is(err, errUncertain) {
		t.Fatalf("Update gives %v", err)
	}
	wantKey(t, s, changed)
	e.uncertain = false
	changed.Description = "later"
	putKey(t, s, changed)
	wantKey(t, s, changed)
}

// retryingEngine runs every function twice, as an optimistic engine may.
type retryingEngine struct{ keystore.Engine }

var errAgain = errors.New("again")

func (e retryingEngine) Update(ctx context.Context, fn func(keystore.EngineTx) error) error {
	err := e.Engine.Update(ctx, func(tx keystore.EngineTx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errAgain
	})
	if !errors.Is(err, errAgain) {
		return err
	}
	return e.Engine.Update(ctx, fn)
}

func TestRetriedUpdate(t *testing.T) {
	s := newStore(t, retryingEngine{newEngine(t)}, newAuthenticator())
	putKey(t, s, newKey("k"))
	wantKey(t, s, newKey("k"))
	changed := newKey("k")
	changed.Description = "changed"
	putKey(t, s, changed)
	wantKey(t, s, changed)
	if r := revision(t, s); r != 3 {
		t.Errorf("the revision is %d", r)
	}
}

func TestSetDomain(t *testing.T) {
	a := newAuthenticator()
	s := newStore(t, newEngine(t), a)
	putKey(t, s, newKey("old"))
	err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.SetDomain(domain(2)) })
	if !errors.Is(err, keystore.ErrInvalid) {
		t.Errorf("a domain without the record key in use: %v", err)
	}
	if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.SetDomain(domain(1, 2)) }); err != nil {
		t.Fatal(err)
	}
	a.version = 2
	putKey(t, s, newKey("new"))
	wantKey(t, s, newKey("old"))
	wantKey(t, s, newKey("new"))
	h, err := s.Header(t.Context())
	if err != nil || len(h.Domain.Keys) != 2 || h.Revision != 4 {
		t.Errorf("the header is %+v, %v", h, err)
	}
}

// TestForeignRecordKey: another node rotated the record key; this one takes its word from the
// header, not from the record.
func TestForeignRecordKey(t *testing.T) {
	e := quietEngine{newEngine(t)}
	here := newStore(t, e, newAuthenticator())
	other := &authenticator{domain: "test", version: 1}
	there := openStore(t, e, other, keystore.Options{})
	putKey(t, there, newKey("old"))

	if err := there.Update(t.Context(), func(tx *keystore.Tx) error { return tx.SetDomain(domain(1, 2)) }); err != nil {
		t.Fatal(err)
	}
	other.version = 2
	putKey(t, there, newKey("new"))
	wantKey(t, here, newKey("new"))
	wantKey(t, here, newKey("old"))

	raw := rawGet(t, e, keyPrefix+"new")
	raw[7] = 3
	rawPut(t, e, keyPrefix+"new", raw)
	wantTampered(t, e, other, "new")
}
