package hsm

import (
	"context"
	"errors"
	"sync"
)

// maxNonce is the longest nonce of any scheme.
const maxNonce = 16

// A handleKey names a cached object: a material, one half of it for one use, or a message key
// derived from it.
type handleKey struct {
	material string
	use      use // 0 for the material of a symmetric encryption key and what is derived from it
	derived  bool
	nonce    [maxNonce]byte
}

// A cache holds the handles of the session objects of one conn, the least recently used of which
// give way. An entry in use is never destroyed: if all are in use the bound is exceeded until the
// first is released.
type cache struct {
	bound   int
	destroy func(object) // called without mu

	mu      sync.Mutex
	entries map[handleKey]*entry
	running map[string]*entry // material to its entry, if that has had a run: what most calls look for
	recent  entry             // head of a ring: next is the most recently used, prev the least
	moves   int               // how often an entry was put there
	// starting lets one goroutine at a time begin a run.
	starting chan struct{}
}

// An entry is one object. Its fields belong to cache.mu; handle and resting are constant once made.
type entry struct {
	key        handleKey
	handle     object
	resting    object   // the token object that handle is a copy of, or is itself; 0: there is none
	seen       sighting // of resting
	made       bool
	gone       bool // not in the cache any more: destroyed with the last reference
	refs       int
	err        error         // why it could not be made
	ready      chan struct{} // closed when made or err is set
	run        run           // of a material: its run of messages
	next, prev *entry
	moved      int // the move that put it where next is the most recently used
}

// A run is the bounded use of one message key for encryption. IVs are a prefix, random per run,
// and a counter, so they do not repeat under the key.
type run struct {
	nonce   []byte // nil if there is no run; never written to
	derived *entry // the message key; may have left the cache
	prefix  [4]byte
	used    uint64
	until   int64
}

func newCache(bound int, destroy func(object)) *cache {
	c := &cache{bound: bound, destroy: destroy, starting: make(chan struct{}, 1)}
	c.entries, c.running = map[handleKey]*entry{}, map[string]*entry{}
	c.recent.next, c.recent.prev = &c.recent, &c.recent
	return c
}

// get gives the entry of key with a reference, which release gives back. On a miss one caller
// runs produce and the others wait for it or for ctx; produce may set the resting object of the entry.
// fresh says that this caller made it.
func (c *cache) get(ctx context.Context, key handleKey, produce func(*entry) (object, error)) (e *entry, fresh bool, err error) {
	for {
		c.mu.Lock()
		e, ok := c.entries[key]
		if !ok {
			e, err := c.fill(key, produce)
			return e, err == nil, err
		}
		e.refs++
		c.touch(e)
		made := e.made
		c.mu.Unlock()
		if made {
			return e, false, nil
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			c.release(e)
			return nil, false, ctx.Err()
		}
		if e.err == nil {
			return e, false, nil
		}
		c.release(e)
		// The maker gave up for a reason of its own; this caller's context may be good yet.
		if !isContext(e.err) {
			return nil, false, e.err
		}
	}
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// fill makes a missing entry. mu is held and released.
func (c *cache) fill(key handleKey, produce func(*entry) (object, error)) (*entry, error) {
	e := &entry{key: key, refs: 1, ready: make(chan struct{})}
	c.entries[key] = e
	c.promote(e)
	victims := c.evict()
	c.mu.Unlock()
	for _, v := range victims {
		c.destroy(v)
	}
	handle, err := produce(e)
	c.mu.Lock()
	if e.handle, e.err, e.made = handle, err, err == nil; err != nil {
		c.remove(e)
	}
	close(e.ready)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return e, nil
}

// release gives back a reference.
func (c *cache) release(e *entry) {
	c.mu.Lock()
	e.refs--
	victims := c.evict()
	if e.refs == 0 && e.gone && e.made {
		victims = e.end(victims)
	}
	c.mu.Unlock()
	for _, v := range victims {
		c.destroy(v)
	}
}

// touch notes that e is used. It stays where it is as long as it is among the more recently used quarter
// of what the cache may hold. mu is held.
func (c *cache) touch(e *entry) {
	if e.gone || c.moves-e.moved < c.bound/4 {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	c.promote(e)
}

// promote puts e, which is nowhere, before all others. mu is held.
func (c *cache) promote(e *entry) {
	e.next, e.prev = c.recent.next, &c.recent
	e.next.prev, e.prev.next = e, e
	c.moves++
	e.moved = c.moves
}

// remove takes e out of the cache. mu is held.
func (c *cache) remove(e *entry) {
	if e.gone {
		return
	}
	e.gone = true
	delete(c.entries, e.key)
	if c.running[e.key.material] == e {
		delete(c.running, e.key.material)
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.run = run{}
}

// evict removes entries that are not in use until the bound holds, and gives what to destroy. mu
// is held.
func (c *cache) evict() []object {
	var victims []object
	for e := c.recent.prev; len(c.entries) > c.bound && e != &c.recent; {
		previous := e.prev
		if e.refs == 0 {
			c.remove(e)
			victims = e.end(victims)
		}
		e = previous
	}
	return victims
}

// end adds what there is to destroy of an entry that nobody uses any more to victims: not the token's
// own object. mu is held.
func (e *entry) end(victims []object) []object {
	e.made = false // destroyed once
	if e.handle == e.resting {
		return victims
	}
	return append(victims, e.handle)
}

// drop removes the entries for which match is true; those in use are destroyed when released.
func (c *cache) drop(match func(handleKey) bool) {
	c.mu.Lock()
	var victims []object
	for key, e := range c.entries {
		if !match(key) {
			continue
		}
		c.remove(e)
		if e.refs == 0 {
			victims = e.end(victims)
		}
	}
	c.mu.Unlock()
	for _, v := range victims {
		c.destroy(v)
	}
}

// size is the number of cached objects.
func (c *cache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}
