package keystore_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const (
	aliceARN = "arn:aws:iam::111122223333:user/team/alice"
	bobARN   = "arn:aws:iam::444455556666:user/bob"
)

func grantNumber(n int) string { return fmt.Sprintf("%064x", n) }

func newGrant(key string, n int, grantee, retiring string) *keystore.GrantRecord {
	return &keystore.GrantRecord{
		Partition: "aws", Account: "111122223333", Region: "us-east-1", KeyID: key,
		ID: grantNumber(n), Created: when, GranteePrincipal: grantee, RetiringPrincipal: retiring,
		IssuingAccount: "arn:aws:iam::111122223333:root",
		Operations:     []kms.GrantOperation{kms.GrantOperationEncrypt, kms.GrantOperationDecrypt},
	}
}

func grantsOf(t testing.TB, s *keystore.Store, key, grantee string) []string {
	t.Helper()
	list, err := s.GrantsOf(t.Context(), newKey(key).KeyID(), grantee)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(list.All())
}

func scanGrants(t testing.TB, s *keystore.Store, key, grantee string, limit int) (ids []string) {
	t.Helper()
	from := ""
	for {
		page, next, err := s.ScanGrants(t.Context(), newKey(key).KeyID(), grantee, from, limit)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, page...)
		if from = next; next == "" {
			return ids
		}
	}
}

func scanRetirable(t testing.TB, s *keystore.Store, principal, account string, limit int) (names []string) {
	t.Helper()
	var after *keystore.GrantID
	for {
		page, more, err := s.ScanRetirable(t.Context(), "aws", "us-east-1", principal, account, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range page {
			names = append(names, id.Key.Account+" "+id.Key.ID+" "+id.ID[62:])
		}
		if !more {
			return names
		}
		after = &page[len(page)-1]
	}
}

func wantStrings(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// records is every engine key but the header's.
func records(t testing.TB, e keystore.Engine) (keys []string) {
	t.Helper()
	err := e.View(t.Context(), func(tx keystore.EngineTx) error {
		for p, err := range tx.Scan(nil, nil) {
			if err != nil {
				return err
			}
			if string(p.Key) != headerKey {
				keys = append(keys, string(p.Key))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestGrants(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	grants := []*keystore.GrantRecord{
		newGrant("k", 1, aliceARN, bobARN),
		newGrant("k", 2, bobARN, ""),
		newGrant("k", 3, aliceARN, aliceARN),
		newGrant("k", 4, aliceARN+",x", ""), // begins like another one
		newGrant("l", 5, aliceARN, bobARN),
	}
	grants[0].Name = "name"
	foreign := newGrant("k", 6, aliceARN, bobARN)
	foreign.Account = "444455556666"
	grants = append(grants, foreign)
	wantStrings(t, "before", grantsOf(t, s, "k", aliceARN), nil) // remembered, and forgotten by the writes
	update(t, s, func(tx *keystore.Tx) error {
		for _, g := range grants {
			if err := tx.CreateGrant(g); err != nil {
				return err
			}
		}
		return nil
	})
	for _, g := range grants {
		got, err := s.Grant(t.Context(), g.GrantID())
		if err != nil || !reflect.DeepEqual(got, g) {
			t.Errorf("Grant gives\n%+v, %v, want\n%+v", got, err, g)
		}
	}
	wantStrings(t, "of alice", grantsOf(t, s, "k", aliceARN), []string{grantNumber(1), grantNumber(3)})
	wantStrings(t, "of the longer name", grantsOf(t, s, "k", aliceARN+",x"), []string{grantNumber(4)})
	wantStrings(t, "of nobody", grantsOf(t, s, "k", aliceARN+","), nil)
	for _, limit := range []int{1, 2, 100} {
		wantStrings(t, "on k", scanGrants(t, s, "k", "", limit), []string{grantNumber(1), grantNumber(2), grantNumber(3), grantNumber(4)})
		wantStrings(t, "on k to alice", scanGrants(t, s, "k", aliceARN, limit), []string{grantNumber(1), grantNumber(3)})
		wantStrings(t, "retired by bob", scanRetirable(t, s, bobARN, "", limit), []string{"111122223333 k 01", "111122223333 l 05", "444455556666 k 06"})
		wantStrings(t, "retired by bob there", scanRetirable(t, s, bobARN, "111122223333", limit), []string{"111122223333 k 01", "111122223333 l 05"})
	}
	count := func(key string, want int) {
		t.Helper()
		update(t, s, func(tx *keystore.Tx) error {
			if n, err := tx.GrantCount(newKey(key).KeyID()); err != nil || n != want {
				t.Errorf("%s has %d grants, %v, want %d", key, n, err, want)
			}
			return nil
		})
	}
	count("k", 4)
	count("l", 1)
	count("m", 0)

	err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.CreateGrant(newGrant("k", 1, bobARN, "")) })
	if !errors.Is(err, keystore.ErrExists) {
		t.Errorf("creating a grant again: %v", err)
	}
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteGrant(grants[0].GrantID()) })
	err = s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.DeleteGrant(grants[0].GrantID()) })
	if !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("deleting a grant again: %v", err)
	}
	count("k", 3)
	wantStrings(t, "of alice", grantsOf(t, s, "k", aliceARN), []string{grantNumber(3)})
	update(t, s, func(tx *keystore.Tx) error {
		for _, g := range grants[1:] {
			if err := tx.DeleteGrant(g.GrantID()); err != nil {
				return err
			}
		}
		return nil
	})
	wantStrings(t, "what is left", records(t, e), nil)
}

