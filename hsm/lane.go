package hsm

import "context"

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

// take gives a session of a lane, in the order of asking. Who waits has no case for ctx in its select: the
// channel of a request's context would be made for this wait alone, and costs as much as the hand-over.
func (c *conn) take(ctx context.Context, l lane) (*session, error) {
	s, err := c.await(ctx, l)
	if err != nil {
		return nil, err
	}
	if err := c.worth(ctx); err != nil {
		c.lanes[l] <- s
		return nil, err
	}
	return s, nil
}

// await waits for a session of a lane.
func (c *conn) await(ctx context.Context, l lane) (*session, error) {
	for {
		select {
		case s := <-c.lanes[l]:
			return s, nil
		default:
		}
		tick := *c.tick.Load() // before stale is looked at, so that the wake after it is not missed
		if err := c.worth(ctx); err != nil {
			return nil, err
		}
		select {
		case s := <-c.lanes[l]:
			return s, nil
		case <-tick:
		}
	}
}

// worth says why no session of c should be used for ctx any more.
func (c *conn) worth(ctx context.Context) error {
	if c.stale.Load() {
		return errStale
	}
	return ctx.Err()
}

// wake has all who wait for a session see whether they still should. The watchdog calls it at every
// tick.
func (c *conn) wake() {
	next := make(chan struct{})
	close(*c.tick.Swap(&next))
}
