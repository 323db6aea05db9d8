package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
)

// A ticket is the right to encrypt one message: a key, held by a reference, and an IV that was
// never used with it.
type ticket struct {
	key   *entry
	nonce []byte
	iv    [ivSize]byte
}

// next takes one message out of the run of a material, if it has one with a message left and its
// key at hand. now is Token.since, as is all time of runs.
func (c *cache) next(material string, limit uint64, now int64) (ticket, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	base := c.running[material]
	if base == nil || base.run.derived == nil || base.run.derived.gone || now > base.run.until {
		return ticket{}, false
	}
	c.touch(base)
	return c.claim(base, limit)
}

// claim takes one message out of the run of base. The ticket's key has a reference. mu is held.
func (c *cache) claim(base *entry, limit uint64) (ticket, bool) {
	r := &base.run
	if r.used >= limit {
		return ticket{}, false
	}
	t := ticket{key: r.derived, nonce: r.nonce}
	t.key.refs++
	c.touch(t.key)
	copy(t.iv[:], r.prefix[:])
	binary.BigEndian.PutUint64(t.iv[len(r.prefix):], r.used)
	r.used++
	return t, true
}

// pending gives the nonce of a run that goes on but for its key, which was evicted. The same key
// is derived again and the counter goes on, so no IV repeats.
func (c *cache) pending(base *entry, limit uint64, now int64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if base.run.used >= limit || now > base.run.until {
		base.run = run{}
	}
	return base.run.nonce
}

// begin gives base a new run with this nonce.
func (c *cache) begin(base *entry, nonce []byte, until int64) {
	r := run{nonce: nonce, until: until}
	_, _ = rand.Read(r.prefix[:]) // crypto/rand never fails
	c.mu.Lock()
	defer c.mu.Unlock()
	if !base.gone {
		base.run = r
	}
}

// join gives the run of base its key, and takes the first message for the caller. It fails if the
// material was dropped meanwhile or others took all messages.
func (c *cache) join(base, derived *entry, nonce []byte, limit uint64) (ticket, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if base.run.nonce == nil || !bytes.Equal(base.run.nonce, nonce) {
		return ticket{}, false
	}
	base.run.derived = derived
	c.running[base.key.material] = base
	return c.claim(base, limit)
}

// start lets one goroutine at a time begin a run or fetch its key; the answer ends that.
func (c *cache) start(ctx context.Context) (func(), error) {
	select {
	case c.starting <- struct{}{}:
		return func() { <-c.starting }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
