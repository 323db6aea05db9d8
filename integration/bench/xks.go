package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// XKSReport is what -xks measures.
type XKSReport struct {
	Results []XKSResult `json:"results,omitempty"`
	Sustain []XKSLoad   `json:"sustain,omitempty"`
}

// XKSResult is one operation with so many key objects in the token. Its bare path, measured right before it in
// each round, has as many in its own token, of which a request takes one at random as it does here.
type XKSResult struct {
	Result
	Floor Result  `json:"bare"`
	Ratio float64 `json:"ratio"`
	TLS   bool    `json:"tls"`
	Keys  int     `json:"keys"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
}

// XKSLoad is a load that does not wait for answers.
type XKSLoad struct {
	TLS       bool    `json:"tls"`
	Rate      int     `json:"rate"`
	Requests  int     `json:"requests"`
	Errors    int     `json:"errors"`
	FirstErr  string  `json:"first_error,omitempty"`
	CPUMicros float64 `json:"cpu_us"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	Max       float64 `json:"max_ms"`
	Seconds   float64 `json:"seconds"`
}

// xksSubjects are the operations, in the order of the table; %s is the key. Those that call the token are
// held against a bare path with as many calls, the others against that of encrypt.
var xksSubjects = []struct{ name, title, path, bare string }{
	{"xks-encrypt", "XKS encrypt 32 B", "/keys/%s/encrypt", "bare-xks"},
	{"xks-encrypt-checked", "XKS encrypt 32 B, integrity value", "/keys/%s/encrypt", "bare-xks-checked"},
	{"xks-decrypt", "XKS decrypt", "/keys/%s/decrypt", "bare-xks-decrypt"},
	{"xks-metadata", "XKS metadata", "/keys/%s/metadata", "bare-xks"},
	{"xks-health", "XKS health", "/health", "bare-xks"},
}

// xksFloors are the bare paths with so many keys.
func xksFloors(keys int) []*subject {
	floors := []*subject{
		{name: "bare-xks", title: "bare path, XKS encrypt", floor: true, operation: "xks-encrypt"},
		{name: "bare-xks-checked", title: "bare path, XKS encrypt, integrity value", floor: true, operation: "xks-encrypt"},
		{name: "bare-xks-decrypt", title: "bare path, XKS decrypt", floor: true, operation: "xks-decrypt"},
	}
	for _, f := range floors {
		f.keys = keys
	}
	return floors
}

const xksBenchPrefix = "/bench"

// xksMeta is requestMetadata as AWS KMS sends it.
const xksMeta = `"requestMetadata":{"awsPrincipalArn":"arn:aws:iam::123456789012:user/Alice","kmsKeyArn":"arn:aws:kms:us-east-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",` +
	`"kmsOperation":"GenerateDataKey","kmsRequestId":"4112f4d6-db54-4af4-ae30-c55a22a8dfae"}`

// xksAAD is an AAD of 32 bytes.
const xksAAD = `"additionalAuthenticatedData":"` + plaintext64 + `"`

func xksEncryptBody(more string) string {
	return `{` + xksMeta + `,` + xksAAD + `,"plaintext":"` + plaintext64 + `","encryptionAlgorithm":"AES_GCM"` + more + `}`
}

// xksDecryptBody is a Decrypt of what an Encrypt gave.
func xksDecryptBody(sealed string) string {
	return `{` + xksMeta + `,` + xksAAD + `,"encryptionAlgorithm":"AES_GCM",` + sealed + `}`
}

// xksSealed is as long as what an Encrypt of 32 bytes gives.
const xksSealed = `"ciphertext":"` + plaintext64 + `","initializationVector":"AAAAAAAAAAAAAAAA","authenticationTag":"AAAAAAAAAAAAAAAAAAAAAA=="`

