package hsm

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"testing"
	"time"
)

// fakeObjects stands for the token: it hands out handles and knows which are alive.
type fakeObjects struct {
	last  object
	alive map[object]bool
}

func (f *fakeObjects) make(*entry) (object, error) {
	f.last++
	f.alive[f.last] = true
	return f.last, nil
}

func newFake(bound int) (*cache, *fakeObjects) {
	f := &fakeObjects{alive: map[object]bool{}}
	return newCache(bound, func(o object) { delete(f.alive, o) }), f
}

func mustGet(t *testing.T, c *cache, key handleKey, produce func(*entry) (object, error)) *entry {
	t.Helper()
	e, _, err := c.get(t.Context(), key, produce)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestCacheKeepsWhatIsInUse(t *testing.T) {
	c, f := newFake(2)
	var held []*entry
	for _, name := range []string{"a", "b", "c", "d"} {
		held = append(held, mustGet(t, c, handleKey{material: name}, f.make))
	}
	if len(f.alive) != 4 {
		t.Fatalf("%d alive of 4 in use", len(f.alive))
	}
	c.release(held[1])
	c.release(held[2])
	if len(f.alive) != 2 || !f.alive[held[0].handle] || !f.alive[held[3].handle] {
		t.Errorf("alive: %v", f.alive)
	}
	c.drop(func(handleKey) bool { return true })
	if len(f.alive) != 2 || c.size() != 0 {
		t.Errorf("dropped while in use: alive %v, size %d", f.alive, c.size())
	}
	again := mustGet(t, c, handleKey{material: "a"}, f.make)
	if again == held[0] {
		t.Error("a dropped entry comes back")
	}
	c.release(held[0])
	c.release(held[3])
	if len(f.alive) != 1 || !f.alive[again.handle] {
		t.Errorf("alive: %v", f.alive)
	}
}

func TestCacheEvictsTheLeastRecent(t *testing.T) {
	c, f := newFake(2)
	handles := map[string]object{}
	for _, name := range []string{"a", "b", "a", "c"} {
		e := mustGet(t, c, handleKey{material: name}, f.make)
		handles[name] = e.handle
		c.release(e)
	}
	if len(f.alive) != 2 || f.alive[handles["b"]] {
		t.Errorf("alive: %v of %v", f.alive, handles)
	}
}

// TestCacheKeepsWhatIsUsed has an entry outlive many times as many others as the cache holds.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	const bound = 16
	c, f := newFake(bound)
	used := mustGet(t, c, handleKey{material: "used"}, f.make)
	c.release(used)
	for i := range 5 * bound {
		c.release(mustGet(t, c, handleKey{material: strconv.Itoa(i)}, f.make))
		if i%(bound/2) != 0 {
			continue
		}
		again := mustGet(t, c, handleKey{material: "used"}, f.make)
		c.release(again)
		if again != used {
			t.Fatalf("it gave way to %d others", i+1)
		}
	}
}

func TestCacheFailedMake(t *testing.T) {
	c, f := newFake(2)
	broken := errors.New("broken")
	started, finish := make(chan struct{}), make(chan struct{})
	result := make(chan error)
	go func() {
		_, _, err := c.get(context.Background(), handleKey{material: "a"}, func(*entry) (object, error) {
			close(started)
			<-finish
			return 0, context.Canceled
		})
		result <- err
	}()
	<-started
	// A waiter whose own context ends leaves at once.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.get(ended, handleKey{material: "a"}, f.make); !errors.Is(err, context.Canceled) {
		t.Errorf("waiter: %v", err)
	}
	// One whose context is good does not inherit the maker's cancellation.
	go func() {
		_, _, err := c.get(context.Background(), handleKey{material: "a"}, f.make)
		result <- err
	}()
	close(finish)
	first, second := <-result, <-result
	if (first == nil) == (second == nil) {
		t.Errorf("maker and waiter: %v, %v", first, second)
	}
	if _, _, err := c.get(t.Context(), handleKey{material: "b"}, func(*entry) (object, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("get: %v", err)
	}
	if c.size() != 1 {
		t.Errorf("%d entries", c.size())
	}
}

// TestRunSurvivesEviction checks that a run whose key was evicted goes on with fresh IVs, and that
// limits end it.
func TestRunSurvivesEviction(t *testing.T) {
	const limit = 4
	c, f := newFake(8)
	const now, minute = 1, int64(time.Minute)
	base := mustGet(t, c, handleKey{material: "m"}, f.make)
	nonce := bytes.Repeat([]byte{9}, 15)
	c.begin(base, nonce, now+minute)
	key := handleKey{material: "m", derived: true, nonce: [maxNonce]byte{1}}
	ivs := map[[ivSize]byte]bool{}
	for i := range limit {
		if i == 2 {
			c.drop(func(k handleKey) bool { return k == key })
			if _, ok := c.next("m", limit, now); ok {
				t.Fatal("a run without its key")
			}
		}
		if i == 0 || i == 2 {
			if got := c.pending(base, limit, now); !bytes.Equal(got, nonce) {
				t.Fatalf("message %d: pending %x", i, got)
			}
			derived := mustGet(t, c, key, f.make)
			ticket, ok := c.join(base, derived, nonce, limit)
			if !ok {
				t.Fatal("join")
			}
			ivs[ticket.iv] = true
			c.release(derived)
			c.release(ticket.key)
			continue
		}
		ticket, ok := c.next("m", limit, now)
		if !ok {
			t.Fatalf("message %d", i)
		}
		ivs[ticket.iv] = true
		c.release(ticket.key)
	}
	if len(ivs) != limit {
		t.Errorf("%d IVs in %d messages", len(ivs), limit)
	}
	if _, ok := c.next("m", limit, now); ok {
		t.Error("a message beyond the limit")
	}
	if got := c.pending(base, limit, now); got != nil {
		t.Errorf("an exhausted run goes on: %x", got)
	}
	c.begin(base, nonce, now+minute)
	if got := c.pending(base, limit, now+2*minute); got != nil {
		t.Errorf("a run goes on after its time: %x", got)
	}
	// A run of a material that was dropped hands out nothing.
	c.begin(base, nonce, now+minute)
	derived := mustGet(t, c, key, f.make)
	c.drop(func(k handleKey) bool { return !k.derived })
	if _, ok := c.join(base, derived, nonce, limit); ok {
		t.Error("a message of a dropped material")
	}
}

// TestCacheLeavesTokenObjects: what the token keeps is let go of, and never destroyed.
func TestCacheLeavesTokenObjects(t *testing.T) {
	c, f := newFake(1)
	own := func(e *entry) (object, error) {
		o, err := f.make(e)
		e.resting = o
		return o, err
	}
	held := mustGet(t, c, handleKey{material: "a"}, own)
	c.drop(func(handleKey) bool { return true })
	c.release(held)
	for _, name := range []string{"b", "c"} { // the first gives way
		c.release(mustGet(t, c, handleKey{material: name}, own))
	}
	c.drop(func(handleKey) bool { return true })
	if len(f.alive) != 3 {
		t.Errorf("%d of 3 are left", len(f.alive))
	}
	copied := mustGet(t, c, handleKey{material: "d"}, func(e *entry) (object, error) {
		e.resting = 1
		return f.make(e)
	})
	c.release(copied)
	c.drop(func(handleKey) bool { return true })
	if len(f.alive) != 3 || f.alive[copied.handle] {
		t.Errorf("the copy is left: %v", f.alive)
	}
}
