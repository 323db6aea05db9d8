package xks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// breakAfter is how many requests in a row have to fail on the way before others are spared it.
	breakAfter = 5
	// A proxy that fails is left alone for firstRest, then tried by one request; each failure
	// doubles the time, up to lastRest.
	firstRest = 250 * time.Millisecond
	lastRest  = 2 * time.Second
)

// A breaker keeps requests from a proxy that does not answer, so that they fail at once instead of
// at the end of their budget, and bounds those that are under way. An error answer is an answer: only
// what happens on the way counts.
type breaker struct {
	slots chan struct{}
	log   *slog.Logger
	now   func() time.Time

	mu       sync.Mutex
	failures int       // in a row
	cause    error     // of the last of them
	until    time.Time // when the next request may try, once failures has reached breakAfter
	rest     time.Duration
	trying   bool // one does
}

func newBreaker(inFlight int, log *slog.Logger) *breaker {
	return &breaker{slots: make(chan struct{}, inFlight), log: log, now: time.Now}
}

// enter lets a request go out. leave takes its outcome; every nil error needs one. A request that is
// not let out gets the failure that the breaker waits to be over.
func (b *breaker) enter(ctx context.Context) (leave func(error), err error) {
	probe, err := b.pass()
	if err != nil {
		return nil, err
	}
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		b.abandon(probe)
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return nil, context.Canceled
		}
		return nil, fmt.Errorf("%w: %d requests are under way", ErrTimeout, cap(b.slots))
	}
	return func(err error) {
		<-b.slots
		b.settle(probe, err)
	}, nil
}

// pass says whether a request may go out, and whether it is the one that tries a failing proxy.
func (b *breaker) pass() (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return false, nil
	}
	if b.trying || b.now().Before(b.until) {
		return false, fmt.Errorf("not asked, because it fails: %w", b.cause)
	}
	b.trying = true
	return true, nil
}

// abandon ends a request that did not go out.
func (b *breaker) abandon(probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.trying = false
	}
}

// settle counts the outcome of a request.
func (b *breaker) settle(probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.trying = false
	}
	switch {
	case errors.Is(err, context.Canceled):
	case errors.Is(err, ErrTimeout), errors.Is(err, ErrTLS), errors.Is(err, ErrUnreachable):
		b.fail(probe, err)
	default:
		if b.failures >= breakAfter {
			b.log.Info("the external key store proxy answers again")
		}
		b.failures, b.cause, b.rest = 0, nil, 0
	}
}

// fail counts a failure. mu is held.
func (b *breaker) fail(probe bool, err error) {
	b.failures++
	b.cause = err
	switch {
	case b.failures == breakAfter:
		b.rest = firstRest
		b.log.Warn("the external key store proxy does not answer; requests fail at once until it does", "error", err)
	case probe:
		b.rest = min(2*b.rest, lastRest)
	default:
		return // one that was let out before
	}
	b.until = b.now().Add(b.rest)
}
