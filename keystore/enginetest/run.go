// Package enginetest is the one conformance suite for keystore engines.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kms11/kms11/keystore"
)

// An Opener opens the engine on one set of data: empty at the first call, what the last engine
// left behind at each later one. The suite closes every engine that it opens.
type Opener func(t *testing.T) keystore.Engine

// checker is an engine that can check the structure of its data. The suite has it do so after
// every test.
type checker interface{ Check(context.Context) error }

// Run tests an engine. fresh is called once for each test.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			open := fresh(t)
			var last keystore.Engine
			closeLast := func() {
				if last == nil {
					return
				}
				if c, ok := last.(checker); ok {
					if err := c.Check(context.Background()); err != nil && !errors.Is(err, keystore.ErrClosed) {
						t.Errorf("the engine's own check: %v", err)
					}
				}
				if err := last.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				last = nil
			}
			t.Cleanup(closeLast)
			c.run(t, func(t *testing.T) keystore.Engine {
				closeLast()
				last = open(t)
				return last
			})
		})
	}
}

var cases = []struct {
	name string
	run  func(t *testing.T, reopen Opener)
}{
	{"Order", testOrder},
	{"ScanBounds", testScanBounds},
	{"OddKeys", testOddKeys},
	{"EmptyValues", testEmptyValues},
	{"BigValues", testBigValues},
	{"Limits", testLimits},
	{"SlicesAreCopied", testSlicesAreCopied},
	{"Delete", testDelete},
	{"ReadYourWrites", testReadYourWrites},
	{"ViewCannotWrite", testViewCannotWrite},
	{"RollbackOnError", testRollbackOnError},
	{"RollbackOnPanic", testRollbackOnPanic},
	{"ContextEnded", testContextEnded},
	{"ContextEndsInUpdate", testContextEndsInUpdate},
	{"ContextEndsInQueue", testContextEndsInQueue},
	{"SnapshotIsolation", testSnapshotIsolation},
	{"Counter", testCounter},
	{"WriteSkew", testWriteSkew},
	{"Reopen", testReopen},
	{"Closed", testClosed},
	{"FeedOrder", testFeedOrder},
	{"FeedSkipsRollbacks", testFeedSkipsRollbacks},
	{"FeedEndsWithContext", testFeedEndsWithContext},
	{"FeedEndsWithClose", testFeedEndsWithClose},
	{"SlowFeedDoesNotStopWriters", testSlowFeed},
}

func put(t *testing.T, e keystore.Engine, pairs ...string) {
	t.Helper()
	err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := tx.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func view(t *testing.T, e keystore.Engine, fn func(tx keystore.EngineTx) error) {
	t.Helper()
	if err := e.View(t.Context(), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

// wantValue wants key to hold value in a transaction of its own.
func wantValue(t *testing.T, e keystore.Engine, key, value string) {
	t.Helper()
	view(t, e, func(tx keystore.EngineTx) error { return hasValue(tx, key, value) })
}

func wantAbsent(t *testing.T, e keystore.Engine, key string) {
	t.Helper()
	view(t, e, func(tx keystore.EngineTx) error { return isAbsent(tx, key) })
}

func hasValue(tx keystore.EngineTx, key, value string) error {
	got, err := tx.Get([]byte(key))
	if err != nil {
		return fmt.Errorf("Get(%q): %w", key, err)
	}
	if string(got) != value {
		return fmt.Errorf("Get(%q) gives %d bytes %.40q, want %d bytes %.40q", key, len(got), got, len(value), value)
	}
	return nil
}

func isAbsent(tx keystore.EngineTx, key string) error {
	if v, err := tx.Get([]byte(key)); !errors.Is(err, keystore.ErrNotFound) {
		return fmt.Errorf("Get(%q) gives %q, %v; want ErrNotFound", key, v, err)
	}
	return nil
}

// scan gives the keys from start to end.
func scan(tx keystore.EngineTx, start, end []byte) (keys []string, err error) {
	for p, err := range tx.Scan(start, end) {
		if err != nil {
			return nil, err
		}
		value, err := tx.Get(p.Key)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(value, p.Value) {
			return nil, fmt.Errorf("for %q a scan gives %q and Get gives %q", p.Key, p.Value, value)
		}
		keys = append(keys, string(p.Key))
	}
	return keys, nil
}