// measureXKS measures the proxy without and with TLS, beside its bare paths. Making a thousand keys takes so
// long that all rounds share the processes.
func measureXKS(ctx context.Context, opts options, dir string) (report *XKSReport, err error) {
	report = &XKSReport{}
	if opts.sustain > 0 {
		return report, report.sustain(ctx, opts, dir)
	}
	servers, stop, err := startXKS(ctx, opts, dir)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return nil, err
	}
	for _, keys := range opts.xksKeys {
		if err := report.withKeys(ctx, opts, filepath.Join(dir, fmt.Sprint("bare-", keys)), keys, servers); err != nil {
			return nil, err
		}
	}
	for i := range report.Results {
		r := &report.Results[i]
		r.sample, r.Floor.sample, r.Ratio = median(r.Samples), median(r.Floor.Samples), ratio(&r.Result, &r.Floor)
	}
	return report, nil
}

// withKeys measures with so many keys, of the servers and of bare paths that it starts.
func (report *XKSReport) withKeys(ctx context.Context, opts options, dir string, keys int, servers []*xksServer) (err error) {
	for _, x := range servers {
		if err := x.fill(keys); err != nil {
			return err
		}
	}
	floors := xksFloors(keys)
	stop, err := startAll(ctx, opts, dir, floors)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	first := len(report.Results)
	for range opts.rounds {
		if err := report.round(ctx, opts, keys, floors, servers, first); err != nil {
			return err
		}
	}
	return nil
}

// startXKS starts a server with a proxy without TLS and one with it.
func startXKS(ctx context.Context, opts options, dir string) (servers []*xksServer, stop func() error, err error) {
	stop = func() error {
		var faults []error
		for _, x := range servers {
			faults = append(faults, x.stop())
		}
		return errors.Join(faults...)
	}
	for i, secured := range []bool{false, true} {
		x, err := newXKSServer(ctx, opts, filepath.Join(dir, fmt.Sprint("xks-", i)), secured)
		if err != nil {
			return nil, stop, err
		}
		servers = append(servers, x)
	}
	return servers, stop, nil
}

func (report *XKSReport) sustain(ctx context.Context, opts options, dir string) (err error) {
	servers, stop, err := startXKS(ctx, opts, dir)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	for _, x := range servers {
		load, err := x.sustain(ctx, opts)
		if err != nil {
			return err
		}
		report.Sustain = append(report.Sustain, load)
	}
	return nil
}

// round adds one sample, with so many keys, to the results from first on; the first round makes them.
func (report *XKSReport) round(ctx context.Context, opts options, keys int, floors []*subject, servers []*xksServer, first int) error {
	next := first
	for _, concurrency := range opts.concurrency {
		for _, s := range xksSubjects {
			floor := floors[slices.IndexFunc(floors, func(f *subject) bool { return f.name == s.bare })]
			bare, err := warmed(func() (sample, error) { return floor.window(ctx, concurrency, opts.requests) })
			if err != nil {
				return fmt.Errorf("%s: %w", floor.name, err)
			}
			for _, x := range servers {
				var times *latencies
				taken, err := warmed(func() (taken sample, err error) {
					taken, times, err = x.window(ctx, s.name, s.path, concurrency, opts.requests)
					return taken, err
				})
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				if next == len(report.Results) {
					report.Results = append(report.Results, XKSResult{
						Result: Result{Name: s.name, Title: s.title, Concurrency: concurrency},
						Floor:  Result{Name: floor.name, Title: floor.title, Floor: true, Concurrency: concurrency},
						TLS:    x.tls != nil, Keys: keys,
					})
				}
				r := &report.Results[next]
				next++
				r.Samples, r.Floor.Samples = append(r.Samples, taken), append(r.Floor.Samples, bare)
				r.P50, r.P99 = max(r.P50, times.at(0.5)), max(r.P99, times.at(0.99)) // of the worst round
			}
		}
	}
	return nil
}

// latencies are the times of requests, sorted once asked.
type latencies struct {
	times  []time.Duration
	sorted bool
}

// at is a quantile in milliseconds.
func (l *latencies) at(quantile float64) float64 {
	if !l.sorted {
		slices.Sort(l.times)
		l.sorted = true
	}
	if len(l.times) == 0 {
		return 0
	}
	return float64(l.times[min(len(l.times)-1, int(quantile*float64(len(l.times))))]) / float64(time.Millisecond)
}

