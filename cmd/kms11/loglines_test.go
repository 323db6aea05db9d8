package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// A sink keeps what is written to it, each write by itself.
type sink struct {
	mu     sync.Mutex
	writes []string
	err    error
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, string(b))
	return len(b), s.err
}

func (s *sink) all() (text string, writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.writes, ""), len(s.writes)
}

// messages are the values of msg in the order of the lines.
func messages(t *testing.T, text string) (list []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		_, message, found := strings.Cut(strings.TrimSuffix(line, "\n"), "msg=")
		if !found {
			t.Fatalf("not a line: %q", line)
		}
		list = append(list, message)
	}
	return list
}

// TestLogLinesOrder: whatever lines wait, the order is that in which they came, and an urgent line takes
// all before it along.
func TestLogLinesOrder(t *testing.T) {
	for name, urgent := range map[string]func(log, requests *slog.Logger){
		"a line of the log":       func(log, _ *slog.Logger) { log.Info("urgent") },
		"a warning of a request":  func(_, requests *slog.Logger) { requests.Warn("urgent") },
		"an error of a request":   func(_, requests *slog.Logger) { requests.Error("urgent") },
		"with an attribute":       func(_, requests *slog.Logger) { requests.With("a", 1).Error("urgent") },
		"with a group for others": func(_, requests *slog.Logger) { requests.WithGroup("g").Error("urgent") },
	} {
		var to sink
		log, requests, stop := newLoggers(LogConfig{Level: "info"}, &to)
		log.Info("first")
		for i := range 20 {
			requests.Info(fmt.Sprint(i))
		}
		requests.Debug("below the level")
		urgent(log, requests)
		text, _ := to.all()
		want := []string{"first"}
		for i := range 20 {
			want = append(want, fmt.Sprint(i))
		}
		want = append(want, "urgent")
		got := messages(t, text)
		if len(got) > 0 {
			got[len(got)-1] = strings.Fields(got[len(got)-1])[0]
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: written by then: %q", name, got)
		}
		stop()
		if after, _ := to.all(); after != text {
			t.Errorf("%s: the end wrote more: %q", name, after[len(text):])
		}
	}
}

// TestLogLinesEnd: the end writes what waits, and nothing waits after it.
func TestLogLinesEnd(t *testing.T) {
	var to sink
	_, requests, stop := newLoggers(LogConfig{Level: "info", Format: "json"}, &to)
	requests.Info("a")
	requests.Info("b")
	stop()
	if text, _ := to.all(); strings.Count(text, "\n") != 2 || strings.Index(text, `"msg":"a"`) > strings.Index(text, `"msg":"b"`) {
		t.Errorf("written: %q", text)
	}
	requests.Info("c")
	if text, _ := to.all(); !strings.Contains(text, `"msg":"c"`) {
		t.Error("a line after the end is lost")
	}
}

// TestLogLinesDoNotWaitLong: a line that nothing follows comes too, and so does one after it.
func TestLogLinesDoNotWaitLong(t *testing.T) {
	var to sink
	_, requests, stop := newLoggers(LogConfig{Level: "info"}, &to)
	defer stop()
	for _, line := range []string{"one", "two"} {
		requests.Info(line)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if text, _ := to.all(); strings.Contains(text, "msg="+line+"\n") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%q does not come", line)
			}
		}
	}
}

// TestLogLinesAreBounded: many lines are written before their time, in few writes.
func TestLogLinesAreBounded(t *testing.T) {
	var to sink
	lines := newLogLines(&to)
	line := strings.Repeat("x", 1023) + "\n"
	const n = 64 * 8
	for range n {
		if _, err := (patientLines{lines}).Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		lines.mu.Lock()
		if len(lines.waiting) > linesWaiting {
			t.Fatalf("%d bytes wait", len(lines.waiting))
		}
		lines.mu.Unlock()
	}
	lines.end()
	text, writes := to.all()
	if text != strings.Repeat(line, n) || writes != n/4 {
		t.Errorf("%d bytes are written by %d writes", len(text), writes)
	}
	long := strings.Repeat("y", linesWaiting) + "\n"
	for _, line := range []string{line, long, line} {
		if _, err := (patientLines{lines}).Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if text, _ := to.all(); !strings.HasSuffix(text, line+long+line) {
		t.Error("a line that is longer than all that may wait is not in its place")
	}
}

// TestLogLinesThatCannotBeWritten are dropped, as they always were: they do not pile up.
func TestLogLinesThatCannotBeWritten(t *testing.T) {
	to := sink{err: errors.New("no room")}
	lines := newLogLines(&to)
	for range 3 {
		if _, err := (patientLines{lines}).Write([]byte("a\n")); err != nil {
			t.Errorf("a line that waits: %v", err)
		}
		lines.flush()
	}
	if _, err := lines.Write([]byte("b\n")); err == nil {
		t.Error("no error")
	}
	if text, writes := to.all(); text != "a\na\na\nb\n" || writes != 4 {
		t.Errorf("%d writes: %q", writes, text)
	}
}

// TestLogLinesAtOnce: nothing is lost or torn when many write and the end comes between.
func TestLogLinesAtOnce(t *testing.T) {
	var to sink
	log, requests, stop := newLoggers(LogConfig{Level: "info"}, &to)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 500 {
				if i%50 == 0 {
					log.Info(fmt.Sprintf("%d-%d", w, i))
				} else {
					requests.Info(fmt.Sprintf("%d-%d", w, i))
				}
				if w == 0 && i == 250 {
					stop()
				}
			}
		})
	}
	writers.Wait()
	text, _ := to.all()
	next := map[string]int{}
	for _, message := range messages(t, text) {
		w, i, _ := strings.Cut(message, "-")
		if i != fmt.Sprint(next[w]) {
			t.Fatalf("writer %s: line %s after %d", w, i, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != 500 {
			t.Errorf("writer %s: %d lines", w, n)
		}
	}
}
