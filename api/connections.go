package api

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// shedInterval is how often connections that nobody uses are closed while others wait.
	shedInterval = 100 * time.Millisecond
	// fullInterval is how often the log tells that there are too many connections.
	fullInterval = time.Minute
)

// LimitConnections bounds how many connections a server has at a time that serves a listener. While more want
// in, the server's idle connections are closed, and those whose first request has not come within five
// seconds: their clients connect anew when they need to. Nobody gets in while all others are at work.
// It comes before TLS, whose handshakes take memory too.
func LimitConnections(listener net.Listener, server *http.Server, most int, log *slog.Logger) net.Listener {
	return &limitedListener{
		Listener: listener,
		places:   make(chan struct{}, most),
		closed:   make(chan struct{}),
		log:      log,
		shed: func() {
			server.SetKeepAlivesEnabled(false) // closes what is idle
			server.SetKeepAlivesEnabled(true)
		},
	}
}

type limitedListener struct {
	net.Listener
	places chan struct{}
	shed   func()
	log    *slog.Logger
	told   time.Time // owned by Accept

	closing sync.Once
	closed  chan struct{}
}

// Accept is for one goroutine, as http.Server calls it.
func (l *limitedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.enter() {
		_ = conn.Close() // nothing was read or written
		return nil, net.ErrClosed
	}
	return &limitedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// enter waits for a place; false: the listener was closed meanwhile.
func (l *limitedListener) enter() bool {
	select {
	case l.places <- struct{}{}:
		return true
	default:
	}
	if now := time.Now(); now.Sub(l.told) > fullInterval {
		l.told = now
		l.log.Warn("no more connections are taken at a time", "address", l.Addr().String(), "limit", cap(l.places))
	}
	again := time.NewTicker(shedInterval)
	defer again.Stop()
	for {
		l.shed()
		select {
		case l.places <- struct{}{}:
			return true
		case <-l.closed:
			return false
		case <-again.C:
		}
	}
}

func (l *limitedListener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// NetConn gives the connection itself.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }
