package enginetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/kms11/kms11/keystore"
)

var errWanted = errors.New("the function's own error")

func testReadYourWrites(t *testing.T, reopen Opener) {
	e := reopen(t)
	put(t, e, "a", "old", "b", "old")
	err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
		if err := errors.Join(tx.Put([]byte("a"), []byte("new")), tx.Delete([]byte("b")), tx.Put([]byte("c"), []byte("new"))); err != nil {
			return err
		}
		keys, err := scan(tx, nil, nil)
		if err != nil {
			return err
		}
		if fmt.Sprint(keys) != "[a c]" {
			return fmt.Errorf("a scan in the transaction gives %q", keys)
		}
		return errors.Join(hasValue(tx, "a", "new"), isAbsent(tx, "b"), hasValue(tx, "c", "new"))
	})
	if err != nil {
		t.Fatal(err)
	}
	wantScan(t, e, nil, nil, []string{"a", "c"})
}

func testViewCannotWrite(t *testing.T, reopen Opener) {
	e := reopen(t)
	put(t, e, "a", "1")
	view(t, e, func(tx keystore.EngineTx) error {
		if err := tx.Put([]byte("a"), []byte("2")); !errors.Is(err, keystore.ErrReadOnly) {
			t.Errorf("Put in a View: %v, want ErrReadOnly", err)
		}
		if err := tx.Delete([]byte("a")); !errors.Is(err, keystore.ErrReadOnly) {
			t.Errorf("Delete in a View: %v, want ErrReadOnly", err)
		}
		return nil
	})
	wantValue(t, e, "a", "1")
	if err := e.View(t.Context(), func(keystore.EngineTx) error { return errWanted }); !errors.Is(err, errWanted) {
		t.Errorf("View gives %v instead of the function's error", err)
	}
}

func testRollbackOnError(t *testing.T, reopen Opener) {
	e := reopen(t)
	put(t, e, "a", "1", "b", "1")
	err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
		return errors.Join(tx.Put([]byte("a"), []byte("2")), tx.Delete([]byte("b")), tx.Put([]byte("c"), []byte("2")), errWanted)
	})
	if !errors.Is(err, errWanted) {
		t.Fatalf("Update gives %v instead of the function's error", err)
	}
	wantUntouched := func() {
		t.Helper()
		wantScan(t, e, nil, nil, []string{"a", "b"})
		wantValue(t, e, "a", "1")
		wantValue(t, e, "b", "1")
	}
	wantUntouched()
	e = reopen(t)
	wantUntouched()
}

func testRollbackOnPanic(t *testing.T, reopen Opener) {
	e := reopen(t)
	put(t, e, "a", "1")
	for _, run := range []func(context.Context, func(keystore.EngineTx) error) error{e.Update, e.View} {
		got := func() (p any) {
			defer func() { p = recover() }()
			_ = run(t.Context(), func(tx keystore.EngineTx) error {
				_ = tx.Put([]byte("a"), []byte("2"))
				panic("wanted")
			})
			return nil
		}()
		if got != "wanted" {
			t.Errorf("the panic came out as %v", got)
		}
	}
	wantValue(t, e, "a", "1")
	put(t, e, "a", "3") // nothing is locked
	wantValue(t, e, "a", "3")
}

