package api

import (
	"context"
	"sync"
	"time"
)

// checkupInterval is how long the result of a health check stands. The check needs no credentials
// and costs token calls, so however many ask, it is made at most that often.
const checkupInterval = time.Second

// A checkup keeps the result of the last health check.
type checkup struct {
	mu   sync.Mutex // also makes those who ask during a check wait for it
	last time.Time
	err  error
}

// result gives the result of the last check, or of a new one if that is too old. A client that
// hangs up does not spoil the check for the others.
func (c *checkup) result(ctx context.Context, check func(context.Context) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.last.IsZero() || now.Sub(c.last) >= checkupInterval {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
		defer cancel()
		c.err = check(ctx)
		c.last = time.Now()
	}
	return c.err
}

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
