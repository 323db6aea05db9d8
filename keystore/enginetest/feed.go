package enginetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
)

// patience is how long the suite waits for something that must come. It decides how long a broken
// engine takes to fail, not whether a slow machine passes.
const patience = time.Minute

func watch(t *testing.T, e keystore.Engine) <-chan keystore.Change {
	t.Helper()
	feed, err := e.Watch(t.Context())
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	return feed
}

func wantChange(t *testing.T, feed <-chan keystore.Change, key string) {
	t.Helper()
	select {
	case c, ok := <-feed:
		if !ok || string(c.Key) != key {
			t.Fatalf("the feed gives %q (open: %v), want %q", c.Key, ok, key)
		}
	case <-time.After(patience):
		t.Fatalf("the feed never gives %q", key)
	}
}

func wantEnd(t *testing.T, feed <-chan keystore.Change) {
	t.Helper()
	for {
		select {
		case _, ok := <-feed:
			if !ok {
				return
			}
		case <-time.After(patience):
			t.Fatal("the feed never ends")
		}
	}
}

func testFeedOrder(t *testing.T, reopen Opener) {
	e := reopen(t)
	put(t, e, "before", "1")
	feeds := []<-chan keystore.Change{watch(t, e), watch(t, e)}
	var want []string
	for i := range 50 {
		key := fmt.Sprint("key ", i)
		put(t, e, key, "1")
		want = append(want, key)
	}
	err := e.Update(t.Context(), func(tx keystore.EngineTx) error { return tx.Delete([]byte("before")) })
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, "before")
	for _, feed := range feeds {
		for _, key := range want {
			wantChange(t, feed, key)
		}
	}
}

func testFeedSkipsRollbacks(t *testing.T, reopen Opener) {
	e := reopen(t)
	feed := watch(t, e)
	err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
		return errors.Join(tx.Put([]byte("rolled back"), []byte("1")), errWanted)
	})
	if !errors.Is(err, errWanted) {
		t.Fatal(err)
	}
	put(t, e, "committed", "1")
	wantChange(t, feed, "committed")
}

func testFeedEndsWithContext(t *testing.T, reopen Opener) {
	e := reopen(t)
	ctx, cancel := context.WithCancel(t.Context())
	feed, err := e.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other := watch(t, e)
	cancel()
	wantEnd(t, feed)
	put(t, e, "a", "1")
	wantChange(t, other, "a")
}

func testFeedEndsWithClose(t *testing.T, reopen Opener) {
	e := reopen(t)
	idle, behind := watch(t, e), watch(t, e)
	put(t, e, "a", "1")
	wantChange(t, idle, "a")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, idle)
	wantEnd(t, behind)
}

// testSlowFeed: a reader that does not read loses its feed some time, and never holds up a writer.
func testSlowFeed(t *testing.T, reopen Opener) {
	e := reopen(t)
	slow := watch(t, e)
	const commits, keys = 10, 10_000
	for i := range commits {
		err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
			for j := range keys {
				if err := tx.Put(fmt.Appendf(nil, "%d/%d", i, j), nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range slow {
		if n++; n == commits*keys {
			return // an engine may remember it all
		}
	}
	put(t, e, "after", "1")
	again := watch(t, e)
	put(t, e, "b", "1")
	wantChange(t, again, "b")
}
