package hsm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
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

// A conn is one login to a token with its fixed set of sessions. It is replaced as a whole; its
// handles mean nothing to its successor.
type conn struct {
	token       *Token
	slot        uint
	incarnation uint64 // of the module
	lanes       [laneCount]chan *session
	stale       atomic.Bool
	dead        chan struct{} // closed when stale
	loaded      sync.Map      // tenant to *loaded or *shelf: the objects of each domain and vault

	// resting is held while resident keys are made, destroyed or searched for. SoftHSM 2.6.1 reads
	// the file of an object that another session is still writing, and then now and then fails to
	// make it, with CKR_GENERAL_ERROR or CKR_TEMPLATE_INCONSISTENT.
	resting sync.Mutex
}

// errStale means that the conn was replaced: take the token's present one and do it again.
var errStale = errors.New("the connection to the token was replaced")

// do runs fn with a session of its own. A lost session is opened again and fn runs once more, so
// fn must be fit to run twice. fn must not call do. The wait for a session ends with ctx.
func (c *conn) do(ctx context.Context, l lane, fn func(*session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	gate := &c.token.module.gate
	if err := gate.enter(ctx); err != nil {
		return err
	}
	defer gate.leave()
	s, err := c.take(ctx, l)
	if err != nil {
		return err
	}
	defer func() { c.lanes[l] <- s }()
	if err = fn(s); classOf(err) == classSessionLost {
		if l == laneHold {
			// Everything the holder made is gone, so only a new conn helps.
			return c.token.replace(c, err)
		}
		// Closing may fail, because the session is lost.
		_ = s.close()
		if err = s.open(); err == nil {
			err = fn(s)
		}
	}
	if classOf(err) == classTokenLost || classOf(err) == classSessionLost {
		c.token.markDown(c, err)
	}
	return err
}

// objectsLost replaces the conn because an object that it made is gone.
func (c *conn) objectsLost(ctx context.Context, cause error) error {
	gate := &c.token.module.gate
	if err := gate.enter(ctx); err != nil {
		return err
	}
	defer gate.leave()
	return c.token.replace(c, cause)
}

func (c *conn) take(ctx context.Context, l lane) (*session, error) {
	var s *session
	select {
	case s = <-c.lanes[l]:
	default:
		select {
		case s = <-c.lanes[l]:
		case <-c.dead:
			return nil, errStale
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if c.stale.Load() {
		c.lanes[l] <- s
		return nil, errStale
	}
	return s, nil
}

// openLanes opens the sessions of a new conn and logs in with the first, which is the holder.
func (c *conn) openLanes(pin PIN, sizes [laneCount]int) error {
	for l, size := range sizes {
		c.lanes[l] = make(chan *session, size)
	}
	for l, size := range sizes {
		for range size {
			s := &session{conn: c}
			if err := s.open(); err != nil {
				return err
			}
			c.lanes[l] <- s
			if lane(l) == laneHold {
				if err := c.login(s, pin); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// login logs in with the holder's session. A token that must be nobody else's in this process is
// refused where somebody was faster: its PIN would go unchecked. t.mu is held.
func (c *conn) login(s *session, pin PIN) error {
	c.token.log.Debug("login")
	already, err := s.login(pin)
	switch {
	case err != nil:
		return err
	case already && c.token.config.exclusive && !c.token.loggedIn:
		return ErrLoggedIn
	}
	c.token.loggedIn = true
	return nil
}

// retire ends the conn: no call takes a session any more, and each is closed when its last user
// is done.
func (c *conn) retire() {
	if c.stale.Swap(true) {
		return
	}
	close(c.dead)
	c.token.background.Go(c.drain)
}

// drain collects every session, as their users give them back, and closes them.
func (c *conn) drain() {
	var sessions []*session
	for _, l := range c.lanes {
		for range cap(l) {
			sessions = append(sessions, <-l)
		}
	}
	m := c.token.module
	if m.gate.enter(context.Background()) != nil {
		return
	}
	defer m.gate.leave()
	// After C_Initialize the same numbers may name the sessions of others.
	if m.incarnation != c.incarnation {
		return
	}
	for _, s := range sessions {
		_ = s.close() // it may be lost already
	}
}

// abandon closes what openLanes opened before it failed. The gate must be held.
func (c *conn) abandon() {
	for _, l := range c.lanes {
		for len(l) > 0 {
			_ = (<-l).close() // the error that led here is the one to report
		}
	}
}
