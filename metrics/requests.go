package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// buckets are the upper bounds of the request times in seconds: from a cached answer, over the token's
// short calls and a flushed audit record, to an RSA-4096 pair.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}

const (
	outcomeOK = "ok"
	// operationUnknown stands for whatever a client names that is no operation.
	operationUnknown = "unknown"
)

// requests are the metrics of all APIs.
type requests struct {
	total    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
}

func newRequests() *requests {
	return &requests{
		total:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: requestsTotal.Name, Help: requestsTotal.Help}, requestsTotal.Labels),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: requestSeconds.Name, Help: requestSeconds.Help, Buckets: buckets}, requestSeconds.Labels),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: requestsInFlight.Name, Help: requestsInFlight.Help}, requestsInFlight.Labels),
	}
}

// An API counts the requests of one API. It may be used by many goroutines at once, and costs a request
// no lock and no allocation.
type API struct {
	inFlight   prometheus.Gauge
	operations map[string]*operation // never written to
	unknown    *operation
}

// operation has what belongs to an operation at hand, so that nothing is looked up by labels.
type operation struct {
	ok      prometheus.Counter
	seconds prometheus.Observer
	failed  *prometheus.CounterVec // by outcome
	// last is the counter of the last error: one that is frequent is nearly always there.
	last atomic.Pointer[failure]
}

type failure struct {
	code  string
	count prometheus.Counter
}

func newAPI(r *requests, api string, operations []string) *API {
	a := &API{inFlight: r.inFlight.WithLabelValues(api), operations: make(map[string]*operation, len(operations))}
	for _, name := range operations {
		a.operations[name] = newOperation(r, api, name)
	}
	a.unknown = newOperation(r, api, operationUnknown)
	return a
}

func newOperation(r *requests, api, name string) *operation {
	return &operation{
		ok:      r.total.WithLabelValues(api, name, outcomeOK),
		seconds: r.seconds.WithLabelValues(api, name),
		failed:  r.total.MustCurryWith(prometheus.Labels{"api": api, "operation": name}),
	}
}

// Begin counts a request that has arrived.
func (a *API) Begin() { a.inFlight.Inc() }

// End counts a request that was answered. code is the error's, "" for success; it has to be one of the
// program's own words.
func (a *API) End(operation, code string, took time.Duration) {
	a.inFlight.Dec()
	o := a.operations[operation]
	if o == nil {
		o = a.unknown
	}
	o.seconds.Observe(took.Seconds())
	if code == "" {
		o.ok.Inc()
		return
	}
	o.fail(code)
}

func (o *operation) fail(code string) {
	last := o.last.Load()
	if last == nil || last.code != code {
		last = &failure{code, o.failed.WithLabelValues(code)}
		o.last.Store(last)
	}
	last.count.Inc()
}
