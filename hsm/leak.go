package hsm

import (
	"sync/atomic"
	"time"
)

// A leak counts what a library loses of this process's memory.
type leak struct {
	bytes atomic.Int64
	after atomic.Int64 // no restart before this time, in nanoseconds since 1970, because one failed
}

// lose counts an object that was destroyed.
func (l *leak) lose(bytes int) {
	if bytes > 0 {
		l.bytes.Add(int64(bytes))
	}
}

func (l *leak) reset() { l.bytes.Store(0) }

// leakRetry is the pause after a restart that could not be made.
const leakRetry = 10 * time.Second

// endLeak has a library that lost more than its budget initialised again. Calls wait at the module's
// gate meanwhile; afterwards the caches of handles are empty.
func (t *Token) endLeak() {
	l, now := &t.module.leak, time.Now()
	if l.bytes.Load() < int64(t.config.LeakBudget) || now.UnixNano() < l.after.Load() {
		return
	}
	if err := t.module.reinitialise(); err != nil {
		l.after.Store(now.Add(leakRetry).UnixNano())
		t.log.Warn("the library leaks memory and could not be initialised again to end that", "error", err)
		return
	}
	t.log.Info("the library was initialised again to end its memory leak")
}
