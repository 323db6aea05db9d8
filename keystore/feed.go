package keystore

import (
	"context"
	"errors"
	"time"
)

// How long to wait before asking for a lost change feed again: the first time, and at most.
const (
	firstRewatch = 50 * time.Millisecond
	lastRewatch  = 5 * time.Second
)

// follow invalidates what the change feed names, until ctx ends or the engine is closed. While
// there is no feed nothing is kept in the cache, so every read asks the engine.
func (s *Store) follow(ctx context.Context, feed <-chan Change) {
	defer close(s.stopped)
	for feed != nil {
		for c := range feed {
			s.forget(c.Key)
		}
		s.cache.reset(false)
		feed = s.rewatch(ctx)
		if feed != nil {
			s.cache.reset(true)
		}
	}
}

// rewatch gives nil when ctx has ended or the engine is closed.
func (s *Store) rewatch(ctx context.Context) <-chan Change {
	for wait := firstRewatch; ; wait = min(2*wait, lastRewatch) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		feed, err := s.engine.Watch(ctx)
		if err == nil {
			return feed
		}
		if errors.Is(err, ErrClosed) {
			return nil
		}
	}
}
