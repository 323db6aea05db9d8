package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// Config says how a token is used. Only URI is needed.
type Config struct {
	URI URI
	// Sessions is the number of sessions for long calls and, unless a quirk says otherwise, for
	// short ones; 0 is the number of CPUs.
	Sessions int
	// Handles bounds the cached key objects of one domain on this token; 0 is 32768. On SoftHSM2
	// an object takes about 9 KB.
	Handles int
	// RunMessages and RunSeconds bound the use of one message key; 0 is 65536 and 60. With
	// RunMessages 1 every call derives its own key.
	RunMessages int
	RunSeconds  int
	// PublicOutside moves the public-key operations that Go's standard library has, verifying and
	// RSA encryption, out of the token. Without it the token does those that it can.
	PublicOutside bool
	// ForbidPaddingOutside refuses RSA decryption where the token does not have the hash of the
	// padding. Without it the token does the RSA step and the padding is taken off outside. It also
	// refuses the import of key material that the token cannot take in unseen: docs/import.md.
	ForbidPaddingOutside bool
	// PairsAhead is the number of RSA pairs that are generated ahead, data key pairs and pairs for
	// imports each, for each size that was asked for; 0 is 2, a negative number is none.
	PairsAhead int
	// CallLimit is how long a call into the library may take before the token is taken out of use, and
	// PairLimit the same of generating a key pair; 0 is 10 seconds and 3 minutes.
	CallLimit, PairLimit time.Duration
	// LeakBudget is how much memory, in bytes, a library that leaks may lose before it is
	// initialised again, which ends the leak; 0 is 256 MB. Calls wait for that moment.
	LeakBudget int
	// Logger gets what happens in the background; nil discards it.
	Logger *slog.Logger
	// Quirks replaces what this package knows of the token; nil leaves that to the token's name.
	Quirks *Quirks

	// exclusive refuses a token that this process is logged in to already, by ErrLoggedIn.
	exclusive bool
}

const (
	defaultHandles     = 32768
	defaultRunMessages = 65536
	defaultRunSeconds  = 60
	defaultPairsAhead  = 2
	defaultLeakBudget  = 256 << 20
)

// A Token is one token with one login and a fixed set of sessions. Its methods may be called by
// several goroutines at once.
type Token struct {
	config Config
	module *module
	log    *slog.Logger
	quirks *Quirks // set before the first session is opened, constant afterwards

	// What the token can do; nil until the first domain is joined.
	abilities atomic.Pointer[abilities]
	wraps     atomic.Pointer[wraps]

	conn  atomic.Pointer[conn]  // nil while the token is down
	cause atomic.Pointer[error] // why conn is nil
	// attempt is closed when a conn that was lost just now is replaced, or cannot be so soon; nil:
	// none was.
	attempt atomic.Pointer[chan struct{}]
	opened  time.Time
	changed atomic.Int64         // when it went down or came up last, in nanoseconds since 1970
	hanging atomic.Int32         // calls that are past their limit
	probed  atomic.Pointer[conn] // the conn that last saw the test key: see findProbe
	closing chan struct{}        // closed by Close
	// background is what Close waits for: the recovery and the ends of old conns. It grows only
	// with mu held and closed unset, or in Close.
	background sync.WaitGroup

	// mu guards what follows and every change of conn and cause. It is taken inside the module's
	// gate, never the other way round.
	mu         sync.Mutex
	refused    bool // the PIN was refused: no further login
	loggedIn   bool // the PIN was accepted once
	closed     bool
	recovering bool
	draining   <-chan struct{} // of the conn that was lost last; nil if none was
	members    []tenant
}

