package hsm

import (
	"context"
	"sync"
)

// A pairPool holds RSA data key pairs that were generated ahead, because one takes a token from a
// fifth of a second to several. It holds handles only: the keys are session objects until they are
// handed out. Sizes are added by the first request for them.
type pairPool struct {
	conn  *conn
	bound int // pairs of each size

	mu     sync.Mutex
	ready  map[*keySpec][]dataPair
	wanted []*keySpec // sizes that were asked for
	worker bool       // a goroutine is filling
	closed bool
	idle   sync.WaitGroup // the worker
	cancel context.CancelFunc
	ctx    context.Context
}

// newPairPool makes an empty pool. It stays empty on a token with one session for long calls,
// which must not wait for a pair that nobody asked for yet.
func newPairPool(c *conn) *pairPool {
	p := &pairPool{conn: c, bound: c.token.config.PairsAhead, ready: map[*keySpec][]dataPair{}}
	if cap(c.lanes[laneLong]) < 2 {
		p.bound = 0
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// take gives a pair, if one is ready, and has the pool filled up.
func (p *pairPool) take(k *keySpec) (pair dataPair, ok bool) {
	if p.bound <= 0 || !isRSA(k.pair) {
		return dataPair{}, false
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
func (p *pairPool) fill() {
	for {
		k := p.next()
		if k == nil {
			return
		}
		err := p.conn.do(p.ctx, laneLong, func(s *session) error {
			pair, err := s.dataPair(k, p.conn.token.abilities.Load().specs[k.spec])
			if err != nil {
				return err
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.ready[k] = append(p.ready[k], pair)
			return nil
		})
		if err != nil {
			p.mu.Lock()
			p.worker = false
			p.mu.Unlock()
			return
		}
	}
}

// next is the size to generate, smallest supply first, or nil if there is nothing to do any more.
func (p *pairPool) next() *keySpec {
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

// close ends the filling, after the pair in the making, and destroys what is there.
func (p *pairPool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.idle.Wait()
	for _, ready := range p.ready {
		for _, pair := range ready {
			_ = p.conn.do(context.Background(), laneLong, func(s *session) error { // gone with its session, if not so
				_ = s.destroyObject(pair.public)
				return s.destroyObject(pair.private)
			})
		}
	}
	clear(p.ready)
}
