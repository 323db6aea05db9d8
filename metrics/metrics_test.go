package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/ops"
)

// fake is a service in a state of the test's choosing.
type fake struct {
	tokens []ops.TokenStatus
	trail  *ops.AuditTrailStatus
	hang   chan struct{} // the store answers when it is closed; nil: at once
	stored error
	asked  int
}

func (f *fake) Tokens() []ops.TokenStatus          { return f.tokens }
func (f *fake) AuditStatus() *ops.AuditTrailStatus { return f.trail }

func (f *fake) Overdue(context.Context) (ops.Overdue, error) {
	f.asked++
	if f.hang != nil {
		<-f.hang
	}
	return ops.Overdue{Entries: 3, Oldest: 90 * time.Second}, f.stored
}

func (f *fake) CountKeyStores(context.Context) (map[ops.KeyStoreGroup]int, error) {
	return map[ops.KeyStoreGroup]int{{Type: "AWS_CLOUDHSM", State: "CONNECTED"}: 2}, f.stored
}

// eventful is a service of which there is everything to tell.
func eventful() *fake {
	state := hsm.TokenState{
		URI: "pkcs11:token=a", Up: true, Since: time.Unix(1_800_000_000, 5e8), Sessions: 5, Handles: 7, Hanging: 1,
		Library: hsm.LibraryState{Path: "/lib/p11.so", Leaked: 480, Restarts: 2},
	}
	down := hsm.TokenState{URI: "pkcs11:token=b", Cause: "gone", Library: state.Library}
	return &fake{
		tokens: []ops.TokenStatus{
			{Use: ops.TokenOfDomain, TokenState: state},
			{Use: ops.TokenOfDomain, TokenState: state}, // named twice by a careless configuration
			{Use: ops.TokenOfRegion, Region: "eu-west-1", TokenState: down},
		},
		trail: &ops.AuditTrailStatus{
			Sequence: 120, Covered: 100, Problem: "disk full", Refused: 4,
			Sinks: []audit.SinkStatus{{Name: "http", Queued: 12, Dropped: 3, Problem: "refused"}},
		},
	}
}

func newMetrics(service Service, ill error) *Metrics {
	return New(Config{Version: "1.2.3", Service: service, Healthy: func(context.Context) error { return ill }, Logger: slog.New(slog.DiscardHandler)})
}

// scrape asks as Prometheus does and reads the answer with Prometheus's own parser. A value is under its
// metric's name and labels, as in the text; histograms by their count.
func scrape(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, Path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", Path, w.Code, w.Body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for name, family := range families {
		for _, metric := range family.Metric {
			var labels []string
			for _, l := range metric.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			slices.Sort(labels)
			key := name
			if len(labels) > 0 {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case metric.Counter != nil:
				values[key] = metric.Counter.GetValue()
			case metric.Gauge != nil:
				values[key] = metric.Gauge.GetValue()
			case metric.Histogram != nil:
				values[key] = float64(metric.Histogram.GetSampleCount())
			}
		}
	}
	return values
}

func want(t *testing.T, got map[string]float64, name string, value float64) {
	t.Helper()
	if v, ok := got[name]; !ok || v != value {
		t.Errorf("%s is %v (there: %t), want %v", name, v, ok, value)
	}
}

// TestRequestsAddUp has many goroutines count, and wants every request once, in its place.
func TestRequestsAddUp(t *testing.T) {
	m := newMetrics(&fake{}, nil)
	api := m.API("kms", []string{"Encrypt", "Sign"})
	m.API("sts", []string{"Encrypt"}) // of the same name in another API
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 600 {
				api.Begin()
				code := ""
				if n%3 == 0 {
					code = []string{"NotFoundException", "DisabledException"}[i%2]
				}
				api.End([]string{"Encrypt", "Sign", "whatever the client says"}[n%2+n/300*i%2], code, time.Millisecond)
			}
		})
	}
	all.Wait()
	api.Begin()
	api.Begin()
	api.End("no such operation", "UnknownOperationException", time.Second)
	got := scrape(t, m)
	sum, timed := 0.0, 0.0
	for name, v := range got {
		if strings.HasPrefix(name, requestsTotal.Name) {
			sum += v
			if strings.Contains(name, "whatever") || strings.Contains(name, "no such") {
				t.Errorf("a client's word is a label: %s", name)
			}
		}
		if strings.HasPrefix(name, requestSeconds.Name) {
			timed += v
		}
	}
	if sum != 4801 || timed != 4801 {
		t.Errorf("%v requests counted and %v timed of 4801", sum, timed)
	}
	want(t, got, `kms11_requests_in_flight{api="kms"}`, 1)
	want(t, got, `kms11_requests_total{api="sts",operation="Encrypt",outcome="ok"}`, 0)
	want(t, got, `kms11_requests_total{api="kms",operation="unknown",outcome="UnknownOperationException"}`, 1)
	if got[`kms11_requests_total{api="kms",operation="Encrypt",outcome="NotFoundException"}`] == 0 {
		t.Error("an error is not counted by its code")
	}
}

