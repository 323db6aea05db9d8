package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Mode is what Append promises when it returns.
type Mode string

const (
	// Strict: the record is on the disk; it outlives a crash of the machine. Many callers share one
	// fsync.
	Strict Mode = "strict"
	// Async: the record was handed to the operating system; it outlives the end of the process,
	// however sudden. A crash of the machine may lose the records of the last sync interval.
	Async Mode = "async"
)

// Config is what a Trail needs. Dir and Signer are required.
type Config struct {
	Dir    string
	Mode   Mode   // Strict if empty
	Signer Signer // of digests

	RotateBytes    int64         // size at which a file is full; 0: 64 MiB
	RotateAfter    time.Duration // age at which it is; 0: a day
	SyncInterval   time.Duration // of Async; 0: 200 ms
	DigestInterval time.Duration // 0: 5 minutes
	RetryInterval  time.Duration // between attempts to go on after a failure; 0: a second

	// Anchor is the last digest that the trail should have, as OnDigest was told; nil: not known.
	Anchor *Anchor
	// OnDigest is told of each digest that was written, so that its place can be kept elsewhere.
	OnDigest func(context.Context, Anchor) error

	Sinks   []Sink
	Account string // of the trail's own records
	Region  string
	Version string // of the program, for the trail's own records
	Now     func() time.Time
	Logger  *slog.Logger
}

// Anchor is how far a trail went when its last digest was made.
type Anchor struct {
	Digest   uint64 // its number
	Hash     string // of the digest, hexadecimal
	Sequence uint64 // of the last record it covers
}

// Trail writes records. It is safe for concurrent use.
type Trail struct {
	c       Config
	now     func() time.Time
	log     *slog.Logger
	sinks   []*feeder
	digests digester

	mu      sync.Mutex
	closed  bool
	head    head   // of what was appended
	durable head   // of what is written (Async) or synced (Strict)
	buffer  []byte // records that wait for the writer
	spare   []byte // the writer's last buffer
	waiting *batch // those who wait for buffer
	spans   []span // what no digest covers yet
	stopped error  // why nothing can be written; nil: all is well
	since   time.Time
	refused uint64 // events refused since then
	lost    uint64 // records of failed writes, whose callers were told
	good    mark   // where the last acknowledged record ends

	// What Async has written and not synced: files that are full, and the one that is being written.
	full     []*os.File
	current  *os.File
	syncFail error // why the last sync failed, until the writer has heard of it

	down atomic.Bool // stopped is set, or closed

	segment segment // the writer's own

	kick chan struct{} // wakes the writer; holds one
	quit chan struct{}
	done sync.WaitGroup
}

// batch is a group of records that are written, and in Strict synced, together.
type batch struct {
	done chan struct{} // closed when err is set
	err  error
}

// span is a run of records in one file that no digest covers yet.
type span struct {
	file  string
	first uint64
	last  head
	end   int64 // offset behind the last one
}

// mark is a place in a file.
type mark struct {
	file string
	size int64
}

// ErrStopped is the error of a trail that cannot be written at the moment: the disk is full, say.
// Its text says why.
var ErrStopped = errors.New("the audit trail cannot be written")

// ErrClosed is the error of a trail after Close.
var ErrClosed = errors.New("the audit trail is closed")