func TestGrantLike(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	first := newGrant("k", 1, aliceARN, "")
	first.Name, first.EncryptionContextSubset = "n", map[string]string{"a": "b", "c": "d"}
	like := func(change func(*keystore.GrantRecord)) (found *keystore.GrantRecord, err error) {
		asked := *first
		asked.ID, asked.Created = grantNumber(2), when.AddDate(0, 0, 1)
		change(&asked)
		err = s.Update(t.Context(), func(tx *keystore.Tx) error {
			found, err = tx.GrantLike(&asked)
			return err
		})
		return found, err
	}
	update(t, s, func(tx *keystore.Tx) error { return tx.CreateGrant(first) })
	for name, same := range map[string]func(*keystore.GrantRecord){
		"the same": func(*keystore.GrantRecord) {},
		"another order": func(r *keystore.GrantRecord) {
			r.Operations = []kms.GrantOperation{kms.GrantOperationDecrypt, kms.GrantOperationEncrypt}
		},
		"an empty map": func(r *keystore.GrantRecord) { r.EncryptionContextEquals = map[string]string{} },
	} {
		if found, err := like(same); err != nil || found.ID != first.ID {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	for name, other := range map[string]func(*keystore.GrantRecord){
		"name":       func(r *keystore.GrantRecord) { r.Name = "m" },
		"key":        func(r *keystore.GrantRecord) { r.KeyID = "l" },
		"grantee":    func(r *keystore.GrantRecord) { r.GranteePrincipal = bobARN },
		"retiring":   func(r *keystore.GrantRecord) { r.RetiringPrincipal = bobARN },
		"operations": func(r *keystore.GrantRecord) { r.Operations = r.Operations[:1] },
		"constraint": func(r *keystore.GrantRecord) { r.EncryptionContextSubset = map[string]string{"a": "b"} },
		"its kind": func(r *keystore.GrantRecord) {
			r.EncryptionContextEquals, r.EncryptionContextSubset = r.EncryptionContextSubset, nil
		},
		"source":  func(r *keystore.GrantRecord) { r.SourceARN = "arn:aws:s3:::b" },
		"account": func(r *keystore.GrantRecord) { r.IssuingAccount = "arn:aws:iam::444455556666:root" },
	} {
		if found, err := like(other); !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("another %s: %v, %v", name, found, err)
		}
	}

	// A grant that is created again under its name takes the name over; the old one does not take
	// it away.
	second := *first
	second.ID = grantNumber(9)
	update(t, s, func(tx *keystore.Tx) error { return tx.CreateGrant(&second) })
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteGrant(first.GrantID()) })
	if found, err := like(func(*keystore.GrantRecord) {}); err != nil || found.ID != second.ID {
		t.Errorf("after the old one is gone: %v, %v", found, err)
	}
}

