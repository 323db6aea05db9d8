package metrics

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kms11/kms11/ops"
)

// Service is what state is read from: an *ops.Service.
type Service interface {
	Tokens() []ops.TokenStatus
	AuditStatus() *ops.AuditTrailStatus
	Overdue(context.Context) (ops.Overdue, error)
	CountKeyStores(context.Context) (map[ops.KeyStoreGroup]int, error)
}

// state reads how the server is whenever Prometheus asks.
type state struct {
	config Config
	descs  map[string]*prometheus.Desc
	stored reading
}

func newState(c Config) *state {
	s := &state{config: c, descs: map[string]*prometheus.Desc{}}
	for _, m := range Table() {
		s.descs[m.Name] = m.desc()
	}
	s.stored.read = s.fromStore
	return s
}

// Describe implements prometheus.Collector. Collect's metrics come and go, so it promises none.
func (s *state) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. The health check comes first: it brings up to date what is
// known of the tokens.
func (s *state) Collect(ch chan<- prometheus.Metric) {
	tell := func(m Metric, v float64, labels ...string) { ch <- m.value(s.descs[m.Name], v, labels...) }
	tell(buildInfo, 1, s.config.Version, runtime.Version())
	tell(healthy, truth(s.config.Healthy(context.Background()) == nil))
	s.tokens(tell)
	s.audit(tell)
	for _, v := range s.stored.within(storeWait) {
		tell(v.metric, v.value, v.labels...)
	}
}

type teller func(m Metric, v float64, labels ...string)

// tokens tells of each token once, though two may be called the same.
func (s *state) tokens(tell teller) {
	type id struct{ use, region, token string }
	told, libraries := map[id]bool{}, map[string]bool{}
	for _, t := range s.config.Service.Tokens() {
		name := id{string(t.Use), t.Region, t.URI}
		if told[name] {
			continue
		}
		told[name] = true
		for _, m := range []struct {
			metric Metric
			value  float64
		}{
			{tokenUp, truth(t.Up)},
			{tokenSessions, float64(t.Sessions)},
			{tokenHandles, float64(t.Handles)},
			{tokenHanging, float64(t.Hanging)},
		} {
			tell(m.metric, m.value, name.use, name.region, name.token)
		}
		if !t.Since.IsZero() {
			tell(tokenChanged, float64(t.Since.UnixMilli())/1000, name.use, name.region, name.token)
		}
		if path := t.Library.Path; path != "" && !libraries[path] {
			libraries[path] = true
			tell(libraryLeaked, float64(t.Library.Leaked), path)
			tell(libraryRestarts, float64(t.Library.Restarts), path)
		}
	}
}

func (s *state) audit(tell teller) {
	trail := s.config.Service.AuditStatus()
	if trail == nil {
		return
	}
	tell(auditRecords, float64(trail.Sequence))
	tell(auditStopped, truth(trail.Problem != ""))
	tell(auditRefused, float64(trail.Refused))
	tell(auditUndigested, float64(max(trail.Sequence, trail.Covered)-trail.Covered))
	tell(auditDigestFailing, truth(trail.DigestErr != ""))
	told := map[string]bool{}
	for _, sink := range trail.Sinks {
		if told[sink.Name] {
			continue
		}
		told[sink.Name] = true
		tell(sinkQueue, float64(sink.Queued), sink.Name)
		tell(sinkDropped, float64(sink.Dropped), sink.Name)
		tell(sinkFailing, truth(sink.Problem != ""), sink.Name)
	}
}

// fromStore reads what is in the keystore. What cannot be read is left out.
func (s *state) fromStore(ctx context.Context) (values []value) {
	if overdue, err := s.config.Service.Overdue(ctx); err == nil {
		values = append(values, value{metric: overdueEntries, value: float64(overdue.Entries)}, value{metric: overdueSeconds, value: overdue.Oldest.Seconds()})
	}
	counts, err := s.config.Service.CountKeyStores(ctx)
	if err != nil {
		return values
	}
	for group, n := range counts {
		values = append(values, value{keyStores, float64(n), []string{group.Type, group.State}})
	}
	return values
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// storeWait bounds the wait for the keystore, whose records a token may have to verify. With the health
// check before it, an answer takes less than the ten seconds that Prometheus waits.
const storeWait = 2 * time.Second

// A value is a metric with what it has to say.
type value struct {
	metric Metric
	value  float64
	labels []string
}

// A reading is read in the background, by one goroutine at a time: a call into a token that hangs must
// not hold up all who ask.
type reading struct {
	read func(context.Context) []value

	mu   sync.Mutex
	done chan []value // of the reading under way; nil: there is none
}

// within gives what is read within a time, and nothing after that.
func (r *reading) within(wait time.Duration) []value {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		done := make(chan []value, 1)
		r.done = done
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			done <- r.read(ctx)
		}()
	}
	patience := time.NewTimer(wait)
	defer patience.Stop()
	select {
	case values := <-r.done:
		r.done = nil
		return values
	case <-patience.C:
		return nil // who asks next waits for the same
	}
}