// TestState reads each metric of state.
func TestState(t *testing.T) {
	got := scrape(t, newMetrics(eventful(), errors.New("ill")))
	a, b := `{region="",token="pkcs11:token=a",use="domain"}`, `{region="eu-west-1",token="pkcs11:token=b",use="region"}`
	for name, value := range map[string]float64{
		"kms11_healthy":      0,
		"kms11_token_up" + a: 1, "kms11_token_up" + b: 0,
		"kms11_token_changed_timestamp_seconds" + a: 1_800_000_000.5,
		"kms11_token_sessions" + a:                  5, "kms11_token_handles" + a: 7, "kms11_token_hanging_calls" + a: 1,
		`kms11_library_leaked_bytes{library="/lib/p11.so"}`: 480, `kms11_library_restarts_total{library="/lib/p11.so"}`: 2,
		"kms11_audit_records_total": 120, "kms11_audit_stopped": 1, "kms11_audit_refused_events": 4,
		"kms11_audit_undigested_records": 20, "kms11_audit_digest_failing": 0,
		`kms11_audit_sink_queue_bytes{sink="http"}`: 12, `kms11_audit_sink_dropped_records_total{sink="http"}`: 3, `kms11_audit_sink_failing{sink="http"}`: 1,
		"kms11_scheduler_overdue": 3, "kms11_scheduler_overdue_seconds": 90,
		`kms11_custom_key_stores{state="CONNECTED",type="AWS_CLOUDHSM"}`: 2,
	} {
		want(t, got, name, value)
	}
	if _, there := got["kms11_token_changed_timestamp_seconds"+b]; there {
		t.Error("a token that was never there has a time")
	}
	want(t, scrape(t, newMetrics(&fake{}, nil)), "kms11_healthy", 1)
	unread := scrape(t, newMetrics(&fake{stored: errors.New("tampered")}, nil))
	if _, there := unread["kms11_scheduler_overdue"]; there {
		t.Error("what could not be read is told")
	}
}

// TestStoreHangs: all else is told while the keystore does not answer, nobody asks it a second time, and
// its values are told when it is back.
func TestStoreHangs(t *testing.T) {
	service := eventful()
	service.hang = make(chan struct{})
	s := newState(Config{Service: service, Healthy: func(context.Context) error { return nil }})
	for range 3 {
		if got := s.stored.within(time.Millisecond); got != nil {
			t.Fatalf("a store that hangs says %v", got)
		}
	}
	close(service.hang)
	if got := s.stored.within(time.Minute); len(got) != 3 {
		t.Errorf("%d values of a store that is back", len(got))
	}
	if service.asked != 1 {
		t.Errorf("the store was asked %d times", service.asked)
	}
}

// TestTable holds page, table and answer together: each metric is in the page as it is in the code, and
// what is told of a service of which there is everything to tell is the table, no more and no less.
func TestTable(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics(eventful(), nil)
	m.API("kms", []string{"Encrypt"}).End("Encrypt", "", 0)
	told := map[string]bool{}
	for name := range scrape(t, m) {
		name, _, _ = strings.Cut(name, "{")
		told[name] = true
	}
	known := map[string]bool{}
	for _, row := range Table() {
		known[row.Name] = true
		labels := "`" + strings.Join(row.Labels, "`, `") + "`"
		if len(row.Labels) == 0 {
			labels = ""
		}
		if line := fmt.Sprintf("| `%s` | %s | %s | %s |\n", row.Name, row.Type, labels, row.Help); !strings.Contains(string(page), line) {
			t.Errorf("docs/metrics.md lacks the row\n%s", line)
		}
		if !told[row.Name] {
			t.Errorf("%s is not told", row.Name)
		}
	}
	for name := range told {
		if strings.HasPrefix(name, "kms11_") && !known[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
	row := regexp.MustCompile("(?m)^\\| `kms11_[a-z_]+` \\| (counter|gauge|histogram) \\|")
	if rows := len(row.FindAll(page, -1)); rows != len(Table()) {
		t.Errorf("docs/metrics.md has %d rows, the table %d", rows, len(Table()))
	}
}

// TestOnlyMetrics: the endpoint has nothing else.
func TestOnlyMetrics(t *testing.T) {
	for target, code := range map[string]int{"GET /": 404, "GET /healthz": 404, "POST /metrics": 405, "GET /debug/pprof/": 404} {
		method, path, _ := strings.Cut(target, " ")
		w := httptest.NewRecorder()
		newMetrics(&fake{}, nil).Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != code {
			t.Errorf("%s is %d, want %d", target, w.Code, code)
		}
	}
}

// TestNoAllocations: counting a request allocates nothing, whatever its outcome.
func TestNoAllocations(t *testing.T) {
	api := newMetrics(&fake{}, nil).API("kms", ops.OperationNames())
	for _, code := range []string{"", "NotFoundException"} {
		if n := testing.AllocsPerRun(1000, func() {
			api.Begin()
			api.End("Encrypt", code, 42*time.Microsecond)
		}); n != 0 {
			t.Errorf("outcome %q: %v allocations", code, n)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	api := newMetrics(&fake{}, nil).API("kms", ops.OperationNames())
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		api.Begin()
		api.End("Encrypt", "", time.Since(began))
	}
}

func BenchmarkRequestParallel(b *testing.B) {
	api := newMetrics(&fake{}, nil).API("kms", ops.OperationNames())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			began := time.Now()
			api.Begin()
			api.End("Encrypt", "", time.Since(began))
		}
	})
}
