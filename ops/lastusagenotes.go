package ops

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const (
	// lastUsesBound is how many keys may have a last use in memory that is not in the store yet. It
	// is the AWS quota of keys in a Region; an entry takes about 350 bytes with what it refers to.
	lastUsesBound = 100_000
	// lastUsesCrowded is how many have them written before their time.
	lastUsesCrowded = lastUsesBound / 2
	// lastUsesShards parts the keys so that requests seldom meet. It is a power of two.
	lastUsesShards = 64
)

// lastUse is the use of a key by a request.
type lastUse struct {
	operation kms.KeyLastUsageTrackingOperation
	at        time.Time
	requestID string
	eventID   string
}

// lastUses are the last uses of keys that are not in the store yet. Noting one is a part of every
// cryptographic request: it takes one lock of many for the time of a look-up, and allocates only for
// a key that has no entry.
type lastUses struct {
	seed    maphash.Seed
	shards  [lastUsesShards]lastUsesShard
	entries atomic.Int64  // in all shards
	lost    atomic.Int64  // uses that found no room since this was last reported
	crowded chan struct{} // says that there are many entries; holds one
}

type lastUsesShard struct {
	mu sync.Mutex
	// entries are lists by key id: one string is hashed in half the time of a whole KeyID. Only the
	// related keys of a multi-Region key share a list.
	entries map[string]*lastUseEntry
	_       [48]byte // a cache line for each
}

type lastUseEntry struct {
	key  keystore.KeyID
	use  lastUse
	next *lastUseEntry
}

// find gives the entry of a key, nil if there is none.
func (s *lastUsesShard) find(key keystore.KeyID) *lastUseEntry {
	e := s.entries[key.ID]
	for e != nil && e.key != key {
		e = e.next
	}
	return e
}

func newLastUses() *lastUses {
	l := &lastUses{seed: maphash.MakeSeed(), crowded: make(chan struct{}, 1)}
	for i := range l.shards {
		l.shards[i].entries = make(map[string]*lastUseEntry)
	}
	return l
}

func (l *lastUses) shard(key keystore.KeyID) *lastUsesShard {
	return &l.shards[maphash.String(l.seed, key.ID)&(lastUsesShards-1)]
}

// note keeps a use unless a later one of the key is known. When there is no room the use of a key
// without an entry is lost, and counted.
func (l *lastUses) note(key keystore.KeyID, use lastUse) {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(key); e != nil {
		if !e.use.at.After(use.at) {
			e.use = use
		}
		return
	}
	switch n := l.entries.Add(1); {
	case n > lastUsesBound:
		l.entries.Add(-1)
		l.lost.Add(1)
		return
	case n == lastUsesCrowded:
		select {
		case l.crowded <- struct{}{}:
		default:
		}
	}
	s.entries[key.ID] = &lastUseEntry{key: key, use: use, next: s.entries[key.ID]}
}

func (l *lastUses) get(key keystore.KeyID) (lastUse, bool) {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(key); e != nil {
		return e.use, true
	}
	return lastUse{}, false
}

// drop removes an entry that has been written, unless the key was used again meanwhile.
func (l *lastUses) drop(key keystore.KeyID, written lastUse) {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(key); e == nil || e.use != written {
		return
	}
	l.entries.Add(-1)
	var rest *lastUseEntry
	for e := s.entries[key.ID]; e != nil; {
		next := e.next
		if e.key != key {
			e.next, rest = rest, e
		}
		e = next
	}
	if rest == nil {
		delete(s.entries, key.ID)
	} else {
		s.entries[key.ID] = rest
	}
}

// notedUse is an entry.
type notedUse struct {
	key keystore.KeyID
	use lastUse
}

// list gives the entries that there are, in no order.
func (l *lastUses) list() []notedUse {
	all := make([]notedUse, 0, l.entries.Load())
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for _, e := range s.entries {
			for ; e != nil; e = e.next {
				all = append(all, notedUse{e.key, e.use})
			}
		}
		s.mu.Unlock()
	}
	return all
}
