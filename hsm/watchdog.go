package hsm

import (
	"errors"
	"sync/atomic"
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

// What the watchdog looks at of a session. A call does not read the clock: that is for the watchdog.
type watched struct {
	calls atomic.Uint64 // two for each call, one at either end: odd while one is in flight
	limit atomic.Int64  // how long that may take, in nanoseconds
	hangs atomic.Bool   // it is past that

	// The watchdog's own: the call that it saw in flight last, as in calls, and when it saw that first.
	seen   uint64
	seenAt int64
}

// run runs fn, watched, with the limit of the conn's token.
func (s *session) run(fn func(*session) error) error {
	s.limit.Store(int64(s.conn.token.config.CallLimit))
	s.calls.Add(1)
	defer s.ended()
	return fn(s)
}

// again lets the next call of a run take as long as the first might: the limit is one call's.
func (s *session) again() { s.calls.Add(2) }

func (s *session) ended() {
	s.calls.Add(1)
	if s.hangs.Load() && s.hangs.CompareAndSwap(true, false) {
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

// overdue says whether the call in flight, if any, has been seen for longer than its limit, and marks it as
// one that hangs. It is for the watchdog alone.
func (s *session) overdue(now int64) bool {
	call := s.calls.Load()
	if call != s.seen {
		s.seen, s.seenAt = call, now
	}
	if call%2 == 0 || now-s.seenAt <= s.limit.Load() {
		return false
	}
	if s.hangs.CompareAndSwap(false, true) {
		s.conn.token.hung(1)
		if s.calls.Load() != call { // it returned just now
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
	looks := time.NewTicker(max(min(t.config.CallLimit/4, time.Second), time.Millisecond))
	defer looks.Stop()
	ticks := time.NewTicker(tickInterval)
	defer ticks.Stop()
	for {
		select {
		case <-t.closing:
			return
		case <-ticks.C:
			if c := t.conn.Load(); c != nil {
				c.wake()
			}
		case <-looks.C:
			if c := t.conn.Load(); c != nil && c.overdue(t.since()) {
				t.markDown(c, errHangs)
			}
			t.endLeak()
		}
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
