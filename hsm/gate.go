package hsm

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// gateWait bounds how long a restart of the library waits for calls in flight, while new ones wait
// for it; closeWait the same of the end of a conn or a token, for which nobody waits.
const (
	gateWait  = time.Second
	closeWait = 5 * time.Second
)

// A gate lets calls through until it is shut; those that come later wait for it to open.
//
// A goroutine that is inside must not enter again, and must not wait for a lock whose holder may
// enter: the order is gate, then lock.
type gate struct {
	inside sync.RWMutex // held for reading by every call in flight
	shut   atomic.Pointer[chan struct{}]
}

// enter waits until the gate is open. Every nil answer needs one leave.
func (g *gate) enter(ctx context.Context) error {
	for {
		if shut := g.shut.Load(); shut != nil {
			select {
			case <-*shut:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		if g.inside.TryRLock() {
			return nil
		}
		runtime.Gosched() // it is being shut or opened just now
	}
}

func (g *gate) leave() { g.inside.RUnlock() }

// shutWithin shuts the gate and waits until no call is in flight. It gives up after d, or at once
// if the gate is shut already.
func (g *gate) shutWithin(d time.Duration) bool {
	shut := make(chan struct{})
	if !g.shut.CompareAndSwap(nil, &shut) {
		return false
	}
	for end := time.Now().Add(d); !g.inside.TryLock(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			g.shut.Store(nil)
			close(shut)
			return false
		}
	}
	return true
}

func (g *gate) reopen() {
	shut := g.shut.Load()
	g.inside.Unlock()
	g.shut.Store(nil)
	close(*shut)
}
