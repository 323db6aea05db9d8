package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// lineWait is how long a line may wait for others.
	lineWait = 100 * time.Millisecond
	// linesWaiting bounds the lines that wait, in bytes: what a pipe takes from several processes without
	// mixing their lines (PIPE_BUF of pipe(7)), and what one failed write may lose.
	linesWaiting = 4 << 10
)

// logLines writes the lines of a log in the order in which they come. Those that may wait are written with
// the next that may not, when there are many, after lineWait, or at the end: under load one write stands
// for several. It may be used by several goroutines at once.
type logLines struct {
	to io.Writer

	mu      sync.Mutex
	waiting []byte
	timer   *time.Timer // runs while lines wait
	ended   bool        // none may wait any more
}

func newLogLines(to io.Writer) *logLines {
	l := &logLines{to: to}
	l.timer = time.AfterFunc(lineWait, l.flush)
	l.timer.Stop()
	return l
}

// Write writes a line at once.
func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
	return l.to.Write(line)
}

// write writes what waits. A log has nowhere to tell that it cannot be written. mu is held.
func (l *logLines) write() {
	if len(l.waiting) == 0 {
		return
	}
	l.timer.Stop()
	_, _ = l.to.Write(l.waiting)
	l.waiting = l.waiting[:0]
}

func (l *logLines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
}

// end writes what waits. Later lines are written at once.
func (l *logLines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.write()
}

// patientLines are logLines for lines that may wait.
type patientLines struct{ *logLines }

func (l patientLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting)+len(line) > linesWaiting {
		l.write()
	}
	if l.ended || len(line) > linesWaiting {
		return l.to.Write(line)
	}
	if len(l.waiting) == 0 {
		l.timer.Reset(lineWait)
	}
	l.waiting = append(l.waiting, line...)
	return len(line), nil
}

// A requestLog is the handler of a log whose lines may wait, but for warnings and errors.
type requestLog struct{ patient, urgent slog.Handler }

func (r requestLog) of(level slog.Level) slog.Handler {
	if level >= slog.LevelWarn {
		return r.urgent
	}
	return r.patient
}

func (r requestLog) Enabled(ctx context.Context, level slog.Level) bool {
	return r.of(level).Enabled(ctx, level)
}

func (r requestLog) Handle(ctx context.Context, record slog.Record) error {
	return r.of(record.Level).Handle(ctx, record)
}

func (r requestLog) WithAttrs(attributes []slog.Attr) slog.Handler {
	return requestLog{r.patient.WithAttrs(attributes), r.urgent.WithAttrs(attributes)}
}

func (r requestLog) WithGroup(name string) slog.Handler {
	return requestLog{r.patient.WithGroup(name), r.urgent.WithGroup(name)}
}
