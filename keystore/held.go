package keystore

import "context"

// Held is a record for who makes something of it and keeps that: it tells whether the record is still
// the one that the store would give, in less time than it takes to ask for it again. The zero value
// holds nothing.
type Held[T any] struct{ entry *entry }

// Record gives the record, which is shared and must not be changed.
func (h Held[T]) Record() *T { return h.entry.record.(*T) }

// Current says whether the store would give this very record if it were asked now, and counts as
// asking for it. It takes no lock and never says so of a record that the store would read again.
func (h Held[T]) Current() bool {
	if h.entry == nil || h.entry.gone.Load() {
		return false
	}
	h.entry.use()
	return true
}

// hold gives the record at key, from the cache if it is there.
func hold[T any](ctx context.Context, s *Store, k kind[T], key engineKey) (Held[T], error) {
	var buf [maxEngineKey]byte
	place := key.append(buf[:0])
	if e, ok := s.cache.get(place); ok {
		return Held[T]{e}, nil
	}
	e, err := loadFromEngine(ctx, s, k, string(place))
	return Held[T]{e}, err
}
