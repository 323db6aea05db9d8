package audit

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// limitFiles makes the kernel refuse to let any file of this process grow beyond a size, as a full
// disk does, until the function it returns is called.
func limitFiles(t *testing.T, size uint64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ) // with it the write fails with EFBIG
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	lift = sync.OnceFunc(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(lift)
	return lift
}

// TestNoRoom: when a record cannot be written nothing is acknowledged, the state says why, and the
// trail goes on by itself when there is room again, with a record that tells of the gap.
func TestNoRoom(t *testing.T) {
	for _, mode := range modes() {
		t.Run(string(mode), func(t *testing.T) {
			tt := newTestTrail(t)
			trail := tt.open(inMode(mode))
			tt.append(trail, 3)
			trail.mu.Lock()
			size := trail.good.size
			trail.mu.Unlock()
			lift := limitFiles(t, uint64(size)+100) // in the middle of the next record, whatever it is
			var acknowledged atomic.Uint64
			var appending sync.WaitGroup
			for range 4 {
				appending.Go(func() {
					for i := range 20 {
						switch err := trail.Append(testEvent(i)); {
						case err == nil:
							acknowledged.Add(1)
						case !errors.Is(err, ErrStopped) || !errors.Is(err, syscall.EFBIG):
							t.Errorf("got %v", err)
						}
					}
				})
			}
			appending.Wait()
			if n := acknowledged.Load(); n != 0 {
				t.Errorf("%d records were acknowledged", n)
			}
			if err := trail.Ready(); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "file too large") {
				t.Errorf("ready: %v", err)
			}
			if s := trail.Status(); !strings.Contains(s.Problem, "file too large") || s.Refused == 0 {
				t.Errorf("status: %+v", s)
			}
			if !strings.Contains(tt.log.String(), "no request is served") {
				t.Errorf("the log says %s", tt.log)
			}
			// What is in the file is whole, all along.
			tt.whole(4 + acknowledged.Load())

			lift()
			for trail.Ready() != nil { // hangs if it does not go on
				time.Sleep(time.Millisecond)
			}
			tt.append(trail, 2)
			tt.close(trail)
			report := tt.whole(4 + acknowledged.Load() + 4)
			if len(report.Notes) != 1 || !strings.Contains(report.Notes[0].Problem, "events were refused") {
				t.Errorf("notes: %v", report.Notes)
			}
			if got := tt.names(); !slices.Contains(got, "ResumeTrail") {
				t.Errorf("records: %v", got)
			}
		})
	}
}

// TestNoRoomForANewFile: the same where the file that cannot be written has just been begun.
func TestNoRoomForANewFile(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open(func(c *Config) { c.RotateBytes = 1500 })
	tt.append(trail, 1) // the first file is full now
	lift := limitFiles(t, 100)
	if err := trail.Append(testEvent(1)); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	lift()
	for trail.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	tt.append(trail, 3)
	tt.close(trail)
	tt.whole(7)
}

// TestDirectoryGone: a directory that vanishes is noticed at the next file, and one that comes back
// is used again.
func TestDirectoryGone(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open(func(c *Config) { c.RotateBytes = 1500 })
	tt.append(trail, 1)
	if err := os.Rename(tt.dir, tt.dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := trail.Append(testEvent(1)); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	if err := os.Rename(tt.dir+".away", tt.dir); err != nil {
		t.Fatal(err)
	}
	for trail.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	tt.append(trail, 1)
	tt.close(trail)
	tt.whole(5)
}

// TestCloseWhileStopped: a trail that cannot be written ends, and says that its end is not recorded.
func TestCloseWhileStopped(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open(func(c *Config) { c.RetryInterval = time.Hour })
	lift := limitFiles(t, 100)
	if err := trail.Append(testEvent(1)); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	if err := trail.Close(); !errors.Is(err, ErrStopped) {
		t.Errorf("close: %v", err)
	}
	lift()
	tt.whole(1)
	tt.close(tt.open())
	tt.whole(3)
}
