package hsm

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// laneConn is a conn of one short session, which is in use.
func laneConn() *conn {
	c := &conn{dead: make(chan struct{})}
	c.lanes[laneShort] = make(chan *session, 1)
	tick := make(chan struct{})
	c.tick.Store(&tick)
	return c
}

// TestLongWaitsKeepTheirTurns has each of many wait for longer than a tick. Nobody may lose its turn by the
// ticks that come later.
func TestLongWaitsKeepTheirTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters = 20
		c := laneConn()
		var turns []int // belongs to who has the session
		for i := range waiters {
			go func() {
				s, err := c.take(t.Context(), laneShort)
				if err != nil {
					t.Error(err)
				}
				turns = append(turns, i)
				c.lanes[laneShort] <- s
			}()
			synctest.Wait() // for it to be waiting
			c.wake()
			synctest.Wait()
		}
		c.lanes[laneShort] <- &session{conn: c}
		synctest.Wait()
		if len(turns) != waiters || !slices.IsSorted(turns) {
			t.Errorf("the session went to %v", turns)
		}
	})
}

// TestLongWaitEndsWithTheContext: a wait that has lasted for a tick needs no further one to end.
func TestLongWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := laneConn()
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		go func() { _, err = c.take(ctx, laneShort) }()
		synctest.Wait()
		c.wake()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the wait ends with %v", err)
			c.wake()
		}
	})
}
