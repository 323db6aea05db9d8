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
	over  error // what Err has said; nil: nothing yet
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
	defer p.mu.Unlock()
	switch {
	case p.over != nil:
	case p.timed != nil: // so that Err and Done agree
		p.over = p.timed.Err()
	case p.Context.Err() != nil:
		p.over = p.Context.Err()
	case !time.Now().Before(p.until):
		p.over = context.DeadlineExceeded
	}
	return p.over
}

// end frees the timer. Nobody may wait any more.
func (p *bounded) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		p.stop()
	}
}