// window measures n requests over so many connections, with random keys. Every key was used just before.
func (x *xksServer) window(ctx context.Context, name, path string, concurrency, n int) (sample, *latencies, error) {
	requests, err := x.requests(ctx, name, path)
	if err != nil {
		return sample{}, nil, err
	}
	all, err := x.connect(ctx, concurrency, requests)
	if err != nil {
		return sample{}, nil, err
	}
	defer all.close()
	pick, times := anyOf(requests), make([]time.Duration, n)
	faults := make([]error, len(all))
	taken, err := x.cost(n, func() error {
		var wait sync.WaitGroup
		for w, c := range all {
			wait.Go(func() {
				for i := w; i < n && faults[w] == nil; i += len(all) {
					begun := time.Now()
					_, faults[w] = c.do(pick(i))
					times[i] = time.Since(begun)
				}
			})
		}
		wait.Wait()
		return errors.Join(faults...)
	})
	return taken, &latencies{times: times}, err
}

// sustainConnections is how many connections a sustained load has, as a fleet of AWS KMS keeps them.
const sustainConnections = 32

// sustain sends encrypt and decrypt in turns at a fixed rate, whether or not answers come. A request's
// time counts from when it was due.
func (x *xksServer) sustain(ctx context.Context, opts options) (XKSLoad, error) {
	load := XKSLoad{TLS: x.tls != nil, Rate: opts.rate, Seconds: opts.sustain.Seconds()}
	if err := x.fill(opts.xksKeys[0]); err != nil {
		return load, err
	}
	var requests [][]byte
	for _, s := range []int{0, 2} {
		some, err := x.requests(ctx, xksSubjects[s].name, xksSubjects[s].path)
		if err != nil {
			return load, err
		}
		requests = append(requests, some...)
	}
	all, err := x.connect(ctx, sustainConnections, requests)
	if err != nil {
		return load, err
	}
	defer all.close()
	n := int(opts.sustain.Seconds() * float64(opts.rate))
	times := make([]time.Duration, n)
	var next, failed atomic.Int64
	var firstFault atomic.Pointer[error]
	taken, err := x.cost(n, func() error {
		begun := time.Now()
		var wait sync.WaitGroup
		for _, c := range all {
			wait.Go(func() {
				for {
					i := int(next.Add(1)) - 1
					if i >= n {
						return
					}
					due := begun.Add(time.Duration(i) * time.Second / time.Duration(opts.rate))
					time.Sleep(time.Until(due))
					if _, err := c.do(requests[i%len(requests)]); err != nil {
						failed.Add(1)
						firstFault.CompareAndSwap(nil, &err)
					}
					times[i] = time.Since(due)
				}
			})
		}
		wait.Wait()
		return nil
	})
	if err != nil {
		return load, err
	}
	l := &latencies{times: times}
	load.Requests, load.Errors, load.CPUMicros = n, int(failed.Load()), taken.CPUMicros
	load.P50, load.P99, load.P999, load.Max = l.at(0.5), l.at(0.99), l.at(0.999), l.at(1)
	if fault := firstFault.Load(); fault != nil {
		load.FirstErr = (*fault).Error()
	}
	return load, nil
}

// print writes the tables for a person.
func (report *XKSReport) print(w io.Writer) {
	for _, l := range report.Sustain {
		fmt.Fprintf(w, "sustained %d requests/s for %.0f s, TLS %t: %d requests, %d errors, CPU %.1f µs each; from when each was due: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, longest %.2f ms\n",
			l.Rate, l.Seconds, l.TLS, l.Requests, l.Errors, l.CPUMicros, l.P50, l.P99, l.P999, l.Max)
		if l.FirstErr != "" {
			fmt.Fprintf(w, "  the first error: %s\n", l.FirstErr)
		}
	}
	if len(report.Results) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%-36s  %5s  %4s  %11s  %7s  %7s  %6s  %10s  %7s  %7s\n", "", "keys", "TLS", "concurrency", "bare µs", "CPU µs", "/ bare", "requests/s", "p50 ms", "p99 ms")
	for _, r := range report.Results {
		fmt.Fprintf(w, "%-36s  %5d  %4t  %11d  %7.1f  %7.1f  %6.2f  %10.0f  %7.2f  %7.2f\n",
			r.Title, r.Keys, r.TLS, r.Concurrency, r.Floor.CPUMicros, r.CPUMicros, r.Ratio, r.PerSecond, r.P50, r.P99)
	}
}