// TestGrantList: a decision looks at the grants without a constraint, and of the others at those
// that share a value with the context.
func TestGrantList(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	grants := []*keystore.GrantRecord{
		newGrant("k", 1, aliceARN, ""), newGrant("k", 2, aliceARN, ""), newGrant("k", 3, aliceARN, ""), newGrant("k", 4, aliceARN, ""), newGrant("l", 5, aliceARN, ""),
	}
	grants[1].EncryptionContextSubset = map[string]string{"a": "1"}
	grants[2].EncryptionContextEquals = map[string]string{"a": "1", "volume": "vol-7"}
	grants[3].EncryptionContextSubset = map[string]string{"a": ""}
	update(t, s, func(tx *keystore.Tx) error {
		for _, g := range grants {
			if err := tx.CreateGrant(g); err != nil {
				return err
			}
		}
		return nil
	})
	list, err := s.GrantsOf(t.Context(), newKey("k").KeyID(), aliceARN)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		context map[string]string
		want    []int
	}{
		{nil, []int{1}}, {map[string]string{"a": "2"}, []int{1}}, {map[string]string{"A": "1"}, []int{1, 2}},
		{map[string]string{"a": "1", "volume": "vol-7"}, []int{1, 2, 3}}, {map[string]string{"volume": "vol-7"}, []int{1, 3}},
		{map[string]string{"x": ""}, []int{1, 4}},
	} {
		var want []string
		for _, n := range c.want {
			want = append(want, grantNumber(n))
		}
		wantStrings(t, fmt.Sprint(c.context), slices.Sorted(list.For(c.context)), want)
	}
	wantStrings(t, "all", slices.Sorted(list.All()), []string{grantNumber(1), grantNumber(2), grantNumber(3), grantNumber(4)})
	wantStrings(t, "no constraints", slices.Collect(func(yield func(string) bool) {
		list, err := s.GrantsOf(t.Context(), newKey("l").KeyID(), aliceARN)
		if err != nil {
			t.Fatal(err)
		}
		list.For(map[string]string{"a": "1"})(yield)
	}), []string{grantNumber(5)})
	for _, limit := range []int{1, 3, 9} {
		wantStrings(t, "scanned", slices.Sorted(slices.Values(scanGrants(t, s, "k", aliceARN, limit))), slices.Sorted(list.All()))
	}
}

// TestGrantTampering: whoever can write the file can take grants away, but can neither make nor
// change one.
func TestGrantTampering(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, quietEngine{e}, a)
	grant := newGrant("k", 1, aliceARN, bobARN)
	grant.Name = "n"
	update(t, s, func(tx *keystore.Tx) error { return tx.CreateGrant(grant) })
	keys := records(t, e)
	if len(keys) != 5 {
		t.Fatalf("a grant is %d records: %v", len(keys), keys)
	}
	place := func(kind string) string {
		i := slices.IndexFunc(keys, func(k string) bool { return strings.Contains(k, "/"+kind+"/") })
		return keys[i]
	}
	raw := rawGet(t, e, place("grant"))
	moved := strings.Replace(place("grant"), grantNumber(1), grantNumber(2), 1)
	rawPut(t, e, moved, raw)
	if _, err := s.Grant(t.Context(), keystore.GrantID{Key: grant.Key(), ID: grantNumber(2)}); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("a grant under another id: %v", err)
	}
	changed := slices.Clone(raw)
	changed[len(changed)/2] ^= 1
	rawPut(t, e, place("grant"), changed)
	if _, err := s.Grant(t.Context(), grant.GrantID()); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("a changed grant: %v", err)
	}
	// Such grants do not keep a deleted key's grants from being removed.
	update(t, s, func(tx *keystore.Tx) error {
		return errors.Join(tx.SweepGrant(grant.GrantID()), tx.SweepGrant(keystore.GrantID{Key: grant.Key(), ID: grantNumber(2)}))
	})
	if _, err := s.Grant(t.Context(), grant.GrantID()); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("after sweeping: %v", err)
	}
	// Nor do missing index entries keep a grant from being deleted.
	grant = newGrant("m", 3, aliceARN, bobARN)
	update(t, s, func(tx *keystore.Tx) error { return tx.CreateGrant(grant) })
	for _, key := range records(t, e) {
		if strings.Contains(key, ";"+grantNumber(3)) && !strings.Contains(key, "/grant/") || strings.Contains(key, "/grant-count/") {
			rawPut(t, e, key, nil)
		}
	}
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteGrant(grant.GrantID()) })
}

func TestGrantRecordsThatCannotBe(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	for name, change := range map[string]func(*keystore.GrantRecord){
		"no key":            func(r *keystore.GrantRecord) { r.KeyID = "" },
		"a short id":        func(r *keystore.GrantRecord) { r.ID = "00" },
		"an id in capitals": func(r *keystore.GrantRecord) { r.ID = strings.Repeat("AB", 32) },
		"no grantee":        func(r *keystore.GrantRecord) { r.GranteePrincipal = "" },
		"two grantees":      func(r *keystore.GrantRecord) { r.GranteeServicePrincipal = "x.y" },
		"two that retire":   func(r *keystore.GrantRecord) { r.RetiringPrincipal, r.RetiringServicePrincipal = aliceARN, "x.y" },
		"a semicolon":       func(r *keystore.GrantRecord) { r.GranteePrincipal += ";" },
		"no operation":      func(r *keystore.GrantRecord) { r.Operations = nil },
		"no time":           func(r *keystore.GrantRecord) { r.Created = time.Time{} },
		"no UTF-8":          func(r *keystore.GrantRecord) { r.EncryptionContextEquals = map[string]string{"a": "\xff"} },
	} {
		grant := newGrant("k", 1, aliceARN, "")
		change(grant)
		if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.CreateGrant(grant) }); !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGrantsOfAnotherNode: what another node writes shows in the list of a grantee, through the
