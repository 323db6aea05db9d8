package hsm

import (
	"context"
	"time"
)

// A lane is a set of sessions for one sort of call, so that short calls never queue behind long
// ones.
type lane int

const (
	// laneHold has one session, which owns every cached object. Objects live as long as the
	// session that made them.
	laneHold  lane = iota
	laneShort      // symmetric cryptography, MACs, random bytes, wrapping of secret keys
	laneLong       // key-pair generation and private-key operations
	laneCount
)

// take gives a session of a lane, in the order of asking but for those who wait for a short one across the same
// tick. The wait ends with ctx and with the conn.
func (c *conn) take(ctx context.Context, l lane) (*session, error) {
	var s *session
	select {
	case s = <-c.lanes[l]:
	default:
		wait := c.wait
		if l == laneShort {
			wait = c.waitShort
		}
		var err error
		if s, err = wait(ctx, l); err != nil {
			return nil, err
		}
	}
	if err := c.worth(ctx); err != nil {
		c.lanes[l] <- s
		return nil, err
	}
	return s, nil
}

// worth says why no session of c should be used for ctx any more.
func (c *conn) worth(ctx context.Context) error {
	if c.stale.Load() {
		return errStale
	}
	return ctx.Err()
}

// wait is for calls that take long, and for waits that do.
func (c *conn) wait(ctx context.Context, l lane) (*session, error) {
	select {
	case s := <-c.lanes[l]:
		return s, nil
	case <-c.dead:
		return nil, errStale
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// waitShort begins without a case for ctx in its select: the channel of a request's context would be made for
// this wait alone, and costs as much as the hand-over of the session. Who still waits at the next tick has a
// wait that is worth it, and waits on as for a long call: it keeps its turn from there on.
func (c *conn) waitShort(ctx context.Context, l lane) (*session, error) {
	tick := *c.tick.Load() // before stale is looked at, so that the wake after it is not missed
	if err := c.worth(ctx); err != nil {
		return nil, err
	}
	select {
	case s := <-c.lanes[l]:
		return s, nil
	case <-tick:
		return c.wait(ctx, l)
	}
}

// tickInterval is how long the end of a context may go unseen by who waits for a short call's session, while the
// library is not being initialised again: then all calls wait.
const tickInterval = 50 * time.Millisecond

// wake has all who began to wait for a short call's session since the last wake see whether they still should.
func (c *conn) wake() {
	next := make(chan struct{})
	close(*c.tick.Swap(&next))
}
