package api

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// limited serves on loopback with at most so many connections at a time, and gives the address.
func limited(t *testing.T, most int, handler http.HandlerFunc) (address string, log *strings.Builder) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log = new(strings.Builder)
	server := NewServer(handler, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(LimitConnections(listener, server, most, slog.New(slog.NewTextHandler(log, nil))))
	}()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return listener.Addr().String(), log
}

// dialled is a connection on which one request went out.
type dialled struct {
	net.Conn
	answers *bufio.Reader
}

func dial(t *testing.T, address, path string) dialled {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: kms11.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return dialled{conn, bufio.NewReader(conn)}
}

func (d dialled) wantAnswer(t *testing.T) {
	t.Helper()
	answer, err := http.ReadResponse(d.answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("got %s", answer.Status)
	}
}

// TestConnectionsAreLimited: there are never more connections than allowed. Idle ones make room for new
// ones, and those at work do not.
func TestConnectionsAreLimited(t *testing.T) {
	const most = 4
	var running, highest atomic.Int32
	arrived, release := make(chan struct{}, 2*most), make(chan struct{})
	address, log := limited(t, most, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			return
		}
		n := running.Add(1)
		defer running.Add(-1)
		for high := highest.Load(); n > high && !highest.CompareAndSwap(high, n); high = highest.Load() {
		}
		arrived <- struct{}{}
		<-release
	})
	// Ten times as many as there may be, each of which stays open.
	for range 10 * most {
		dial(t, address, "/quick").wantAnswer(t)
	}
	var working []dialled
	for range most {
		working = append(working, dial(t, address, "/slow"))
	}
	for range most {
		<-arrived
	}
	waiting := dial(t, address, "/slow")
	select {
	case <-arrived:
		t.Error("one more than allowed is served")
	case <-time.After(3 * shedInterval): // it is refused however long this takes
	}
	close(release)
	for _, d := range append(working, waiting) {
		d.wantAnswer(t)
	}
	if n := highest.Load(); n > most {
		t.Errorf("%d at a time", n)
	}
	if n := strings.Count(log.String(), "limit=4"); n != 1 {
		t.Errorf("logged %d times: %s", n, log)
	}
}

// TestHalfSentRequestsMakeRoom: connections whose first request does not come end for those that send one.
func TestHalfSentRequestsMakeRoom(t *testing.T) {
	const most = 4
	address, _ := limited(t, most, func(http.ResponseWriter, *http.Request) {})
	for range most {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: kms"); err != nil {
			t.Fatal(err)
		}
	}
	dial(t, address, "/").wantAnswer(t)
}

// TestClosingWhileFull: a listener that is closed does not wait for a place.
func TestClosingWhileFull(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shed := make(chan struct{}, 1)
	listener := LimitConnections(inner, NewServer(nil, slog.New(slog.DiscardHandler)), 1, slog.New(slog.DiscardHandler)).(*limitedListener)
	listener.shed = func() {
		select {
		case shed <- struct{}{}:
		default:
		}
	}
	for range 2 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	first, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := listener.Accept()
		failed <- err
	}()
	<-shed // it waits for a place
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != net.ErrClosed {
		t.Errorf("got %v", err)
	}
	for range 2 { // the second time changes nothing
		_ = first.Close()
	}
	if len(listener.places) != 0 {
		t.Error("a place was not given back")
	}
}
