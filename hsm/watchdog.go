package hsm

import (
	"errors"
	"time"
)

// A call into a library cannot be interrupted: one that hangs keeps its thread, its session and the
// request that it serves until the library returns. The watchdog takes the token of such a call out
// of use, so that all others fail at once or go to another token of the domain, and the token's
// recovery makes a new conn beside the one that hangs.

// How long a call may take unless Config says otherwise.
const (
	defaultCallLimit = 10 * time.Second
	// defaultPairLimit is for generating key pairs: RSA-4096 takes some HSMs a minute.
	defaultPairLimit = 3 * time.Minute
)

// errHangs is the cause of a token that was taken out of use by its watchdog.
var errHangs = errors.New("a call into the PKCS#11 module does not return")

// since is the clock of calls: monotonic nanoseconds, never 0.
func (t *Token) since() int64 { return int64(time.Since(t.opened)) + 1 }

// run runs fn, watched, with the limit of the conn's token.
func (s *session) run(fn func(*session) error) error {
	t := s.conn.token
	s.limit.Store(int64(t.config.CallLimit))
	s.began.Store(t.since())
	defer s.ended()
	return fn(s)
}

// again lets the next call of a run take as long as the first might: the limit is one call's.
func (s *session) again() { s.began.Store(s.conn.token.since()) }

func (s *session) ended() {
	s.began.Store(0)
	if s.hangs.CompareAndSwap(true, false) {
		s.conn.token.hung(-1)
		s.conn.token.log.Warn("a call that hung has returned")
	}
}

// hung counts a call that hangs, or one less.
func (t *Token) hung(n int32) {
	t.module.hanging.Add(n)
	t.hanging.Add(n)
}

// patient lets the call in flight take as long as a key pair may.
func (s *session) patient() { s.limit.Store(int64(s.conn.token.config.PairLimit)) }

// overdue says whether the call in flight, if any, is past its limit, and marks it as one that hangs.
func (s *session) overdue(now int64) bool {
	began := s.began.Load()
	if began == 0 || now-began <= s.limit.Load() {
		return false
	}
	if s.hangs.CompareAndSwap(false, true) {
		s.conn.token.hung(1)
		if s.began.Load() != began { // it returned just now
			if s.hangs.CompareAndSwap(true, false) {
				s.conn.token.hung(-1)
			}
			return false
		}
	}
	return true
}

// watch looks after the calls of the token's present conn and those who wait to make one, and after the
// library's memory, until Close.
func (t *Token) watch() {
	interval := max(min(t.config.CallLimit/4, time.Second), time.Millisecond)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-t.closing:
			return
		case <-ticker.C:
		}
		if c := t.conn.Load(); c != nil {
			c.wake()
			if c.overdue(t.since()) {
				t.markDown(c, errHangs)
			}
		}
		t.endLeak()
	}
}

// overdue says whether a call of the conn hangs, and marks all that do.
func (c *conn) overdue(now int64) bool {
	found := false
	for _, s := range c.all {
		found = s.overdue(now) || found
	}
	return found
}
