package keystore

import (
	"crypto/sha256"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
)

// cache remembers verified records by engine key, at most a fixed number of them.
//
// A hit takes no lock, writes no shared memory and allocates nothing: each shard's map is never
// changed, only replaced by a changed copy, and shards are kept small to make that cheap. When a
// shard is full it gives up an entry that was not used since the last time all of them had been.
//
// A record that was read before a write must not enter after it. So a load takes a ticket before
// it reads, and the ticket is void once anything in its shard was invalidated.
type cache struct {
	seed   maphash.Seed
	shards []shard // a power of two
	bound  int     // entries per shard
}

type shard struct {
	entries atomic.Pointer[map[string]*entry]

	mu         sync.Mutex // held to replace entries; guards what follows
	generation uint64     // counts invalidations
	on         bool       // whether there is a change feed: without one nothing may be kept
}

type entry struct {
	record any
	digest [sha256.Size]byte // of the envelope
	used   atomic.Bool
	gone   atomic.Bool // it is not in the cache, or not any more
}

// use says that the entry is of use. Looking first keeps readers of a hot record from taking its
// cache line from each other.
func (e *entry) use() {
	if !e.used.Load() {
		e.used.Store(true)
	}
}

// ticket is the right to put one record into the cache.
type ticket struct {
	shard      *shard
	generation uint64
}

const shardSize = 64

// newCache makes a cache of at most max records, none if max < 1. It is off.
func newCache(max int) *cache {
	n := 1
	for n < 1<<16 && max/(2*n) >= shardSize {
		n *= 2
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]shard, n), bound: max / n}
	for i := range c.shards {
		c.shards[i].entries.Store(&map[string]*entry{})
	}
	return c
}

func (c *cache) shard(place []byte) *shard {
	return &c.shards[maphash.Bytes(c.seed, place)&uint64(len(c.shards)-1)]
}

func (c *cache) get(place []byte) (*entry, bool) {
	e, ok := (*c.shard(place).entries.Load())[string(place)]
	if ok {
		e.use()
	}
	return e, ok
}

func (c *cache) ticket(place []byte) ticket {
	s := c.shard(place)
	s.mu.Lock()
	defer s.mu.Unlock()
	return ticket{shard: s, generation: s.generation}
}

func (c *cache) put(t ticket, place string, e *entry) {
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	if !t.shard.on || t.shard.generation != t.generation || c.bound < 1 {
		e.gone.Store(true)
		return
	}
	next := maps.Clone(*t.shard.entries.Load())
	if _, ok := next[place]; ok {
		drop(next, place)
	} else if len(next) >= c.bound {
		evict(next)
	}
	next[place] = e
	t.shard.entries.Store(&next)
}

func evict(entries map[string]*entry) {
	var victim string
	for place, e := range entries { // in random order
		victim = place
		if !e.used.Load() {
			drop(entries, victim)
			return
		}
	}
	for _, e := range entries {
		e.used.Store(false)
	}
	drop(entries, victim)
}

func drop(entries map[string]*entry, place string) {
	entries[place].gone.Store(true)
	delete(entries, place)
}

// invalidate forgets one record and voids the tickets of its shard.
func (c *cache) invalidate(place []byte) {
	s := c.shard(place)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	old := *s.entries.Load()
	if _, ok := old[string(place)]; !ok {
		return
	}
	next := maps.Clone(old)
	drop(next, string(place))
	s.entries.Store(&next)
}

// reset forgets everything, voids all tickets and turns the cache on or off.
func (c *cache) reset(on bool) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.generation++
		s.on = on
		for _, e := range *s.entries.Load() {
			e.gone.Store(true)
		}
		s.entries.Store(&map[string]*entry{})
		s.mu.Unlock()
	}
}
