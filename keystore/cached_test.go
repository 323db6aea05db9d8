package keystore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
)

func TestHitsMakeNoTokenCall(t *testing.T) {
	a := newAuthenticator()
	s := newStore(t, quietEngine{newEngine(t)}, a)
	putKey(t, s, newKey("k"))
	wantKey(t, s, newKey("k"))
	before := a.calls.Load()
	first, _ := s.Key(t.Context(), newKey("k").KeyID())
	second, _ := s.Key(t.Context(), newKey("k").KeyID())
	if first != second || first == nil {
		t.Error("two hits give two records")
	}
	if n := a.calls.Load() - before; n != 0 {
		t.Errorf("two hits made %d token calls", n)
	}
}

func TestHitsDoNotAllocate(t *testing.T) {
	s := newStore(t, quietEngine{newEngine(t)}, newAuthenticator())
	r := newKey("1234abcd-12ab-34cd-56ef-1234567890ab")
	putKey(t, s, r)
	wantKey(t, s, r)
	id := r.KeyID()
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := s.Key(ctx, id); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

func TestCacheBound(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	var records []*keystore.KeyRecord
	for i := range 50 {
		records = append(records, newKey(fmt.Sprint("k", i)))
	}
	putKey(t, newStore(t, e, a), records...)
	for _, bound := range []int{-1, 1, 4} {
		s := openStore(t, e, a, keystore.Options{CacheRecords: bound})
		for range 3 {
			for _, r := range records {
				wantKey(t, s, r)
			}
		}
		if n := keystore.CachedRecords(s); n > max(bound, 0) {
			t.Errorf("a cache of %d holds %d records", bound, n)
		}
	}
	s := openStore(t, e, a, keystore.Options{CacheRecords: 20_000})
	for _, r := range records {
		wantKey(t, s, r)
	}
	if n := keystore.CachedRecords(s); n != len(records) {
		t.Errorf("a cache of 20,000 holds %d of %d records", n, len(records))
	}
}

// TestHotRecordStays: a scan of many records does not push out the one that is in use.
func TestHotRecordStays(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	var records []*keystore.KeyRecord
	for i := range 200 {
		records = append(records, newKey(fmt.Sprint("k", i)))
	}
	putKey(t, newStore(t, e, a), records...)
	s := openStore(t, e, a, keystore.Options{CacheRecords: 8})
	wantKey(t, s, records[0])
	wantKey(t, s, records[0])
	misses := 0
	for _, r := range records[1:] {
		wantKey(t, s, r)
		before := a.calls.Load()
		wantKey(t, s, records[0])
		misses += int(a.calls.Load() - before)
	}
	if misses != 0 {
		t.Errorf("the hot record was loaded %d times more", misses)
	}
}

// TestReadAfterWrite: once Update has returned nobody reads the old record, whoever else reads and
// writes at the time.
func TestReadAfterWrite(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	const keys, rounds = 4, 40
	var current [keys]atomic.Int64
	for k := range keys {
		r := newKey(strconv.Itoa(k))
		r.Description = "0"
		putKey(t, s, r)
	}
	ctx, stop := context.WithCancel(t.Context())
	var reading, writing sync.WaitGroup
	for i := range 4 {
		reading.Go(func() {
			for k := i % keys; ctx.Err() == nil; k = (k + 1) % keys {
				least := current[k].Load()
				r, err := s.Key(t.Context(), newKey(strconv.Itoa(k)).KeyID())
				if err != nil {
					t.Error(err)
					return
				}
				if got, _ := strconv.ParseInt(r.Description, 10, 64); got < least {
					t.Errorf("read %d of key %d after %d was written", got, k, least)
				}
			}
		})
	}
	for k := range keys {
		writing.Go(func() {
			for n := int64(1); n <= rounds; n++ {
				err := s.Update(t.Context(), func(tx *keystore.Tx) error {
					r, err := tx.Key(newKey(strconv.Itoa(k)).KeyID())
					if err != nil {
						return err
					}
					r = r.Clone()
					r.Description = strconv.FormatInt(n, 10)
					return tx.PutKey(r)
				})
				if err != nil {
					t.Error(err)
					return
				}
				current[k].Store(n)
			}
		})
	}
	writing.Wait()
	stop()
	reading.Wait()
	if h, err := s.Header(t.Context()); err != nil || h.Revision != 1+keys+keys*rounds {
		t.Errorf("the header is %+v, %v", h, err)
	}
}

// pausingEngine lets a test hold a View after it has read.
type pausingEngine struct {
	keystore.Engine
	pause atomic.Pointer[func()]
}

func (e *pausingEngine) View(ctx context.Context, fn func(keystore.EngineTx) error) error {
	err := e.Engine.View(ctx, fn)
	if pause := e.pause.Swap(nil); pause != nil {
		(*pause)()
	}
	return err
}

// TestLateLoad: a load that read before a write must not leave the old record in the cache.
func TestLateLoad(t *testing.T) {
	e, a := &pausingEngine{Engine: newEngine(t)}, newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"))
	changed := newKey("k")
	changed.Description = "changed"
	write := func() { putKey(t, s, changed) }
	e.pause.Store(&write)
	wantKey(t, s, newKey("k")) // read before the write: the old record is right
	wantKey(t, s, changed)
}

// twoNodeEngine is one node's view of an engine that another node writes to as well; its feed can
// be cut.
type twoNodeEngine struct {
	keystore.Engine
	mu     sync.Mutex
	cut    func()
	refuse bool
}

var errNoFeed = errors.New("the cluster cannot be reached")

func (e *twoNodeEngine) Watch(ctx context.Context) (<-chan keystore.Change, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse {
		return nil, errNoFeed
	}
	ctx, e.cut = context.WithCancel(ctx)
	return e.Engine.Watch(ctx)
}

func (e *twoNodeEngine) setFeed(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse = !on; e.refuse {
		e.cut()
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestForeignWrites(t *testing.T) {
	e := &twoNodeEngine{Engine: newEngine(t)}
	a := newAuthenticator()
	here := newStore(t, e, a)
	there := openStore(t, e.Engine, a, keystore.Options{})
	putKey(t, there, newKey("k"))
	wantKey(t, here, newKey("k"))

	seen := func(description string) func() bool {
		return func() bool {
			r, err := here.Key(t.Context(), newKey("k").KeyID())
			return err == nil && r.Description == description
		}
	}
	changed := newKey("k")
	changed.Description = "through the feed"
	putKey(t, there, changed)
	eventually(t, "the other node's write", seen("through the feed"))

	// Without a feed nothing is kept, so a write shows at once.
	e.setFeed(false)
	eventually(t, "an empty cache without a feed", func() bool {
		wantKey(t, here, changed)
		return keystore.CachedRecords(here) == 0
	})
	for i := range 5 {
		changed = changed.Clone()
		changed.Description = fmt.Sprint("without a feed ", i)
		putKey(t, there, changed)
		wantKey(t, here, changed)
	}

	e.setFeed(true)
	eventually(t, "a cache in use again", func() bool {
		wantKey(t, here, changed)
		return keystore.CachedRecords(here) == 1
	})
	changed = changed.Clone()
	changed.Description = "through the new feed"
	putKey(t, there, changed)
	eventually(t, "a write after the feed came back", seen("through the new feed"))

	// Both nodes write in turn: each takes the other's header for what it is.
	for i := range 6 {
		s := []*keystore.Store{here, there}[i%2]
		changed = changed.Clone()
		changed.Description = fmt.Sprint("turn ", i)
		putKey(t, s, changed)
		wantKey(t, s, changed)
	}
}

func TestCloseStopsTheFeed(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantKey(t, s, newKey("k"))
	if n := keystore.CachedRecords(s); n != 0 {
		t.Errorf("a closed store keeps %d records", n)
	}
}

func TestScanKeys(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	const n, page = 10_000, 997
	want := make([]string, n)
	err := s.Update(t.Context(), func(tx *keystore.Tx) error {
		for i := range n {
			want[i] = fmt.Sprintf("%08d-12ab", i)
			if err := tx.CreateKey(newKey(want[i])); err != nil {
				return err
			}
		}
		// Neighbours in the order of the engine, none of which is in the scope.
		for _, where := range []keystore.KeyID{
			{Account: "111122223333", Region: "us-east-1-x"}, {Account: "111122223333", Region: "us-east-10"},
			{Account: "111122223333", Region: "us-east-"}, {Account: "111122223334", Region: "us-east-1"},
		} {
			r := newKey("neighbour")
			r.Account, r.Region = where.Account, where.Region
			if err := tx.CreateKey(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	scope := keystore.Scope{Partition: "aws", Account: "111122223333", Region: "us-east-1"}
	var got []string
	after, more := "", true
	for more {
		var ids []string
		if ids, more, err = s.ScanKeys(t.Context(), scope, after, page); err != nil {
			t.Fatal(err)
		}
		if len(ids) != min(page, n-len(got)) {
			t.Fatalf("a page of %d ids after %d", len(ids), len(got))
		}
		got = append(got, ids...)
		after = ids[len(ids)-1]
	}
	if len(got) != n {
		t.Fatalf("%d ids", len(got))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("id %d is %s", i, got[i])
		}
	}
	// The id that a scan goes on behind need not exist any more.
	if ids, more, err := s.ScanKeys(t.Context(), scope, "00009997-zzzz", 5); err != nil || more || fmt.Sprint(ids) != "[00009998-12ab 00009999-12ab]" {
		t.Errorf("%v %v %v", ids, more, err)
	}
	if ids, more, err := s.ScanKeys(t.Context(), keystore.Scope{Partition: "aws", Account: "1", Region: "x"}, "", 5); err != nil || more || len(ids) != 0 {
		t.Errorf("an empty scope: %v %v %v", ids, more, err)
	}
	if _, _, err := s.ScanKeys(t.Context(), scope, "", 0); !errors.Is(err, keystore.ErrInvalid) {
		t.Errorf("a limit of 0: %v", err)
	}
}

func BenchmarkKeyHit(b *testing.B) {
	s := newStore(b, quietEngine{newEngine(b)}, newAuthenticator())
	r := newKey("1234abcd-12ab-34cd-56ef-1234567890ab")
	putKey(b, s, r)
	wantKey(b, s, r)
	id := r.KeyID()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Key(context.Background(), id); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkKeyMiss(b *testing.B) {
	e, a := newEngine(b), newAuthenticator()
	putKey(b, newStore(b, e, a), newKey("k"))
	s := openStore(b, e, a, keystore.Options{CacheRecords: -1})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Key(context.Background(), newKey("k").KeyID()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	s := newStore(b, newEngine(b), newAuthenticator())
	for b.Loop() {
		putKey(b, s, newKey("k"))
	}
}
