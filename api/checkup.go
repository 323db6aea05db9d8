package api

import (
	"context"
	"errors"
	"sync"
	"time"
)

// checkupInterval is how long the result of a health check stands. The check needs no credentials
// and costs token calls, so however many ask, it is made at most that often.
const checkupInterval = time.Second

// errCheckHangs is the result while a check takes longer than healthTimeout: it waits for a token or for
// the store.
var errCheckHangs = errors.New("the health check itself does not come back")

// A checkup keeps the result of the last health check.
type checkup struct {
	mu    sync.Mutex
	last  time.Time
	err   error
	began time.Time     // of the check under way
	done  chan struct{} // closed when it ends; nil: there is none
}

// result gives the result of the last check, or of a new one if that is too old: those who ask during a
// check wait for it. A client that hangs up does not spoil the check for the others. A call into a token
// cannot be interrupted, so a check can outlast any bound: nobody waits for it longer than healthTimeout
// after it began, and no second one is made beside it.
func (c *checkup) result(ctx context.Context, check func(context.Context) error) error {
	return c.within(ctx, check, healthTimeout)
}

// within is result for who waits no longer than a time of its own: then the result of the check before
// stands, which is good until there is one.
func (c *checkup) within(ctx context.Context, check func(context.Context) error, patience time.Duration) error {
	c.mu.Lock()
	if now := time.Now(); c.done == nil {
		if !c.last.IsZero() && now.Sub(c.last) < checkupInterval {
			defer c.mu.Unlock()
			return c.err
		}
		c.began, c.done = now, make(chan struct{})
		go c.run(context.WithoutCancel(ctx), check, c.done)
	}
	done, rest := c.done, time.Until(c.began.Add(healthTimeout))
	c.mu.Unlock()
	timeout := time.NewTimer(max(min(rest, patience), 0))
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		if rest <= patience {
			return errCheckHangs
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *checkup) run(ctx context.Context, check func(context.Context) error, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	err := check(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.last, c.done = err, time.Now(), nil
	close(done)
}

// regionPatience is how long the answer about all waits for what a Region's own tokens say.
const regionPatience = time.Second

// regionCheckups has a checkup for each Region that has tokens of its own, which are few.
type regionCheckups struct {
	mu       sync.Mutex
	byRegion map[string]*checkup
}

func (c *regionCheckups) of(region string) *checkup {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byRegion[region] == nil {
		if c.byRegion == nil {
			c.byRegion = map[string]*checkup{}
		}
		c.byRegion[region] = new(checkup)
	}
	return c.byRegion[region]
}