// Open opens the trail in c.Dir, which it makes if it is missing, goes on with the chain where it
// ended and records that it was opened. What a crash left half written at the end is moved to a file
// of its own, which a record tells of. A trail is opened by one process at a time: the caller sees
// to that.
func Open(c Config) (*Trail, error) {
	c.Mode = orElse(c.Mode, Strict)
	c.RotateBytes = orElse(c.RotateBytes, 64<<20)
	c.RotateAfter = orElse(c.RotateAfter, 24*time.Hour)
	c.SyncInterval = orElse(c.SyncInterval, 200*time.Millisecond)
	c.DigestInterval = orElse(c.DigestInterval, 5*time.Minute)
	c.RetryInterval = orElse(c.RetryInterval, time.Second)
	t := &Trail{
		c: c, now: c.Now, log: c.Logger,
		segment: segment{dir: c.Dir},
		kick:    make(chan struct{}, 1), quit: make(chan struct{}),
	}
	if t.now == nil {
		t.now = time.Now
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if c.Mode != Strict && c.Mode != Async {
		return nil, fmt.Errorf("audit: mode %q is neither %s nor %s", c.Mode, Strict, Async)
	}
	for _, dir := range []string{c.Dir, filepath.Join(c.Dir, digestDir), filepath.Join(c.Dir, keysDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
	}
	if err := t.openFiles(); err != nil {
		t.segment.abandon()
		return nil, fmt.Errorf("audit: %w", err)
	}
	for _, sink := range c.Sinks {
		t.sinks = append(t.sinks, newFeeder(sink, t.log))
	}
	t.done.Go(t.runWriter)
	if c.Mode == Async {
		t.done.Go(t.runSyncer)
	}
	t.done.Go(t.runDigests)
	return t, nil
}

func orElse[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// openFiles finds the end of the chain and writes the first records of this process.
func (t *Trail) openFiles() error {
	found, err := t.recover()
	if err != nil {
		return err
	}
	t.head, t.durable = found.head, found.head
	t.spans = found.spans
	t.digests.last = found.digest
	if found.file != "" {
		if err := t.segment.reopen(found.file, found.made, found.size); err != nil {
			return err
		}
	}
	if err := t.exportKey(); err != nil {
		return err
	}
	var events [][]byte
	if missing := found.missing(t.c.Anchor); missing != nil {
		t.log.Error("the audit trail is not the one that the keystore knows: records were removed", "dir", t.c.Dir,
			"wantDigest", missing.Digest, "wantSequence", missing.Sequence, "digest", found.digest.number, "sequence", found.head.sequence)
		events = append(events, t.ownEvent(eventMissing, details{
			{"digestNumber", missing.Digest}, {"digestHash", missing.Hash}, {"sequence", missing.Sequence},
			{"foundDigestNumber", found.digest.number}, {"foundSequence", found.head.sequence},
		}))
	}
	if found.torn != nil {
		t.log.Warn("the end of the audit trail was half written and has been moved aside", "dir", t.c.Dir, "file", found.torn.file,
			"bytes", found.torn.bytes, "saved", found.torn.saved)
		events = append(events, t.ownEvent(eventTruncate, details{
			{"file", found.torn.file}, {"offset", uint64(found.torn.offset)}, {"bytes", uint64(found.torn.bytes)},
			{"saved", found.torn.saved}, {"sha256", found.torn.hash},
		}))
	}
	events = append(events, t.ownEvent(eventStart, details{{"version", t.c.Version}, {"mode", string(t.c.Mode)}}))
	for _, event := range events {
		if err := t.writeNow(event); err != nil {
			return err
		}
	}
	if err := t.segment.sync(); err != nil {
		return err
	}
	t.acknowledge()
	return nil
}

// writeNow appends a record of the trail's own. The caller owns everything.
func (t *Trail) writeNow(event []byte) error {
	line, next, err := t.head.link(nil, event)
	if err != nil {
		return err
	}
	if t.segment.full(t.c.RotateBytes, t.c.RotateAfter, t.now()) {
		if err := t.segment.create(next.sequence, t.now()); err != nil {
			return err
		}
	}
	if err := t.segment.write(line); err != nil {
		return err
	}
	t.note(next.sequence, next)
	t.head, t.durable = next, next
	return nil
}

// acknowledge remembers that everything written so far may be told of.
func (t *Trail) acknowledge() { t.good = mark{t.segment.name, t.segment.size} }

// note adds written records to the spans that the next digest covers.
func (t *Trail) note(first uint64, last head) {
	if n := len(t.spans); n > 0 && t.spans[n-1].file == t.segment.name {
		t.spans[n-1].last, t.spans[n-1].end = last, t.segment.size
		return
	}
	t.spans = append(t.spans, span{file: t.segment.name, first: first, last: last, end: t.segment.size})
}

// Ready says why no event can be recorded at the moment: an error that matches ErrStopped. It is
// cheap enough to ask before every request.
func (t *Trail) Ready() error {
	if !t.down.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state()
}

func (t *Trail) state() error {
	switch {
	case t.closed:
		return ErrClosed
	case t.stopped != nil:
		return t.stopped
	}
	return nil
}

// Append records an event: one JSON object on one line. When it returns nil the record is as durable
// as the Mode says. With an error, which matches ErrStopped, there is no record, or one that nobody
// was told of, and what it would tell must not be told to anybody. Append keeps nothing of event.
func (t *Trail) Append(event []byte) error {
	t.mu.Lock()
	if err := t.state(); err != nil {
		t.refused++
		t.mu.Unlock()
		return err
	}
	buffer, next, err := t.head.link(t.buffer, event)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	t.buffer, t.head = buffer, next
	if t.waiting == nil {
		t.waiting = &batch{done: make(chan struct{})}
	}
	b := t.waiting
	t.mu.Unlock()
	t.wake()
	<-b.done
	return b.err
}

// wake has the writer look what there is to do.
func (t *Trail) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// Sequence is the number of the last record.
func (t *Trail) Sequence() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.head.sequence
}

// Status is how a trail is.
type Status struct {
	Mode      Mode         `json:"mode"`
	Directory string       `json:"directory"`
	Sequence  uint64       `json:"sequence"` // of the last record that may be told of
	Digest    uint64       `json:"digest"`   // number of the last one
	Covered   uint64       `json:"covered"`  // the last record that a digest covers
	Problem   string       `json:"problem,omitempty"`
	Refused   uint64       `json:"refused,omitempty"` // events, since the problem arose
	DigestErr string       `json:"digestProblem,omitempty"`
	Sinks     []SinkStatus `json:"sinks,omitempty"`
}

// Status tells how the trail and its sinks are.
func (t *Trail) Status() Status {
	last, problem := t.digests.state()
	t.mu.Lock()
	s := Status{Mode: t.c.Mode, Directory: t.c.Dir, Sequence: t.durable.sequence, Refused: t.refused, Digest: last.number, Covered: last.sequence, DigestErr: problem}
	if t.stopped != nil {
		s.Problem = t.stopped.Error()
	}
	t.mu.Unlock()
	for _, sink := range t.sinks {
		s.Sinks = append(s.Sinks, sink.status())
	}
	return s
}

// Close records the end, makes everything durable, signs a last digest and gives the sinks a moment
// to take what they have not. Events that come later are refused.
func (t *Trail) Close() error {
	event := t.ownEvent(eventStop, nil)
	err := t.Append(event)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.down.Store(true)
	t.mu.Unlock()
	close(t.quit)
	t.done.Wait()
	t.mu.Lock()
	stopped := t.stopped
	t.mu.Unlock()
	if stopped == nil {
		err = errors.Join(err, syncRetired(t.full), t.segment.sync())
		// Without it the first digest of the next process covers the records.
		if failed := t.digest(context.Background()); failed != nil {
			t.log.Error("no last digest of the audit trail was made", "error", failed)
		}
	}
	err = errors.Join(err, t.segment.close())
	for _, sink := range t.sinks {
		if failed := sink.close(); failed != nil {
			t.log.Warn("an audit sink was not closed", "error", failed)
		}
	}
	return err
}
