package keystore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
)

func aliasID(name string) keystore.AliasID {
	return keystore.AliasID{Partition: "aws", Account: "111122223333", Region: "us-east-1", Name: name}
}

func newAlias(name, target string) *keystore.AliasRecord {
	return &keystore.AliasRecord{Partition: "aws", Account: "111122223333", Region: "us-east-1", Name: name,
		TargetKeyID: target, Created: when, Updated: when}
}

func update(t testing.TB, s *keystore.Store, fn func(tx *keystore.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// wantAlias wants an alias to stand for a key ("" for none), and exactly the keys to name it that
// do.
func wantAlias(t testing.TB, s *keystore.Store, name, target string, keys ...string) {
	t.Helper()
	got, err := s.KeyByAlias(t.Context(), aliasID(name))
	switch {
	case target == "" && !errors.Is(err, keystore.ErrNotFound):
		t.Errorf("%s: %v, want ErrNotFound", name, err)
	case target != "" && (err != nil || got.ID != target):
		t.Errorf("%s: %v, %v, want %s", name, got, err, target)
	}
	for _, id := range keys {
		key, err := s.Key(t.Context(), newKey(id).KeyID())
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(key.Aliases, name) != (id == target) {
			t.Errorf("%s stands for %q, and the key %s names %v", name, target, id, key.Aliases)
		}
	}
}

func TestAliases(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"), newKey("l"))
	update(t, s, func(tx *keystore.Tx) error {
		return errors.Join(tx.CreateAlias(newAlias("b", "k")), tx.CreateAlias(newAlias("c/d", "k")), tx.CreateAlias(newAlias("a", "k")))
	})
	wantAlias(t, s, "b", "k", "k", "l")
	key, err := s.Key(t.Context(), newKey("k").KeyID())
	if err != nil || !slices.Equal(key.Aliases, []string{"a", "b", "c/d"}) {
		t.Errorf("the key names %v, %v", key.Aliases, err)
	}

	later := when.Add(time.Hour)
	update(t, s, func(tx *keystore.Tx) error { return tx.MoveAlias(aliasID("b"), "l", later) })
	wantAlias(t, s, "b", "l", "k", "l")
	if r, err := s.Alias(t.Context(), aliasID("b")); err != nil || r.Created != when || r.Updated != later {
		t.Errorf("a moved alias: %+v, %v", r, err)
	}
	update(t, s, func(tx *keystore.Tx) error { return tx.MoveAlias(aliasID("b"), "l", later) }) // where it is already
	wantAlias(t, s, "b", "l", "k", "l")

	s = openStore(t, e, a, keystore.Options{})
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteAlias(aliasID("a")) })
	wantAlias(t, s, "a", "", "k", "l")
	wantAlias(t, s, "c/d", "k", "k", "l")

	// A key takes its aliases with it, and nobody else's.
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("k").KeyID()) })
	wantAlias(t, s, "c/d", "")
	wantAlias(t, s, "b", "l", "l")
	putKey(t, s, newKey("k"))
	wantAlias(t, s, "c/d", "", "k", "l")
}

func TestAliasErrors(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	putKey(t, s, newKey("k"))
	update(t, s, func(tx *keystore.Tx) error { return tx.CreateAlias(newAlias("a", "k")) })
	listed := func() *keystore.KeyRecord {
		r := newKey("k")
		r.Aliases = []string{"a", "b"}
		return r
	}
	other := listed()
	other.ID = "new"
	for name, c := range map[string]struct {
		do   func(tx *keystore.Tx) error
		want error
	}{
		"create one that exists":   {func(tx *keystore.Tx) error { return tx.CreateAlias(newAlias("a", "k")) }, keystore.ErrExists},
		"create for no key":        {func(tx *keystore.Tx) error { return tx.CreateAlias(newAlias("b", "l")) }, keystore.ErrNotFound},
		"move to no key":           {func(tx *keystore.Tx) error { return tx.MoveAlias(aliasID("a"), "l", when) }, keystore.ErrNotFound},
		"move one that is missing": {func(tx *keystore.Tx) error { return tx.MoveAlias(aliasID("b"), "k", when) }, keystore.ErrNotFound},
		"delete likewise":          {func(tx *keystore.Tx) error { return tx.DeleteAlias(aliasID("b")) }, keystore.ErrNotFound},
		"an empty record":          {func(tx *keystore.Tx) error { return tx.CreateAlias(&keystore.AliasRecord{}) }, keystore.ErrInvalid},
		"a key that brings some":   {func(tx *keystore.Tx) error { return tx.CreateKey(other) }, keystore.ErrInvalid},
		"a key that adds one":      {func(tx *keystore.Tx) error { return tx.PutKey(listed()) }, keystore.ErrInvalid},
		"a key that drops one":     {func(tx *keystore.Tx) error { return tx.PutKey(newKey("k")) }, keystore.ErrInvalid},
	} {
		if err := s.Update(t.Context(), c.do); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Half an alias is never committed, even by a function that does not look at errors.
	for _, do := range []func(tx *keystore.Tx){
		func(tx *keystore.Tx) { _ = tx.CreateAlias(newAlias("b", "l")) },
		func(tx *keystore.Tx) { _ = tx.MoveAlias(aliasID("a"), "l", when) },
	} {
		if err := s.Update(t.Context(), func(tx *keystore.Tx) error { do(tx); return nil }); !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("half an alias: %v", err)
		}
	}
	wantAlias(t, s, "a", "k", "k")
	wantAlias(t, s, "b", "")
}

