package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A subject is one thing that is measured: a floor or an operation of the server.
type subject struct {
	name, title string
	floor       bool
	bare        string // the floor that is the bare path of the operation; "" for the first one
	keys        int    // of a bare path; 0 is 1
	operation   string // what the server is asked for, or a floor gets
	body        string
	proc        *process
	address     string // "" for the token loop, which has no HTTP
	id          identity
}

// subjects are all there are, in the order in which they are measured: each operation right behind its bare path.
func subjects() []*subject {
	return []*subject{
		{name: "http", title: "net/http", floor: true, operation: "Encrypt"},
		{name: "sigv4", title: "net/http + SigV4", floor: true, operation: "Encrypt"},
		{name: "token", title: "token call alone", floor: true},
		{name: "bare", title: "bare path, Encrypt", floor: true, operation: "Encrypt"},
		{name: "encrypt", title: "Encrypt 32 B", operation: "Encrypt"},
		{name: "describekey", title: "DescribeKey", operation: "DescribeKey"},
		{name: "bare-decrypt", title: "bare path, Decrypt", floor: true, operation: "Decrypt"},
		{name: "decrypt", title: "Decrypt", operation: "Decrypt", bare: "bare-decrypt"},
		{name: "bare-datakey", title: "bare path, GenerateDataKey", floor: true, operation: "GenerateDataKey"},
		{name: "generatedatakey", title: "GenerateDataKey", operation: "GenerateDataKey", bare: "bare-datakey"},
		{name: "bare-p256", title: "bare path, Sign P-256", floor: true, operation: "Sign"},
		{name: "sign-p256", title: "Sign P-256", operation: "Sign", bare: "bare-p256"},
		{name: "bare-pss", title: "bare path, Sign RSA-2048 PSS", floor: true, operation: "Sign"},
		{name: "sign-pss", title: "Sign RSA-2048 PSS", operation: "Sign", bare: "bare-pss"},
		{name: "bare-mac", title: "bare path, GenerateMac", floor: true, operation: "GenerateMac"},
		{name: "mac", title: "GenerateMac", operation: "GenerateMac", bare: "bare-mac"},
	}
}

func subjectNames() []string {
	var names []string
	for _, s := range subjects() {
		names = append(names, s.name)
	}
	return names
}

// A sample is one window.
type sample struct {
	CPUMicros float64 `json:"cpu_us"` // of the server's process, per request
	PerSecond float64 `json:"requests_per_s"`
}

// Result is one subject at one concurrency; its figures are the medians of its samples.
type Result struct {
	Name        string `json:"name"`
	Title       string `json:"-"`
	Floor       bool   `json:"floor"`
	Bare        string `json:"-"`
	Concurrency int    `json:"concurrency"`
	sample
	Samples []sample `json:"samples"`
}

// measureAll measures the subjects in interleaved rounds, so that what else the machine does hits all of
// them alike. Each round has processes of its own: where its memory and its threads happen to lie changes
// what a process costs by a tenth and more.
func measureAll(ctx context.Context, opts options, dir string) ([]*Result, error) {
	chosen := slices.DeleteFunc(subjects(), func(s *subject) bool { return opts.only != nil && !slices.Contains(opts.only, s.name) })
	var results []*Result
	for _, s := range chosen {
		for _, concurrency := range s.concurrencies(opts) {
			results = append(results, &Result{Name: s.name, Title: s.title, Floor: s.floor, Bare: s.bare, Concurrency: concurrency})
		}
	}
	for round := range opts.rounds {
		if err := measureRound(ctx, opts, filepath.Join(dir, fmt.Sprint("round-", round)), chosen, results); err != nil {
			return nil, err
		}
	}
	for _, r := range results {
		r.sample = median(r.Samples)
	}
	return results, nil
}

// concurrencies are those that a subject is measured at: the token loop has one session.
func (s *subject) concurrencies(opts options) []int {
	if s.name == "token" {
		return []int{1}
	}
	return opts.concurrency
}

// measureRound starts everything and adds one sample to each result, after as many requests that do not count.
// What is compared is measured one right behind the other: what else the machine does changes within seconds.
func measureRound(ctx context.Context, opts options, dir string, chosen []*subject, results []*Result) (err error) {
	stop, err := startAll(ctx, opts, dir, chosen)
	defer func() { err = errors.Join(err, stop(), os.RemoveAll(dir)) }()
	if err != nil {
		return err
	}
	concurrencies := opts.concurrency
	if !slices.Contains(concurrencies, 1) {
		concurrencies = append([]int{1}, concurrencies...) // of the token loop
	}
	for _, concurrency := range concurrencies {
		for _, s := range chosen {
			at := slices.IndexFunc(results, func(r *Result) bool { return r.Name == s.name && r.Concurrency == concurrency })
			if at < 0 {
				continue
			}
			taken, err := warmed(func() (sample, error) { return s.window(ctx, concurrency, opts.requests) })
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			results[at].Samples = append(results[at].Samples, taken)
		}
	}
	return nil
}

// warmed takes a sample twice, of which the second counts.
func warmed(take func() (sample, error)) (sample, error) {
	if _, err := take(); err != nil {
		return sample{}, err
	}
	return take()
}

// startAll starts what the subjects need. stop ends what was started, also after an error.
func startAll(ctx context.Context, opts options, dir string, chosen []*subject) (stop func() error, err error) {
	var running []*process
	stop = func() error {
		var faults []error
		for _, p := range running {
			faults = append(faults, p.stop())
		}
		return errors.Join(faults...)
	}
	for _, s := range chosen {
		if !s.floor {
			continue
		}
		if err := s.startFloor(ctx, opts.token, filepath.Join(dir, s.name)); err != nil {
			return stop, err
		}
		running = append(running, s.proc)
	}
	if !slices.ContainsFunc(chosen, func(s *subject) bool { return !s.floor }) {
		return stop, nil
	}
	kms, err := newServer(ctx, opts, filepath.Join(dir, "kms11"))
	if err != nil {
		return stop, err
	}
	running = append(running, kms.process)
	return stop, kms.give(ctx, chosen)
}

