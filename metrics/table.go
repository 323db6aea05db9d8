package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// A Metric is one row of the table of metrics.
type Metric struct {
	Name   string
	Type   string // counter, gauge or histogram
	Labels []string
	Help   string
}

// The types of metrics.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// The metrics of requests, which are counted as they pass.
var (
	requestsTotal = Metric{"kms11_requests_total", counter, []string{"api", "operation", "outcome"},
		"Requests answered, by API (kms, sts, xks), operation and outcome: ok, or the error's code."}
	requestSeconds = Metric{"kms11_request_duration_seconds", histogram, []string{"api", "operation"},
		"Time from a request's header to its answer, whatever the outcome."}
	requestsInFlight = Metric{"kms11_requests_in_flight", gauge, []string{"api"},
		"Requests that have arrived and are not answered."}
)

// The metrics of state, which is read when it is asked for.
var (
	buildInfo = Metric{"kms11_build_info", gauge, []string{"version", "goversion"},
		"1, with the version of kms11 and of Go."}
	healthy = Metric{"kms11_healthy", gauge, nil,
		"1 if GET /healthz answers 200, else 0."}

	tokenUp = Metric{"kms11_token_up", gauge, []string{"use", "region", "token"},
		"1 while the token is used, 0 while it is down."}
	tokenChanged = Metric{"kms11_token_changed_timestamp_seconds", gauge, []string{"use", "region", "token"},
		"When the token went down or came up last, in seconds since 1970."}
	tokenSessions = Metric{"kms11_token_sessions", gauge, []string{"use", "region", "token"},
		"Sessions that are open with the token."}
	tokenHandles = Metric{"kms11_token_handles", gauge, []string{"use", "region", "token"},
		"Session objects that are cached in the token."}
	tokenHanging = Metric{"kms11_token_hanging_calls", gauge, []string{"use", "region", "token"},
		"Calls into the token that are past their limit and have not returned."}
	libraryLeaked = Metric{"kms11_library_leaked_bytes", gauge, []string{"library"},
		"Memory that the PKCS #11 library has lost since it was initialised, by what is known of it."}
	libraryRestarts = Metric{"kms11_library_restarts_total", counter, []string{"library"},
		"Times that the PKCS #11 library was initialised again."}

	auditRecords = Metric{"kms11_audit_records_total", counter, nil,
		"Sequence number of the last record of the audit trail. It goes on over restarts."}
	auditStopped = Metric{"kms11_audit_stopped", gauge, nil,
		"1 while the audit trail cannot be written, so that no request is served."}
	auditRefused = Metric{"kms11_audit_refused_events", gauge, nil,
		"Events that were not recorded, and whose requests failed, since the audit trail stopped."}
	auditUndigested = Metric{"kms11_audit_undigested_records", gauge, nil,
		"Records that no signed digest covers yet."}
	auditDigestFailing = Metric{"kms11_audit_digest_failing", gauge, nil,
		"1 if the last digest could not be made."}
	sinkQueue = Metric{"kms11_audit_sink_queue_bytes", gauge, []string{"sink"},
		"Records that wait for the sink, in bytes."}
	sinkDropped = Metric{"kms11_audit_sink_dropped_records_total", counter, []string{"sink"},
		"Records that found no room in the sink's queue."}
	sinkFailing = Metric{"kms11_audit_sink_failing", gauge, []string{"sink"},
		"1 if the last attempt to send to the sink failed."}

	overdueEntries = Metric{"kms11_scheduler_overdue", gauge, nil,
		"Scheduled deletions, rotations and expirations whose time has come; at most 1000 are counted."}
	overdueSeconds = Metric{"kms11_scheduler_overdue_seconds", gauge, nil,
		"How long the oldest of them has been due; 0 if there is none."}
	keyStores = Metric{"kms11_custom_key_stores", gauge, []string{"type", "state"},
		"Custom key stores by type and connection state."}
)

// Table is every metric of kms11's own. Those of the Go runtime and of the process are beside it.
func Table() []Metric {
	return []Metric{
		requestsTotal, requestSeconds, requestsInFlight,
		buildInfo, healthy,
		tokenUp, tokenChanged, tokenSessions, tokenHandles, tokenHanging, libraryLeaked, libraryRestarts,
		auditRecords, auditStopped, auditRefused, auditUndigested, auditDigestFailing, sinkQueue, sinkDropped, sinkFailing,
		overdueEntries, overdueSeconds, keyStores,
	}
}

func (m Metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
}

// value is what a metric of state has to say.
func (m Metric) value(desc *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	kind := prometheus.GaugeValue
	if m.Type == counter {
		kind = prometheus.CounterValue
	}
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "?") // which Prometheus would refuse the whole answer for
	}
	return prometheus.MustNewConstMetric(desc, kind, v, labels...)
}
