package hsm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

// A conn is one login to a token with its fixed set of sessions. It is replaced as a whole; its
// handles mean nothing to its successor.
type conn struct {
	token       *Token
	slot        uint
	incarnation uint64 // of the module
	lanes       [laneCount]chan *session
	all         []*session // of all lanes; constant once the conn is in use
	numbering   sync.Mutex // held where the handle of a session is set, or read by another's user
	stale       atomic.Bool
	dead        chan struct{}                 // closed when stale
	tick        atomic.Pointer[chan struct{}] // see wake
	drained     chan struct{}                 // closed when the sessions are closed after that
	loaded      sync.Map                      // tenant to *loaded or *shelf: the objects of each domain and vault

	// resting is held while resident keys are made, destroyed or searched for. SoftHSM 2.6.1 reads
	// the file of an object that another session is still writing, and then now and then fails to
	// make it, with CKR_GENERAL_ERROR or CKR_TEMPLATE_INCONSISTENT.
	resting sync.Mutex
}

// errStale means that the conn was replaced: take the token's present one and do it again.
var errStale = errors.New("the connection to the token was replaced")

// do runs fn with a session of its own. A token that says that something is lost is not believed at
// once: while the session is there, fn runs again. A lost session is opened anew and fn runs once
// more, so fn must be fit to run several times. fn must not call do. The wait for a session ends with ctx.
func (c *conn) do(ctx context.Context, l lane, fn func(*session) error) error {
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
	if err = s.run(fn); lost(err) && s.run((*session).alive) == nil {
		err = s.run(fn)
	}
	if classOf(err) == classSessionLost {
		if l == laneHold {
			// Everything the holder made is gone, so only a new conn helps.
			c.token.markDown(c, err)
			return errStale
		}
		// Closing may fail, because the session is lost.
		_ = s.close()
		err = s.run(func(s *session) error {
			if err := s.open(); err != nil {
				return err
			}
			// If all sessions were lost so was the login, and objects would seem not to be there.
			if err := s.alive(); err != nil {
				return err
			}
			return fn(s)
		})
	}
	if lost(err) {
		c.token.markDown(c, err)
	}
	return err
}

// lost says whether err is that a session or a token is gone.
func lost(err error) bool {
	class := classOf(err)
	return class == classTokenLost || class == classSessionLost
}

// objectsLost gives the conn up because an object that it made is gone.
func (c *conn) objectsLost(cause error) error {
	c.token.markDown(c, cause)
	return errStale
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
			c.all = append(c.all, s)
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

// number gives s its handle. One that another session has says that the other was lost without a word,
// since libraries give the number of a closed session to the next; two users of one session would
// spoil each other's calls, so the conn is lost.
func (c *conn) number(s *session, h pkcs11.SessionHandle) error {
	c.numbering.Lock()
	defer c.numbering.Unlock()
	for _, other := range c.all {
		if other != s && other.handle == h {
			return &Error{Function: "C_OpenSession", Code: pkcs11.CKR_SESSION_HANDLE_INVALID, class: classTokenLost}
		}
	}
	s.handle = h
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
	c.wake()
	c.token.background.Go(c.drain)
}

// drain closes every session, as their users give them back, the holder last: it owns the objects
// that the others use. It waits for a call that hangs only so long before it closes the holder too.
func (c *conn) drain() {
	defer close(c.drained)
	patience, end := context.WithTimeout(context.Background(), closeWait)
	defer end()
	for _, l := range [...]lane{laneShort, laneLong} {
		for range cap(c.lanes[l]) {
			select {
			case s := <-c.lanes[l]:
				c.closeOld(s)
			case <-patience.Done():
				c.token.background.Go(func() { c.closeOld(<-c.lanes[l]) })
			}
		}
	}
	c.closeOld(<-c.lanes[laneHold])
}

// closeOld closes a session of a conn that is not in use any more, unless the library was
// initialised again: the same number may name the session of another then.
func (c *conn) closeOld(s *session) {
	m := c.token.module
	if m.gate.enter(context.Background()) != nil {
		return
	}
	defer m.gate.leave()
	if m.incarnation == c.incarnation {
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
