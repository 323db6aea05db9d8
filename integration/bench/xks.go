package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kms11/kms11/sigv4"
)

// XKSReport is what -xks measures.
type XKSReport struct {
	Bare    []*Result   `json:"bare,omitempty"`
	Results []XKSResult `json:"results,omitempty"`
	Sustain []XKSLoad   `json:"sustain,omitempty"`
}

// XKSResult is one operation with so many key objects in the token.
type XKSResult struct {
	Result
	TLS  bool    `json:"tls"`
	Keys int     `json:"keys"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
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

// xksSubjects are the operations, in the order of the table; %s is the key.
var xksSubjects = []struct{ name, title, path string }{
	{"xks-encrypt", "XKS encrypt 32 B", "/keys/%s/encrypt"},
	{"xks-encrypt-checked", "XKS encrypt 32 B, integrity value", "/keys/%s/encrypt"},
	{"xks-decrypt", "XKS decrypt", "/keys/%s/decrypt"},
	{"xks-metadata", "XKS metadata", "/keys/%s/metadata"},
	{"xks-health", "XKS health", "/health"},
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

// An xksServer is a server with a proxy.
type xksServer struct {
	*server
	address string // of the proxy
	tls     *tls.Config
	admin   *http.Client
	keys    []string
}

// newXKSServer starts a server with a proxy on loopback.
func newXKSServer(ctx context.Context, opts options, dir string, secured bool) (*xksServer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // only to find a free port
	if err != nil {
		return nil, err
	}
	x := &xksServer{address: listener.Addr().String()}
	if err := listener.Close(); err != nil {
		return nil, err
	}
	config := "xks:\n  listen: " + x.address + "\n"
	if secured {
		cert, key, pool, err := benchCertificate(dir)
		if err != nil {
			return nil, err
		}
		x.tls = &tls.Config{RootCAs: pool, ServerName: "localhost"}
		config += "  tls: {certificate: " + cert + ", key: " + key + "}\n"
	}
	file := filepath.Join(dir, "kms11.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	opts.serveArgs = append([]string{"--config", file}, opts.serveArgs...)
	if x.server, err = newServer(ctx, opts, dir); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "data", "admin.sock")
	x.admin = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	if err := x.setUp(); err != nil {
		return nil, errors.Join(err, x.stop())
	}
	return x, nil
}

// benchCertificate makes a certificate that signs itself.
func benchCertificate(dir string) (cert, keyFile string, pool *x509.CertPool, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", "", nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", nil, err
	}
	cert, keyFile, pool = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(text)
	return cert, keyFile, pool, errors.Join(os.WriteFile(cert, text, 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// command sends a command to the admin socket.
func (x *xksServer) command(path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	response, err := x.admin.Post("http://kms11/xks/"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("xks %s: %s", path, answer)
	}
	return json.Unmarshal(answer, out)
}

// setUp makes a tenant and a credential.
func (x *xksServer) setUp() error {
	var none struct{}
	if err := x.command("tenant/create", map[string]any{"prefix": xksBenchPrefix}, &none); err != nil {
		return err
	}
	var file struct {
		XksProxyAuthenticationCredential struct{ AccessKeyId, RawSecretAccessKey string }
	}
	if err := x.command("credential/create", map[string]any{"prefix": xksBenchPrefix}, &file); err != nil {
		return err
	}
	c := file.XksProxyAuthenticationCredential
	x.id = identity{c.AccessKeyId, c.RawSecretAccessKey, "us-east-2"}
	return nil
}

// fill makes key objects in the token until there are n.
func (x *xksServer) fill(n int) error {
	for len(x.keys) < n {
		id := fmt.Sprintf("bench-%d", len(x.keys))
		var fact struct{ ID string }
		if err := x.command("key/create", map[string]any{"prefix": xksBenchPrefix, "id": id, "object": "pkcs11:token=kms11;object=" + id, "generate": true}, &fact); err != nil {
			return err
		}
		x.keys = append(x.keys, id)
	}
	return nil
}

// prepare makes the bytes of a signed request.
func (x *xksServer) prepare(path, body string) ([]byte, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+x.address+xksBenchPrefix+"/kms/xks/v1"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if err := sigv4.Sign(r, []byte(body), x.id.accessKeyID, sigv4.Credential{Secret: x.id.secret}, x.id.region, "kms-xks-proxy", time.Now()); err != nil {
		return nil, err
	}
	var wire bytes.Buffer
	err = r.Write(&wire)
	return wire.Bytes(), err
}

// connect opens connections to the proxy.
func (x *xksServer) connect(ctx context.Context, n int, warm [][]byte) (connections, error) {
	var all connections
	for range n {
		c, err := dial(ctx, x.address)
		if err == nil && x.tls != nil {
			secured := tls.Client(c.conn, x.tls)
			if err = secured.HandshakeContext(ctx); err == nil {
				c.conn, c.reader = secured, bufio.NewReader(secured)
			}
		}
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, c)
	}
	for i, request := range warm { // each key is found before the window
		if _, err := all[i%n].do(request); err != nil {
			all.close()
			return nil, err
		}
	}
	return all, nil
}

// requests are signed requests of an operation, one for each key.
func (x *xksServer) requests(ctx context.Context, name, path string) ([][]byte, error) {
	var all [][]byte
	for _, key := range x.keys {
		at, body := path, `{`+xksMeta+`}`
		if strings.Contains(path, "%s") {
			at = fmt.Sprintf(path, key)
		}
		switch name {
		case "xks-encrypt":
			body = xksEncryptBody("")
		case "xks-encrypt-checked":
			body = xksEncryptBody(`,"ciphertextDataIntegrityValueAlgorithm":"SHA_256"`)
		case "xks-decrypt":
			sealed, err := x.sealed(ctx, key)
			if err != nil {
				return nil, err
			}
			body = `{` + xksMeta + `,` + xksAAD + `,"encryptionAlgorithm":"AES_GCM",` + sealed + `}`
		}
		request, err := x.prepare(at, body)
		if err != nil {
			return nil, err
		}
		all = append(all, request)
	}
	return all, nil
}

// sealed encrypts with a key and gives the members of a Decrypt.
func (x *xksServer) sealed(ctx context.Context, key string) (string, error) {
	request, err := x.prepare("/keys/"+key+"/encrypt", xksEncryptBody(""))
	if err != nil {
		return "", err
	}
	all, err := x.connect(ctx, 1, nil)
	if err != nil {
		return "", err
	}
	defer all.close()
	answer, err := all[0].do(request)
	if err != nil {
		return "", err
	}
	return strings.Trim(string(answer), "{}"), nil
}

// measureXKS measures the proxy without and with TLS, beside its bare path.
func measureXKS(ctx context.Context, opts options, dir string) (report *XKSReport, err error) {
	report = &XKSReport{}
	bare := &subject{name: "bare-xks", title: "bare path, XKS encrypt", floor: true, operation: "xks-encrypt"}
	if opts.sustain == 0 {
		if err := bare.startFloor(ctx, filepath.Join(dir, "bare")); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, bare.proc.stop()) }()
	}
	var servers []*xksServer
	defer func() {
		for _, x := range servers {
			err = errors.Join(err, x.stop())
		}
	}()
	for i, secured := range []bool{false, true} {
		x, err := newXKSServer(ctx, opts, filepath.Join(dir, fmt.Sprint("xks-", i)), secured)
		if err != nil {
			return nil, err
		}
		servers = append(servers, x)
	}
	if opts.sustain > 0 {
		for _, x := range servers {
			load, err := x.sustain(ctx, opts)
			if err != nil {
				return nil, err
			}
			report.Sustain = append(report.Sustain, load)
		}
		return report, nil
	}
	for i, keys := range opts.xksKeys {
		for _, x := range servers {
			if err := x.fill(keys); err != nil {
				return nil, err
			}
		}
		if err := report.rounds(ctx, opts, keys, servers, bare, i == 0); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// rounds measures every operation with the keys that are there, in interleaved rounds.
func (report *XKSReport) rounds(ctx context.Context, opts options, keys int, servers []*xksServer, bare *subject, withBare bool) error {
	first := len(report.Results)
	for round := range opts.rounds + 1 {
		next := first
		for i, concurrency := range opts.concurrency {
			if withBare {
				taken, err := bare.window(ctx, concurrency, opts.requests)
				if err != nil {
					return err
				}
				if round == 0 {
					report.Bare = append(report.Bare, &Result{Name: bare.name, Title: bare.title, Floor: true, Concurrency: concurrency})
				} else {
					report.Bare[i].Samples = append(report.Bare[i].Samples, taken)
				}
			}
			for _, s := range xksSubjects {
				for _, x := range servers {
					taken, times, err := x.window(ctx, s.name, s.path, concurrency, opts.requests)
					if err != nil {
						return fmt.Errorf("%s: %w", s.name, err)
					}
					if round == 0 { // warm-up
						report.Results = append(report.Results, XKSResult{Result: Result{Name: s.name, Title: s.title, Concurrency: concurrency}, TLS: x.tls != nil, Keys: keys})
						continue
					}
					r := &report.Results[next]
					next++
					r.Samples = append(r.Samples, taken)
					r.P50, r.P99 = max(r.P50, times.at(0.5)), max(r.P99, times.at(0.99)) // of the worst round
				}
			}
		}
	}
	for i := first; i < len(report.Results); i++ {
		report.Results[i].sample = median(report.Results[i].Samples)
	}
	for _, r := range report.Bare {
		r.sample = median(r.Samples)
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

// window measures n requests over so many connections, with random keys.
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
	bare := map[int]float64{}
	for _, r := range report.Bare {
		bare[r.Concurrency] = r.CPUMicros
		fmt.Fprintf(w, "floor: %s, concurrency %d: CPU %.1f µs, %.0f requests/s\n", r.Title, r.Concurrency, r.CPUMicros, r.PerSecond)
	}
	fmt.Fprintf(w, "\n%-36s  %5s  %4s  %11s  %7s  %7s  %10s  %7s  %7s\n", "", "keys", "TLS", "concurrency", "CPU µs", "/ bare", "requests/s", "p50 ms", "p99 ms")
	for _, r := range report.Results {
		over := 0.0
		if floor := bare[r.Concurrency]; floor > 0 {
			over = r.CPUMicros / floor
		}
		fmt.Fprintf(w, "%-36s  %5d  %4t  %11d  %7.1f  %7.2f  %10.0f  %7.2f  %7.2f\n", r.Title, r.Keys, r.TLS, r.Concurrency, r.CPUMicros, over, r.PerSecond, r.P50, r.P99)
	}
}
