package hsm

import (
	"context"
	"errors"
	"time"

	"github.com/miekg/pkcs11"
)

var errClosed = errors.New("closed")

// The delays between attempts to reach a token that is down, after the first, which comes at once.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// grace is how long calls wait for a conn that was lost just now, before they fail at once.
const grace = 250 * time.Millisecond

// markDown takes the token out of use because of cause, if c is still its conn, and starts the
// attempts to get it back.
func (t *Token) markDown(c *conn, cause error) {
	if t.conn.Load() != c {
		return // without waiting for mu, which an attempt holds
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn.Load() == c {
		t.down(c, cause)
	}
}

// down is markDown with t.mu held. c is the old conn or nil.
func (t *Token) down(c *conn, cause error) {
	t.cause.Store(&cause)
	if t.attempt.Load() == nil {
		attempt := make(chan struct{})
		t.attempt.Store(&attempt) // before conn, so that nobody fails who could wait
	}
	t.conn.Store(nil)
	t.turned()
	if c != nil {
		c.retire()
		t.draining = c.drained
	}
	t.refused = t.refused || errors.Is(cause, ErrPIN)
	t.log.Warn("connection to the token lost", "error", cause)
	switch {
	case t.closed || t.refused:
		t.attempted()
	case !t.recovering:
		t.recovering = true
		t.background.Go(t.comeBack)
	}
}

// attempted ends the wait for an attempt. t.mu is held.
func (t *Token) attempted() {
	if attempt := t.attempt.Swap(nil); attempt != nil {
		close(*attempt)
	}
}

// comeBack tries to reach the token until it is back, its PIN is refused, or Close is called.
func (t *Token) comeBack() {
	begun, failed := time.Now(), false
	for delay := time.Duration(0); ; delay = min(max(2*delay, firstRetry), lastRetry) {
		select {
		case <-t.closing:
			return
		case <-time.After(delay):
		}
		err := t.try()
		if err != nil && t.needsRestart(err) {
			if restart := t.module.reinitialise(); restart != nil {
				err = errors.Join(err, restart)
			}
		}
		if t.settled(err) {
			return
		}
		switch {
		case err == nil: // lost again already
			begun, failed, delay = time.Now(), false, 0
		case !failed && time.Since(begun) > grace:
			failed = true
			t.mu.Lock()
			t.attempted()
			t.mu.Unlock()
			t.log.Error("token is down", "error", err)
		}
	}
}

// drain waits until the sessions of the conn that was lost are closed, if the token needs that.
func (t *Token) drain() {
	t.mu.Lock()
	draining := t.draining
	t.mu.Unlock()
	if draining == nil || !t.quirks.ReusesHandles {
		return
	}
	select {
	case <-draining: // within closeWait
	case <-t.closing:
	}
}

// try connects once, if the token is still down.
func (t *Token) try() error {
	t.drain()
	if err := t.module.gate.enter(context.Background()); err != nil {
		return err
	}
	defer t.module.gate.leave()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reconnect()
}

// reconnect connects if the token is down and may be logged in to. The module's gate and t.mu
// are held.
func (t *Token) reconnect() error {
	if t.closed || t.refused || t.conn.Load() != nil {
		return nil
	}
	c, err := t.connect()
	if err != nil {
		t.cause.Store(&err)
		t.refused = errors.Is(err, ErrPIN) && classOf(err) == classPIN
		return err
	}
	t.conn.Store(c)
	t.turned()
	return nil
}

// needsRestart says whether after err the whole module has to be initialised again. That ends
// the sessions of its other tokens too, so it is done only where it is known to be needed or
// nobody else is there.
func (t *Token) needsRestart(err error) bool {
	if errors.Is(err, ErrPIN) {
		return false
	}
	return isCode(err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED) || t.quirks.Reinitialise || !t.module.others(t)
}

// settled ends the recovery when there is nothing more to do.
func (t *Token) settled(err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.conn.Load() != nil:
		t.log.Info("token is back")
	case t.refused:
		t.log.Error("token stays down: its PIN was refused and is not tried again", "error", *t.cause.Load())
	case t.closed:
	case err == nil:
		return false
	default:
		t.log.Warn("token is still down", "error", err)
		return false
	}
	t.recovering = false
	t.attempted()
	return true
}

// reconnectShut replaces the conn after the module was initialised again. The module's gate is
// held shut.
func (t *Token) reconnectShut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.conn.Load()
	if old == nil {
		_ = t.reconnect() // its own recovery goes on and reports
		return
	}
	fresh, err := t.connect()
	if err != nil {
		t.down(old, err)
		return
	}
	t.conn.Store(fresh)
	old.retire()
}

// idle waits until nothing runs in the background any more, but not longer than closeWait.
func (t *Token) idle() error {
	done := make(chan struct{})
	go func() {
		t.background.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(closeWait):
		return errors.New("a call still hangs in the PKCS#11 module, which is left as it is")
	}
}