// feed and without one.
func TestGrantsOfAnotherNode(t *testing.T) {
	e := &twoNodeEngine{Engine: newEngine(t)}
	a := newAuthenticator()
	here := newStore(t, e, a)
	there := openStore(t, e.Engine, a, keystore.Options{})
	wantStrings(t, "before", grantsOf(t, here, "k", aliceARN), nil)
	update(t, there, func(tx *keystore.Tx) error { return tx.CreateGrant(newGrant("k", 1, aliceARN, "")) })
	eventually(t, "the other node's grant", func() bool { return len(grantsOf(t, here, "k", aliceARN)) == 1 })
	update(t, there, func(tx *keystore.Tx) error { return tx.DeleteGrant(newGrant("k", 1, aliceARN, "").GrantID()) })
	eventually(t, "its end", func() bool { return len(grantsOf(t, here, "k", aliceARN)) == 0 })
	e.setFeed(false)
	eventually(t, "an empty cache without a feed", func() bool { return keystore.CachedRecords(here) == 0 })
	update(t, there, func(tx *keystore.Tx) error { return tx.CreateGrant(newGrant("k", 2, aliceARN, "")) })
	wantStrings(t, "without a feed", grantsOf(t, here, "k", aliceARN), []string{grantNumber(2)})
}

// TestLateGrantList: a list that was read before a write must not stay in the cache after it.
func TestLateGrantList(t *testing.T) {
	e := &pausingEngine{Engine: newEngine(t)}
	s := newStore(t, e, newAuthenticator())
	write := func() {
		update(t, s, func(tx *keystore.Tx) error { return tx.CreateGrant(newGrant("k", 1, aliceARN, "")) })
	}
	e.pause.Store(&write)
	wantStrings(t, "read before the write", grantsOf(t, s, "k", aliceARN), nil)
	wantStrings(t, "after it", grantsOf(t, s, "k", aliceARN), []string{grantNumber(1)})
}

func TestScanUsers(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	update(t, s, func(tx *keystore.Tx) error {
		for _, name := range []string{"a/b", "c"} {
			if err := tx.CreateUser(&keystore.UserRecord{Partition: "aws", Account: "111122223333", Name: name, ARN: "x", Created: when, ID: "i"}); err != nil {
				return err
			}
		}
		return nil
	})
	for account, want := range map[string][]string{"111122223333": {"a/b", "c"}, "444455556666": nil} {
		names, more, err := s.ScanUsers(t.Context(), "aws", account, "", 2)
		if err != nil || more || !slices.Equal(names, want) {
			t.Errorf("the users of %s are %v, %v, %v", account, names, more, err)
		}
	}
}

// TestGrantHitsMakeNoTokenCall: who has a grant, and who has none, is decided in memory.
func TestGrantHitsMakeNoTokenCall(t *testing.T) {
	a := newAuthenticator()
	e := &pausingEngine{Engine: quietEngine{newEngine(t)}}
	s := newStore(t, e, a)
	update(t, s, func(tx *keystore.Tx) error { return tx.CreateGrant(newGrant("k", 1, aliceARN, "")) })
	look := func() {
		for _, id := range grantsOf(t, s, "k", aliceARN) {
			if _, err := s.Grant(t.Context(), keystore.GrantID{Key: newKey("k").KeyID(), ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		grantsOf(t, s, "k", bobARN)
	}
	look()
	before := a.calls.Load()
	reads := func() { t.Error("the engine is read") }
	e.pause.Store(&reads)
	look()
	if n := a.calls.Load() - before; n != 0 {
		t.Errorf("%d token calls", n)
	}
}

func BenchmarkGrantHit(b *testing.B) {
	s := newStore(b, newEngine(b), newAuthenticator())
	update(b, s, func(tx *keystore.Tx) error { return tx.CreateGrant(newGrant("k", 1, aliceARN, "")) })
	key := newKey("k").KeyID()
	b.ReportAllocs()
	for b.Loop() {
		for _, id := range grantsOf(b, s, "k", aliceARN) {
			if _, err := s.Grant(b.Context(), keystore.GrantID{Key: key, ID: id}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
