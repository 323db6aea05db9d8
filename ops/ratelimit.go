package ops

import (
	"hash/maphash"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A limiter holds requests to rates: one token bucket for each sender, Region and family of
// operations. A bucket holds one second's worth of requests, at least one. It may be used from
// many goroutines. Taking from a bucket that exists allocates nothing and takes no lock that is
// held for longer than a look-up.
type limiter struct {
	now   func() time.Time
	start time.Time
	seed  maphash.Seed
	// rate is how many requests a second a new bucket lets through; 0: any number.
	rate   func(bucketKey) float64
	shards [limiterShards]limiterShard
}

// bucketKey names a bucket.
type bucketKey struct {
	who    string // an account, the ARN of a principal, or the id of a custom key store
	region string
	family string
}

// bucket is a token bucket in the form of the generic cell rate algorithm (ITU-T I.371): full is
// the time, in nanoseconds since the limiter's start, at which the bucket is full again.
type bucket struct {
	interval int64 // nanoseconds between two requests; 0: no limit
	full     atomic.Int64
}

type limiterShard struct {
	mu      sync.RWMutex
	buckets map[bucketKey]*bucket
}

const (
	limiterShards = 16
	// bucketsPerShard bounds the memory: 65,536 buckets in all, of some 300 bytes.
	bucketsPerShard = 4096
)

func newLimiter(now func() time.Time, rate func(bucketKey) float64) *limiter {
	l := &limiter{now: now, start: now(), seed: maphash.MakeSeed(), rate: rate}
	for i := range l.shards {
		l.shards[i].buckets = make(map[bucketKey]*bucket)
	}
	return l
}

// take takes n requests out of a bucket if they are in it, and says whether they were. More than the
// bucket ever holds are let through when it is full.
func (l *limiter) take(key bucketKey, n int64) bool {
	now := l.since()
	b := l.bucket(key, now)
	if b.interval == 0 {
		return true
	}
	cost := n * b.interval
	for {
		full := b.full.Load()
		after := max(full, now) + cost
		if after-now > max(cost, int64(time.Second)) {
			return false
		}
		if b.full.CompareAndSwap(full, after) {
			return true
		}
	}
}

// giveBack undoes a take.
func (l *limiter) giveBack(key bucketKey, n int64) {
	if b := l.bucket(key, l.since()); b.interval != 0 {
		b.full.Add(-n * b.interval)
	}
}

// since never goes back where the clock's readings are monotonic, as time.Now's are.
func (l *limiter) since() int64 { return int64(l.now().Sub(l.start)) }

func (l *limiter) bucket(key bucketKey, now int64) *bucket {
	shard := &l.shards[(maphash.String(l.seed, key.who)^maphash.String(l.seed, key.family))%limiterShards]
	shard.mu.RLock()
	b := shard.buckets[key]
	shard.mu.RUnlock()
	if b != nil {
		return b
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if b = shard.buckets[key]; b != nil {
		return b
	}
	if len(shard.buckets) >= bucketsPerShard {
		shard.evict(now)
	}
	b = &bucket{interval: interval(l.rate(key))}
	// The key's texts may be parts of a request's header.
	shard.buckets[bucketKey{strings.Clone(key.who), strings.Clone(key.region), strings.Clone(key.family)}] = b
	return b
}

// evict makes room: it forgets the buckets that are full, which nobody can tell from new ones, and,
// if those are few, any others until a quarter is free.
func (s *limiterShard) evict(now int64) {
	for key, b := range s.buckets {
		if b.interval == 0 || b.full.Load() <= now {
			delete(s.buckets, key)
		}
	}
	for key := range s.buckets { // in random order
		if len(s.buckets) <= bucketsPerShard*3/4 {
			return
		}
		delete(s.buckets, key)
	}
}

// interval is the time between two requests at a rate.
func interval(rate float64) int64 {
	if rate <= 0 {
		return 0
	}
	return max(1, int64(math.Round(float64(time.Second)/rate)))
}
