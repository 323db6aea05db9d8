package audit

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

// collector is a server that takes records, unless it is told to fail.
type collector struct {
	failing atomic.Bool
	mu      sync.Mutex
	records []string
	seen    chan struct{}
}

func newCollector(t *testing.T) (*collector, *httptest.Server) {
	t.Helper()
	c := &collector{seen: make(chan struct{}, 1000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-ndjson" || r.Header.Get("Authorization") != "Bearer sesame" {
			t.Errorf("a request: %s %v, %v", r.Method, r.Header, err)
		}
		defer func() { c.seen <- struct{}{} }()
		if c.failing.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for line := range strings.Lines(string(body)) {
			c.records = append(c.records, line)
		}
	}))
	t.Cleanup(server.Close)
	return c, server
}

// inOrder wants all records of the trail, in order; some may have come twice.
func (c *collector) inOrder(t *testing.T, last uint64) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	next := uint64(0)
	for _, record := range c.records {
		p, err := placeOf([]byte(strings.TrimSuffix(record, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		if next == 0 {
			next = p.sequence
		}
		if p.sequence > next {
			t.Errorf("record %d comes where %d should", p.sequence, next)
		}
		if p.sequence == next {
			next++
		}
	}
	if next != last+1 {
		t.Errorf("the last record sent is %d, want %d", next-1, last)
	}
}

func TestHTTPSink(t *testing.T) {
	c, server := newCollector(t)
	tt := newTestTrail(t)
	sink := &HTTPSink{URL: server.URL + "/in?key=hidden", Token: "sesame", Client: server.Client()}
	trail := tt.open(func(c *Config) { c.Sinks = []Sink{sink} })
	tt.append(trail, 20)
	<-c.seen
	c.failing.Store(true)
	tt.append(trail, 20) // nobody waits for the sink
	for trail.Status().Sinks[0].Problem == "" {
		<-c.seen
	}
	if err := trail.Ready(); err != nil {
		t.Errorf("the trail stopped: %v", err)
	}
	if s := trail.Status().Sinks[0]; !strings.Contains(s.Problem, "503") || s.Queued == 0 || strings.Contains(s.Name+s.Problem, "hidden") {
		t.Errorf("%+v", s)
	}
	if log := tt.log.String(); !strings.Contains(log, "takes no records") || strings.Contains(log, "hidden") || strings.Contains(log, "sesame") {
		t.Errorf("the log says %s", log)
	}
	c.failing.Store(false)
	for trail.Status().Sinks[0].Sent < 41 { // hangs if it does not try again
		time.Sleep(time.Millisecond)
	}
	tt.append(trail, 5)
	tt.close(trail)
	c.inOrder(t, 47)
	tt.whole(47)
}

// TestHTTPSinkNobodyThere: what the server's address does not answer is no word of the URL's query.
func TestHTTPSinkNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	sink := &HTTPSink{URL: "http://user:password@" + address + "/in?key=hidden"}
	err = sink.Send(t.Context(), []byte("{}\n"))
	if err == nil || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "password") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

// stuck takes nothing until it is let go.
type stuck struct {
	free chan struct{}
	got  bytes.Buffer
}

func (s *stuck) Name() string { return "stuck" }
func (s *stuck) Close() error { return nil }
func (s *stuck) Send(ctx context.Context, records []byte) error {
	select {
	case <-s.free:
		s.got.Write(records)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestSlowSink: a queue that is full drops records, says so, and loses none of the trail.
func TestSlowSink(t *testing.T) {
	tt := newTestTrail(t)
	sink := &stuck{free: make(chan struct{})}
	trail := tt.open(inMode(Async), func(c *Config) { c.Sinks = []Sink{sink} })
	large := Event{ID: kms.NewRequestID(), Name: "PutKeyPolicy", Parameters: details{{"policy", strings.Repeat("x", 90<<10)}}}
	event := large.Append(nil)
	n := sinkQueue/len(event) + 10
	for range n {
		if err := trail.Append(event); err != nil {
			t.Fatal(err)
		}
	}
	s := trail.Status().Sinks[0]
	if s.Dropped < 5 || s.LastDrop != uint64(n)+1 || s.Queued > sinkQueue {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(tt.log.String(), "too slow") {
		t.Errorf("the log says %s", tt.log)
	}
	close(sink.free)
	tt.close(trail)
	tt.whole(uint64(n) + 2)
	if got := uint64(bytes.Count(sink.got.Bytes(), []byte("\n"))); got < uint64(n)-s.Dropped || got > uint64(n)-s.Dropped+1 { // the last one tells of the end
		t.Errorf("%d records were sent of %d, %d dropped", got, n, s.Dropped)
	}
}

func TestStreamSink(t *testing.T) {
	tt := newTestTrail(t)
	var out bytes.Buffer
	trail := tt.open(func(c *Config) { c.Sinks = []Sink{Stream("stdout", &out)} })
	tt.append(trail, 3)
	tt.close(trail)
	var want []string
	for line, err := range Lines(tt.dir, 2) { // the first record is from before there are sinks
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(line)+"\n")
	}
	if out.String() != strings.Join(want, "") {
		t.Errorf("got %s", out.String())
	}
}

// syslogMessage is RFC 5424 as far as it is used.
var syslogMessage = regexp.MustCompile(`^<86>1 [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z [!-~]+ kms11 [0-9]+ audit - (\{.*\})$`)

func TestSyslogSink(t *testing.T) {
	for _, network := range []string{"udp", "unixgram", "tcp"} {
		t.Run(network, func(t *testing.T) {
			address, next := syslogServer(t, network)
			tt := newTestTrail(t)
			trail := tt.open(func(c *Config) { c.Sinks = []Sink{&SyslogSink{Network: network, Address: address}} })
			tt.append(trail, 3)
			for i := range 3 {
				message, err := next()
				if err != nil {
					t.Fatal(err)
				}
				parts := syslogMessage.FindStringSubmatch(message)
				if parts == nil {
					t.Fatalf("got %q", message)
				}
				if p, err := placeOf([]byte(parts[1])); err != nil || p.sequence != uint64(i)+2 {
					t.Errorf("record %d, %v", p.sequence, err)
				}
			}
			tt.close(trail)
		})
	}
}

// syslogServer gives an address and how to read the next message there.
func syslogServer(t *testing.T, network string) (string, func() (string, error)) {
	t.Helper()
	if network == "tcp" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		var reader *bufio.Reader
		return listener.Addr().String(), func() (string, error) {
			if reader == nil {
				conn, err := listener.Accept()
				if err != nil {
					return "", err
				}
				t.Cleanup(func() { conn.Close() })
				reader = bufio.NewReader(conn)
			}
			var size int
			if _, err := fmt.Fscanf(reader, "%d", &size); err != nil {
				return "", err
			}
			message := make([]byte, size+1)
			_, err := io.ReadFull(reader, message)
			return string(message[1:]), err
		}
	}
	address := "127.0.0.1:0"
	if network == "unixgram" {
		address = filepath.Join(t.TempDir(), "log")
	}
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String(), func() (string, error) {
		message := make([]byte, 64<<10)
		n, _, err := conn.ReadFrom(message)
		return string(message[:n]), err
	}
}

// TestSyslogSinkAgain: a connection that was lost is made anew.
func TestSyslogSinkAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	sink := &SyslogSink{Network: "unixgram", Address: path}
	if err := sink.Send(t.Context(), []byte("{}\n")); err == nil {
		t.Error("nobody is there, and it was sent")
	}
	for range 2 {
		conn, err := net.ListenPacket("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.Send(t.Context(), []byte("{}\n")); err != nil { // the first write after a loss fails
			if err = sink.Send(t.Context(), []byte("{}\n")); err != nil {
				t.Error(err)
			}
		}
		if n, _, err := conn.ReadFrom(make([]byte, 4096)); err != nil || n == 0 {
			t.Errorf("%d bytes, %v", n, err)
		}
		conn.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
}
