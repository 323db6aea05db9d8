package boltengine

import (
	"context"
	"sync"

	"github.com/kms11/kms11/keystore"
)

// maxBehind is how many changes a reader may be behind before its feed is given up. A reader that
// keeps up never comes near; the bound is there so that a stuck one costs no memory without end.
const maxBehind = 1 << 16

// feeds hands every commit to every reader. Publishing never waits for a reader.
type feeds struct {
	mu     sync.Mutex
	open   map[*feed]struct{}
	closed bool
}

type feed struct {
	out   chan keystore.Change
	wake  chan struct{} // holds one token while there may be something new
	ended chan struct{} // closed when the feed is given up

	mu    sync.Mutex
	queue []keystore.Change
	over  bool // ended is closed
}

func (fs *feeds) add(ctx context.Context) (<-chan keystore.Change, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return nil, keystore.ErrClosed
	}
	f := &feed{
		out:   make(chan keystore.Change),
		wake:  make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	if fs.open == nil {
		fs.open = make(map[*feed]struct{})
	}
	fs.open[f] = struct{}{}
	go func() {
		f.deliver(ctx)
		fs.mu.Lock()
		delete(fs.open, f)
		fs.mu.Unlock()
		close(f.out)
	}()
	return f.out, nil
}

// publish is called by the one writer, so commits enter the queues in their order.
func (fs *feeds) publish(keys [][]byte) {
	if len(keys) == 0 {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for f := range fs.open {
		f.append(keys)
	}
}

func (fs *feeds) close() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.closed = true
	for f := range fs.open {
		f.mu.Lock()
		f.endLocked()
		f.mu.Unlock()
	}
}

func (f *feed) append(keys [][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue)+len(keys) > maxBehind {
		f.endLocked()
	}
	if f.over {
		return
	}
	for _, key := range keys {
		f.queue = append(f.queue, keystore.Change{Key: key})
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feed) endLocked() {
	if !f.over {
		f.over, f.queue = true, nil
		close(f.ended)
	}
}

// deliver returns when the feed is over. What is undelivered then is dropped: the reader forgets
// all it knows anyway.
func (f *feed) deliver(ctx context.Context) {
	for {
		select {
		case <-f.wake:
		case <-f.ended:
			return
		case <-ctx.Done():
			return
		}
		f.mu.Lock()
		batch := f.queue
		f.queue = nil
		f.mu.Unlock()
		for _, c := range batch {
			select {
			case f.out <- c:
			case <-f.ended:
				return
			case <-ctx.Done():
				return
			}
		}
	}
}