func testContextEnded(t *testing.T, reopen Opener) {
	e := reopen(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := func(keystore.EngineTx) error { t.Error("the function ran"); return nil }
	if err := e.View(ctx, never); !errors.Is(err, context.Canceled) {
		t.Errorf("View: %v", err)
	}
	if err := e.Update(ctx, never); !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	if _, err := e.Watch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

func testContextEndsInUpdate(t *testing.T, reopen Opener) {
	e := reopen(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := e.Update(ctx, func(tx keystore.EngineTx) error {
		defer cancel()
		return tx.Put([]byte("a"), []byte("1"))
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	wantAbsent(t, e, "a")
}

// testContextEndsInQueue: an Update that waits for another one, where the engine makes it wait,
// gives up when its context ends. An optimistic engine does not make it wait; then it is done.
func testContextEndsInQueue(t *testing.T, reopen Opener) {
	e := reopen(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	first := make(chan error)
	go func() {
		first <- e.Update(t.Context(), func(tx keystore.EngineTx) error {
			once.Do(func() { close(inside) })
			<-leave
			return tx.Put([]byte("a"), []byte("1"))
		})
	}()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error)
	go func() {
		second <- e.Update(ctx, func(tx keystore.EngineTx) error { return tx.Put([]byte("b"), []byte("1")) })
	}()
	cancel()
	if err := <-second; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the second Update: %v", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Errorf("the first Update: %v", err)
	}
	wantValue(t, e, "a", "1")
}

func testSnapshotIsolation(t *testing.T, reopen Opener) {
	e := reopen(t)
	put(t, e, "a", "1", "b", "1")
	view(t, e, func(tx keystore.EngineTx) error {
		if err := hasValue(tx, "a", "1"); err != nil {
			return err
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			put(t, e, "a", "2", "b", "2", "c", "2")
		}()
		<-done
		keys, err := scan(tx, nil, nil)
		if err == nil && fmt.Sprint(keys) != "[a b]" {
			err = fmt.Errorf("a snapshot's scan gives %q", keys)
		}
		return errors.Join(err, hasValue(tx, "a", "1"), hasValue(tx, "b", "1"), isAbsent(tx, "c"))
	})
	wantValue(t, e, "c", "2")
}

// testCounter: no increment is lost, and readers see whole transactions and never go back.
func testCounter(t *testing.T, reopen Opener) {
	const writers, readers, rounds = 4, 4, 25
	e := reopen(t)
	put(t, e, "left", "0", "right", "0")
	ctx, stop := context.WithCancel(t.Context())
	var writing, reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			last := 0
			for ctx.Err() == nil {
				err := e.View(t.Context(), func(tx keystore.EngineTx) error {
					left, right := number(t, tx, "left"), number(t, tx, "right")
					if left != right || left < last {
						t.Errorf("a reader sees %d and %d after %d", left, right, last)
					}
					last = left
					return nil
				})
				if err != nil {
					t.Errorf("View: %v", err)
				}
			}
		})
	}
	for range writers {
		writing.Go(func() {
			for range rounds {
				err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
					return errors.Join(
						tx.Put([]byte("left"), []byte(strconv.Itoa(number(t, tx, "left")+1))),
						tx.Put([]byte("right"), []byte(strconv.Itoa(number(t, tx, "right")+1))))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	writing.Wait()
	stop()
	reading.Wait()
	wantValue(t, e, "left", strconv.Itoa(writers*rounds))
	wantValue(t, e, "right", strconv.Itoa(writers*rounds))
}

func number(t *testing.T, tx keystore.EngineTx, key string) int {
	v, err := tx.Get([]byte(key))
	if err != nil {
		t.Errorf("Get(%q): %v", key, err)
	}
	n, err := strconv.Atoi(string(v))
	if err != nil {
		t.Error(err)
	}
	return n
}

// testWriteSkew: of many transactions that each add a key if a scan finds none, one adds it. This
// tells serialisable from snapshot isolation, with the phantom in a scan.
func testWriteSkew(t *testing.T, reopen Opener) {
	e := reopen(t)
	for round := range 10 {
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
					prefix := fmt.Sprintf("round %d/", round)
					keys, err := scan(tx, []byte(prefix), []byte(prefix+"\xff"))
					if err != nil || len(keys) > 0 {
						return err
					}
					return tx.Put(fmt.Appendf(nil, "%s%d", prefix, i), []byte("x"))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			})
		}
		wg.Wait()
	}
	view(t, e, func(tx keystore.EngineTx) error {
		keys, err := scan(tx, nil, nil)
		if err == nil && len(keys) != 10 {
			err = fmt.Errorf("10 rounds left %q", keys)
		}
		return err
	})
}

func testClosed(t *testing.T, reopen Opener) {
	e := reopen(t)
	put(t, e, "a", "1")
	if err := e.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	never := func(keystore.EngineTx) error { t.Error("the function ran"); return nil }
	if err := e.View(t.Context(), never); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("View: %v, want ErrClosed", err)
	}
	if err := e.Update(t.Context(), never); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("Update: %v, want ErrClosed", err)
	}
	if _, err := e.Watch(t.Context()); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("Watch: %v, want ErrClosed", err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}
