package api

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestCheckupStands(t *testing.T) {
	var c checkup
	made := 0
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	ill := errors.New("ill")
	check := func(ctx context.Context) error {
		made++
		if ctx.Err() != nil {
			t.Error("the check ends with the client who asked")
		}
		return ill
	}
	for range 100 {
		if err := c.result(gone, check); err != ill {
			t.Fatalf("got %v", err)
		}
		c.last = time.Now().Add(time.Hour) // however slow the machine is
	}
	if made != 1 {
		t.Errorf("%d checks for 100 questions", made)
	}
	c.last = time.Now().Add(-checkupInterval)
	if _ = c.result(t.Context(), check); made != 2 {
		t.Error("an old result was not renewed")
	}
}

// TestCheckupHangs: a check that does not come back is waited for so long and no longer, by those who
// come later not at all, and is not made a second time beside it.
func TestCheckupHangs(t *testing.T) {
	var c checkup
	var made atomic.Int32
	hang := make(chan struct{})
	check := func(context.Context) error {
		made.Add(1)
		<-hang
		return nil
	}
	first := make(chan error)
	go func() { first <- c.result(t.Context(), check) }()
	for made.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	c.mu.Lock()
	c.began = c.began.Add(-healthTimeout)
	c.mu.Unlock()
	for range 3 {
		if err := c.result(t.Context(), check); err != errCheckHangs {
			t.Errorf("a check that hangs says %v", err)
		}
	}
	close(hang)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := c.result(t.Context(), check); err != nil || made.Load() != 1 {
		t.Errorf("after %d checks: %v", made.Load(), err)
	}
}

// TestCheckupWithin: who waits for a shorter time than a check takes gets the result of the one before.
func TestCheckupWithin(t *testing.T) {
	var c checkup
	ill := errors.New("ill")
	if err := c.within(t.Context(), func(context.Context) error { return ill }, time.Hour); err != ill {
		t.Errorf("a check that ends: %v", err)
	}
	c.last = time.Now().Add(-checkupInterval)
	hang := make(chan struct{})
	check := func(context.Context) error {
		<-hang
		return nil
	}
	if err := c.within(t.Context(), check, 0); err != ill {
		t.Errorf("while the next one goes on: %v", err)
	}
	c.mu.Lock()
	c.began = c.began.Add(-healthTimeout)
	c.mu.Unlock()
	if err := c.within(t.Context(), check, 0); err != errCheckHangs {
		t.Errorf("when it has gone on for too long: %v", err)
	}
	c.mu.Lock()
	c.began = time.Now()
	done := c.done
	c.mu.Unlock()
	close(hang)
	<-done
	if err := c.within(t.Context(), check, time.Hour); err != nil {
		t.Errorf("when it has ended: %v", err)
	}
}
