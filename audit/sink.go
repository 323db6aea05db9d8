package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A Sink is a second place for records. The file is the trail; a sink that fails loses nothing of
// it, and holds up nobody.
type Sink interface {
	// Name is for people: what it is and where.
	Name() string
	// Send takes records, whole lines. It may block until ctx ends; records of a failed Send are
	// sent again. It is called by one goroutine.
	Send(ctx context.Context, records []byte) error
	// Close frees the sink.
	Close() error
}

// SinkStatus is how a sink is.
type SinkStatus struct {
	Name     string `json:"name"`
	Sent     uint64 `json:"sent"`              // sequence number of the last record that was sent
	Queued   int    `json:"queued"`            // bytes that wait
	Dropped  uint64 `json:"dropped,omitempty"` // records that found no room since the start
	LastDrop uint64 `json:"lastDrop,omitempty"`
	Problem  string `json:"problem,omitempty"` // of the last attempt
}

const (
	// sinkQueue is how many bytes wait for a sink at most: some 6,000 records of Encrypt.
	sinkQueue = 8 << 20
	// sinkChunk is about how many are sent at a time.
	sinkChunk = 256 << 10
	sinkTime  = 30 * time.Second // for one Send
	// Attempts come after sinkPause, which doubles up to sinkLongest.
	sinkPause   = 500 * time.Millisecond
	sinkLongest = time.Minute
	// sinkEnd is how long what waits may take when the trail is closed.
	sinkEnd = 3 * time.Second
)

// chunk is some records on their way.
type chunk struct {
	records     []byte
	first, last uint64
}

// feeder is the bounded queue in front of a sink.
type feeder struct {
	sink Sink
	log  *slog.Logger

	mu       sync.Mutex
	waiting  []chunk
	queued   int // bytes
	sent     uint64
	dropped  uint64
	lastDrop uint64
	problem  error
	closing  bool

	wake  chan struct{}
	end   context.CancelFunc
	ended chan struct{}
}

func newFeeder(sink Sink, log *slog.Logger) *feeder {
	ctx, cancel := context.WithCancel(context.Background())
	f := &feeder{sink: sink, log: log, wake: make(chan struct{}, 1), end: cancel, ended: make(chan struct{})}
	go f.run(ctx)
	return f
}

// offer copies records into the queue, or counts them as dropped where there is no room.
func (f *feeder) offer(records []byte, first, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queued+len(records) > sinkQueue {
		if f.dropped == 0 || f.lastDrop+1 != first {
			f.log.Warn("an audit sink is too slow: records are not sent to it; they are in the trail", "sink", f.sink.Name(), "from", first)
		}
		f.dropped += last - first + 1
		f.lastDrop = last
		return
	}
	f.queued += len(records)
	if n := len(f.waiting); n > 1 && len(f.waiting[n-1].records)+len(records) <= sinkChunk && f.waiting[n-1].last+1 == first {
		// The first one may be on its way.
		f.waiting[n-1].records = append(f.waiting[n-1].records, records...)
		f.waiting[n-1].last = last
	} else {
		f.waiting = append(f.waiting, chunk{append([]byte(nil), records...), first, last})
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run sends what waits, in order, until ctx ends or, when the trail is closed, nothing waits.
func (f *feeder) run(ctx context.Context) {
	defer close(f.ended)
	pause := sinkPause
	for {
		next, ok, closing := f.next()
		switch {
		case !ok && closing:
			return
		case !ok:
			select {
			case <-f.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		sending, cancel := context.WithTimeout(ctx, sinkTime)
		err := f.sink.Send(sending, next.records)
		cancel()
		f.outcome(next, err)
		if err == nil {
			pause = sinkPause
			continue
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, sinkLongest)
	}
}

func (f *feeder) next() (c chunk, ok, closing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		return c, false, f.closing
	}
	return f.waiting[0], true, f.closing
}

func (f *feeder) outcome(c chunk, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		if f.problem != nil {
			f.log.Info("an audit sink takes records again", "sink", f.sink.Name())
		}
		f.waiting[0] = chunk{}
		f.waiting = f.waiting[1:]
		f.queued -= len(c.records)
		f.sent, f.problem = c.last, nil
		return
	}
	if f.problem == nil {
		f.log.Error("an audit sink takes no records; they are in the trail and will be sent again", "sink", f.sink.Name(), "error", err)
	}
	f.problem = err
}

func (f *feeder) status() SinkStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := SinkStatus{Name: f.sink.Name(), Sent: f.sent, Queued: f.queued, Dropped: f.dropped, LastDrop: f.lastDrop}
	if f.problem != nil {
		s.Problem = f.problem.Error()
	}
	return s
}

// close gives what waits a moment, then ends the sink. That something was left is logged: it is no
// failure of the trail.
func (f *feeder) close() error {
	f.mu.Lock()
	f.closing = true
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	timer := time.NewTimer(sinkEnd)
	defer timer.Stop()
	select {
	case <-f.ended:
	case <-timer.C:
	}
	f.end()
	if s := f.status(); s.Queued > 0 {
		f.log.Warn("an audit sink did not take the last records; they are in the trail", "sink", s.Name, "sent", s.Sent, "bytes", s.Queued)
	}
	select {
	case <-f.ended:
		return f.sink.Close()
	case <-time.After(sinkEnd):
		return errors.Join(fmt.Errorf("audit sink %s does not end", f.sink.Name()))
	}
}