// OpenToken loads the module, finds the one token that the URI names, logs in once and opens all
// sessions. A wrong PIN is not tried again; the error matches ErrPIN. ctx bounds the wait for
// other calls, not the calls into the module, which cannot be interrupted.
func OpenToken(ctx context.Context, c Config) (*Token, error) {
	m, err := loadModule(c.URI.ModulePath, c.URI.Init)
	if err != nil {
		return nil, fmt.Errorf("token %s: %w", c.URI, err)
	}
	t := &Token{config: withDefaults(c), module: m, opened: time.Now(), closing: make(chan struct{})}
	t.quirks = c.Quirks
	t.log = t.config.Logger.With("token", c.URI.String())
	if err := t.openFirst(ctx); err != nil {
		_ = m.release() // the error that led here is the one to report
		return nil, fmt.Errorf("token %s: %w", c.URI, err)
	}
	t.background.Go(t.watch)
	return t, nil
}

func withDefaults(c Config) Config {
	for _, d := range []struct {
		value *int
		or    int
	}{
		{&c.Sessions, runtime.NumCPU()},
		{&c.Handles, defaultHandles},
		{&c.RunMessages, defaultRunMessages},
		{&c.RunSeconds, defaultRunSeconds},
		{&c.LeakBudget, defaultLeakBudget},
	} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	if c.CallLimit <= 0 {
		c.CallLimit = defaultCallLimit
	}
	if c.PairLimit <= 0 {
		c.PairLimit = defaultPairLimit
	}
	if c.PairsAhead == 0 {
		c.PairsAhead = defaultPairsAhead
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (t *Token) openFirst(ctx context.Context) error {
	if err := t.module.gate.enter(ctx); err != nil {
		return err
	}
	defer t.module.gate.leave()
	t.mu.Lock()
	defer t.mu.Unlock()
	c, err := t.connect()
	if err != nil {
		return err
	}
	t.conn.Store(c)
	t.turned()
	t.module.mu.Lock()
	defer t.module.mu.Unlock()
	t.module.tokens[t] = struct{}{}
	return nil
}

// connect makes a new conn with the domains' objects found and checked. The module's gate and
// t.mu are held.
func (t *Token) connect() (*conn, error) {
	slot, info, err := t.module.findSlot(t.config.URI)
	if err != nil {
		return nil, err
	}
	if t.quirks == nil {
		q := quirksFor(info)
		t.quirks = &q
	}
	if n := t.config.URI.SM2Sign; n != 0 && t.quirks.SM2Sign != n {
		q := *t.quirks
		q.SM2Sign = n
		t.quirks = &q
	}
	if err := loginAllowed(info.Flags); err != nil {
		return nil, err
	}
	pin, err := t.config.URI.PIN()
	if err != nil {
		return nil, err
	}
	sizes, err := t.laneSizes(info)
	if err != nil {
		return nil, err
	}
	c := &conn{
		token: t, slot: slot, incarnation: t.module.incarnation,
		dead: make(chan struct{}), drained: make(chan struct{}),
	}
	tick := make(chan struct{})
	c.tick.Store(&tick)
	if err := c.openLanes(pin, sizes); err != nil {
		c.abandon()
		return nil, err
	}
	holder := <-c.lanes[laneHold]
	defer func() { c.lanes[laneHold] <- holder }()
	for _, m := range t.members {
		err := m.load(c, holder)
		if lost(err) && holder.alive() == nil { // as in conn.do
			err = m.load(c, holder)
		}
		if err != nil {
			_ = holder.close()
			c.abandon()
			return nil, err
		}
	}
	return c, nil
}

// loginAllowed refuses a login that may lock the token: a service that is restarted with a wrong
// PIN would use up the tries.
func loginAllowed(flags uint) error {
	switch {
	case flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("%w: the token says that %w", ErrPIN, ErrPINLocked)
	case flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("%w: one more wrong PIN would lock the token; log in once by hand to reset its count", ErrPIN)
	}
	return nil
}

// laneSizes shares the sessions out within the limits of the URI and of the token.
func (t *Token) laneSizes(info pkcs11.TokenInfo) ([laneCount]int, error) {
	n := t.config.Sessions
	sizes := [laneCount]int{laneHold: 1, laneShort: n, laneLong: n}
	if q := t.quirks.ShortSessions; q > 0 {
		sizes[laneShort] = q
	}
	limit := t.config.URI.MaxSessions
	// 0 is "no limit" and all ones "not known" (PKCS#11, CK_TOKEN_INFO); openCryptoki 3.8 says one less.
	if most := info.MaxRwSessionCount; most != 0 && most <= math.MaxInt32 && (limit == 0 || most < uint(limit)) {
		limit = int(most)
	}
	if limit == 0 {
		return sizes, nil
	}
	if limit < int(laneCount) {
		return sizes, fmt.Errorf("%d sessions are too few: %d are needed", limit, laneCount)
	}
	sizes[laneShort] = min(sizes[laneShort], (limit-1)/2)
	sizes[laneLong] = min(sizes[laneLong], limit-1-sizes[laneShort])
	return sizes, nil
}

// unavailable is CK_UNAVAILABLE_INFORMATION.
const unavailable = ^uint(0)

func (t *Token) up() bool { return t.conn.Load() != nil }

// current gives the conn in use, or an error that matches ErrTokenDown, without waiting.
func (t *Token) current() (*conn, error) {
	if c := t.conn.Load(); c != nil {
		return c, nil
	}
	err := fmt.Errorf("%w: %s", ErrTokenDown, t.config.URI)
	if cause := t.cause.Load(); cause != nil {
		err = fmt.Errorf("%w: %w", err, *cause)
	}
	return nil, err
}

// do runs fn with a session of the present conn: see conn.do.
func (t *Token) do(ctx context.Context, l lane, fn func(*session) error) error {
	return t.with(ctx, func(c *conn) error { return c.do(ctx, l, fn) })
}

// once runs fn with the present conn.
func (t *Token) once(fn func(*conn) error) error {
	c, err := t.current()
	if err != nil {
		return err
	}
	return fn(c)
}

// with runs fn with the present conn, and again if it was given up meanwhile: for its objects or
// holder every time, for the token itself once. It waits a moment for a conn that was lost just now.
func (t *Token) with(ctx context.Context, fn func(*conn) error) error {
	lost := false
	for range maxReplaced {
		c, err := t.current()
		if err != nil {
			t.await(ctx)
			if c, err = t.current(); err != nil {
				return err
			}
		}
		err = fn(c)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errStale):
		case !lost && errors.Is(err, ErrTokenDown) && t.conn.Load() != c:
			lost = true
		default:
			return err
		}
	}
	return fmt.Errorf("%w: %s: its sessions are lost again and again", ErrTokenDown, t.config.URI)
}

