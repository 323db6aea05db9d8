package hsm

import (
	"context"
	"sync"
)

// A pool holds RSA pairs that were generated ahead, because one takes a token from a fifth of a
// second to several. Sizes are added by the first request for them. It belongs to one conn.
type pool[T any] struct {
	bound int // pairs of each size
	// generate makes a pair, drop ends one that nobody took.
	generate func(context.Context, *keySpec) (T, error)
	drop     func(T)

	mu     sync.Mutex
	ready  map[*keySpec][]T
	wanted []*keySpec // sizes that were asked for
	worker bool       // a goroutine is filling
	closed bool
	idle   sync.WaitGroup // the worker
	cancel context.CancelFunc
	ctx    context.Context
}

// newPool makes an empty pool. It stays empty on a token with one session for long calls, which
// must not wait for a pair that nobody asked for yet.
func newPool[T any](c *conn, generate func(context.Context, *keySpec) (T, error), drop func(T)) *pool[T] {
	p := &pool[T]{bound: c.token.config.PairsAhead, generate: generate, drop: drop, ready: map[*keySpec][]T{}}
	if cap(c.lanes[laneLong]) < 2 {
		p.bound = 0
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// take gives a pair, if one is ready, and has the pool filled up.
func (p *pool[T]) take(k *keySpec) (pair T, ok bool) {
	if p.bound <= 0 || !isRSA(k.pair) {
		return pair, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ready, known := p.ready[k]
	if n := len(ready); n > 0 {
		pair, ok = ready[n-1], true
		p.ready[k] = ready[:n-1]
	}
	if !known {
		p.ready[k] = nil
		p.wanted = append(p.wanted, k)
	}
	if !p.worker && !p.closed {
		p.worker = true
		p.idle.Go(p.fill)
	}
	return pair, ok
}

// fill generates pairs, one after the other, until the bound is reached, the pool is closed, or
// the token fails; the next take tries again.
func (p *pool[T]) fill() {
	for {
		k := p.next()
		if k == nil {
			return
		}
		pair, err := p.generate(p.ctx, k)
		p.mu.Lock()
		if err != nil {
			p.worker = false
			p.mu.Unlock()
			return
		}
		p.ready[k] = append(p.ready[k], pair)
		p.mu.Unlock()
	}
}

// next is the size to generate, smallest supply first, or nil if there is nothing to do any more.
func (p *pool[T]) next() *keySpec {
	p.mu.Lock()
	defer p.mu.Unlock()
	var least *keySpec
	for _, k := range p.wanted {
		if n := len(p.ready[k]); n < p.bound && (least == nil || n < len(p.ready[least])) {
			least = k
		}
	}
	if least == nil || p.closed {
		p.worker = false
		return nil
	}
	return least
}

// close ends the filling, after the pair in the making, and drops what is there.
func (p *pool[T]) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.idle.Wait()
	for _, ready := range p.ready {
		for _, pair := range ready {
			p.drop(pair)
		}
	}
	clear(p.ready)
}
