package metrics

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Path is where the metrics are.
const Path = "/metrics"

// Config is what Metrics need. All fields are required.
type Config struct {
	Version string
	Service Service
	// Healthy says why the server is not healthy. It comes back within seconds whatever hangs.
	Healthy func(context.Context) error
	Logger  *slog.Logger
}

// Metrics are those of one server.
type Metrics struct {
	registry *prometheus.Registry
	requests *requests
	log      *slog.Logger
}

// New makes the metrics. Nothing is registered anywhere but with them.
func New(c Config) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), requests: newRequests(), log: c.Logger}
	m.registry.MustRegister(
		m.requests.total, m.requests.seconds, m.requests.inFlight,
		newState(c),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// API has the requests of an API with these operations counted. It is called once for each API.
func (m *Metrics) API(name string, operations []string) *API {
	return newAPI(m.requests, name, operations)
}

// maxScrapes is how many answers are made at a time. Prometheus needs one, a pair of them two.
const maxScrapes = 4

// Handler answers GET at Path and nothing else.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelError),
		// One metric that cannot be told must not hide all others.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	}))
	return mux
}