// maxReplaced bounds how often one call follows a conn that is given up.
const maxReplaced = 4

// await waits for a conn that was lost just now to be replaced, within bounds.
func (t *Token) await(ctx context.Context) {
	attempt := t.attempt.Load()
	if attempt == nil {
		return
	}
	bound := time.NewTimer(attemptWait)
	defer bound.Stop()
	select {
	case <-*attempt:
	case <-bound.C:
	case <-ctx.Done():
	}
}

// attemptWait bounds that wait if an attempt hangs.
const attemptWait = 5 * time.Second

// Close ends the background work, closes all sessions and, with the last token of the module,
// ends the module. It waits a few seconds for calls in flight; after that it leaves the module as
// it is and says so.
func (t *Token) Close() error {
	t.module.mu.Lock()
	delete(t.module.tokens, t)
	t.module.mu.Unlock()
	if !t.lockWithin(closeWait) {
		return fmt.Errorf("token %s: %w, so it is left as it is", t.config.URI, errHangs)
	}
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.cause.Store(&errClosed)
	c := t.conn.Swap(nil)
	close(t.closing)
	t.mu.Unlock()
	if c != nil {
		c.retire()
	}
	if err := t.idle(); err != nil {
		return fmt.Errorf("token %s: %w", t.config.URI, err)
	}
	return t.module.release()
}

// lockWithin takes t.mu, which a call that hangs while the token is connected keeps.
func (t *Token) lockWithin(d time.Duration) bool {
	for end := time.Now().Add(d); !t.mu.TryLock(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