// TestOldAliasPutBack: an alias record is genuine for ever, but the record of its key says whether
// it still counts.
func TestOldAliasPutBack(t *testing.T) {
	const place = "aws/111122223333/us-east-1/alias/a"
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"), newKey("l"))
	update(t, s, func(tx *keystore.Tx) error { return tx.CreateAlias(newAlias("a", "k")) })
	for what, change := range map[string]func(tx *keystore.Tx) error{
		"moved":                func(tx *keystore.Tx) error { return tx.MoveAlias(aliasID("a"), "l", when) },
		"deleted":              func(tx *keystore.Tx) error { return tx.DeleteAlias(aliasID("a")) },
		"deleted with its key": func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("k").KeyID()) },
	} {
		e, a := newEngine(t), newAuthenticator()
		s := newStore(t, e, a)
		putKey(t, s, newKey("k"), newKey("l"))
		update(t, s, func(tx *keystore.Tx) error { return tx.CreateAlias(newAlias("a", "k")) })
		old := rawGet(t, e, place)
		update(t, s, change)
		rawPut(t, e, place, old)
		s = openStore(t, e, a, keystore.Options{})
		if _, err := s.KeyByAlias(t.Context(), aliasID("a")); !errors.Is(err, keystore.ErrTampered) {
			t.Errorf("the old record of an alias that was %s: %v", what, err)
		}
	}
	// One that was taken away is missing, no more, and does not keep its key from being deleted.
	rawPut(t, e, place, nil)
	s = openStore(t, e, a, keystore.Options{})
	wantAlias(t, s, "a", "")
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("k").KeyID()) })
}

// TestAliasMovesWhileItIsUsed: a reader sees the key before or the key after, never an error,
// although alias and key are read one after the other.
func TestAliasMovesWhileItIsUsed(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	putKey(t, s, newKey("k"), newKey("l"))
	update(t, s, func(tx *keystore.Tx) error { return tx.CreateAlias(newAlias("a", "k")) })
	ctx, stop := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for ctx.Err() == nil {
			if _, err := s.KeyByAlias(t.Context(), aliasID("a")); err != nil {
				failed <- err
				return
			}
		}
	}()
	for i := range 50 {
		update(t, s, func(tx *keystore.Tx) error { return tx.MoveAlias(aliasID("a"), []string{"l", "k"}[i%2], when) })
	}
	stop()
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestAliasHitsDoNotAllocate(t *testing.T) {
	a := newAuthenticator()
	s := newStore(t, quietEngine{newEngine(t)}, a)
	putKey(t, s, newKey("1234abcd-12ab-34cd-56ef-1234567890ab"))
	update(t, s, func(tx *keystore.Tx) error {
		return tx.CreateAlias(newAlias("app/prod", "1234abcd-12ab-34cd-56ef-1234567890ab"))
	})
	wantAlias(t, s, "app/prod", "1234abcd-12ab-34cd-56ef-1234567890ab")
	id, ctx, before := aliasID("app/prod"), context.Background(), a.calls.Load()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := s.KeyByAlias(ctx, id); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
	if n := a.calls.Load() - before; n != 0 {
		t.Errorf("hits made %d token calls", n)
	}
}

func TestScanAliases(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	putKey(t, s, newKey("k"))
	names := []string{"a/b", "a-b", "a0", "a_b", "b"} // '/' comes first
	update(t, s, func(tx *keystore.Tx) error {
		for _, name := range names {
			if err := tx.CreateAlias(newAlias(name, "k")); err != nil {
				return err
			}
		}
		return nil
	})
	scope := keystore.Scope{Partition: "aws", Account: "111122223333", Region: "us-east-1"}
	var got []string
	for after, more := "", true; more; after = got[len(got)-1] {
		var page []string
		var err error
		if page, more, err = s.ScanAliases(t.Context(), scope, after, 2); err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
	}
	if !slices.Equal(got, names) {
		t.Errorf("the names are %v", got)
	}
	scope.Region = "us-east-2"
	if got, more, err := s.ScanAliases(t.Context(), scope, "", 2); err != nil || more || len(got) > 0 {
		t.Errorf("another Region has %v, %v, %v", got, more, err)
	}
}

func BenchmarkAliasHit(b *testing.B) {
	s := newStore(b, quietEngine{newEngine(b)}, newAuthenticator())
	putKey(b, s, newKey("1234abcd-12ab-34cd-56ef-1234567890ab"))
	update(b, s, func(tx *keystore.Tx) error {
		for i := range 50 {
			if err := tx.CreateAlias(newAlias(fmt.Sprintf("app/%02d", i), "1234abcd-12ab-34cd-56ef-1234567890ab")); err != nil {
				return err
			}
		}
		return nil
	})
	id, ctx := aliasID("app/17"), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.KeyByAlias(ctx, id); err != nil {
			b.Fatal(err)
		}
	}
}