// startFloor starts this program again as the floor, and waits until it is ready.
func (s *subject) startFloor(ctx context.Context, kind tokenKind, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := startProcess(ctx, s.name, dir, floor{s.name, kind, max(s.keys, 1), dir}.environment(), self)
	if err != nil {
		return err
	}
	line, err := p.line()
	if err != nil {
		return errors.Join(err, p.stop())
	}
	if s.proc = p; s.name != "token" {
		s.address, s.id, s.body = line, floorIdentity(), bodyFor(s.operation, bareKeyARN)
		p.watch()
	}
	return nil
}

// give makes the keys and a ciphertext, and gives the server's subjects their requests.
func (s *server) give(ctx context.Context, chosen []*subject) error {
	for _, subject := range chosen {
		if subject.floor {
			continue
		}
		subject.proc, subject.address, subject.id = s.process, s.address, s.id
		id, err := s.createKey(ctx, keyParameters[subject.name])
		if err != nil {
			return err
		}
		subject.body = strings.Replace(bodyFor(subject.operation, id), signingAlgorithm, cmp.Or(algorithmOf[subject.name], signingAlgorithm), 1)
		if subject.operation != "Decrypt" {
			continue
		}
		answer, err := s.ask(ctx, "Encrypt", bodyFor("Encrypt", id))
		if err != nil {
			return fmt.Errorf("make a ciphertext: %w", err)
		}
		var sealed struct{ CiphertextBlob string }
		if err := json.Unmarshal(answer, &sealed); err != nil {
			return fmt.Errorf("make a ciphertext: %w", err)
		}
		subject.body = decryptBody(sealed.CiphertextBlob)
	}
	return nil
}

// keyParameters are the requests for the keys of the subjects that need no symmetric one.
var keyParameters = map[string]string{
	"sign-p256": `{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}`,
	"sign-pss":  `{"KeySpec":"RSA_2048","KeyUsage":"SIGN_VERIFY"}`,
	"mac":       `{"KeySpec":"HMAC_256","KeyUsage":"GENERATE_VERIFY_MAC"}`,
}

const signingAlgorithm = "ECDSA_SHA_256"

var algorithmOf = map[string]string{"sign-pss": "RSASSA_PSS_SHA_256"}

// bodyFor is a request of an operation.
func bodyFor(operation, keyID string) string {
	return map[string]string{
		"Encrypt":         encryptBody(keyID),
		"Decrypt":         decryptBody(strings.Repeat("A", ciphertextSize)),
		"xks-encrypt":     xksEncryptBody(""),
		"xks-decrypt":     xksDecryptBody(xksSealed),
		"GenerateDataKey": `{"KeyId":"` + keyID + `","KeySpec":"AES_256"}`,
		"DescribeKey":     `{"KeyId":"` + keyID + `"}`,
		"Sign":            `{"KeyId":"` + keyID + `","Message":"` + plaintext64 + `","SigningAlgorithm":"` + signingAlgorithm + `"}`,
		"GenerateMac":     `{"KeyId":"` + keyID + `","Message":"` + plaintext64 + `","MacAlgorithm":"HMAC_SHA_256"}`,
	}[operation]
}

// window measures n requests over so many connections.
func (s *subject) window(ctx context.Context, concurrency, n int) (sample, error) {
	if s.address == "" {
		return s.proc.cost(n, func() error {
			if _, err := io.WriteString(s.proc.stdin, fmt.Sprintln(n)); err != nil {
				return err
			}
			_, err := s.proc.line()
			return err
		})
	}
	// Signed anew for each window, so that no long run leaves the five minutes that AWS allows.
	request, err := s.id.prepare(s.address, s.operation, s.body)
	if err != nil {
		return sample{}, err
	}
	return s.proc.load(ctx, s.address, concurrency, n, [][]byte{request})
}

// load sends n of the requests, at random, and measures what they cost.
func (p *process) load(ctx context.Context, address string, concurrency, n int, requests [][]byte) (sample, error) {
	all, err := connect(ctx, address, concurrency, requests[0])
	if err != nil {
		return sample{}, err
	}
	defer all.close()
	return p.cost(n, func() error { return all.each(n, anyOf(requests), nil) })
}

// cost is the CPU time that the process uses while work makes it do n things.
func (p *process) cost(n int, work func() error) (sample, error) {
	pid := p.cmd.Process.Pid
	before, err := cpuTime(pid)
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	if err := work(); err != nil {
		return sample{}, fmt.Errorf("%w%s", err, p.lastWords())
	}
	wall := time.Since(start)
	after, err := cpuTime(pid)
	if err != nil {
		return sample{}, err
	}
	return sample{
		CPUMicros: float64(after-before) / float64(time.Microsecond) / float64(n),
		PerSecond: float64(n) / wall.Seconds(),
	}, nil
}

// median takes each figure's median by itself.
func median(samples []sample) sample {
	middle := func(figure func(sample) float64) float64 {
		var all []float64
		for _, s := range samples {
			all = append(all, figure(s))
		}
		return middleOf(all)
	}
	return sample{
		CPUMicros: middle(func(s sample) float64 { return s.CPUMicros }),
		PerSecond: middle(func(s sample) float64 { return s.PerSecond }),
	}
}

func middleOf(all []float64) float64 {
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
