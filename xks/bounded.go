package xks

import (
	"context"
	"sync"
	"time"
)

// bounded is the context of a request, and ends after a time besides. Most requests never wait for
// anything, so it makes its timer when somebody does: context.WithTimeout would cost each a timer and an
// entry with its parent. Err does not need it.
type bounded struct {
	context.Context // the request's
	until           time.Time

	mu    sync.Mutex
	timed context.Context // with a timer; nil until somebody waits
	stop  context.CancelFunc
}

func newBounded(request context.Context, d time.Duration) *bounded {
	return &bounded{Context: request, until: time.Now().Add(d)}
}

func (p *bounded) Deadline() (time.Time, bool) {
	if other, there := p.Context.Deadline(); there && other.Before(p.until) {
		return other, true
	}
	return p.until, true
}

func (p *bounded) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timed == nil {
		p.timed, p.stop = context.WithDeadline(p.Context, p.until)
	}
	return p.timed.Done()
}

func (p *bounded) Err() error {
	p.mu.Lock()
	timed := p.timed
	p.mu.Unlock()
	if timed != nil { // so that Err and Done agree
		return timed.Err()
	}
	if err := p.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(p.until) {
		return context.DeadlineExceeded
	}
	return nil
}

// end frees the timer. Nobody may wait any more.
func (p *bounded) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		p.stop()
	}
}
