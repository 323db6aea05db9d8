package xks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// newTransport makes the connections of a client. It dials itself, because net/http's errors do
// not say whether it was TCP or TLS that failed, which AWS KMS tells apart. Only HTTP/1.1 is
// spoken, which every proxy has to.
func newTransport(c *ClientConfig) *http.Transport {
	dialer := &net.Dialer{Timeout: c.Timeout}
	if c.Allowed != nil {
		dialer.Control = guard(c.Allowed)
	}
	config := &tls.Config{
		RootCAs:            c.RootCAs,
		Certificates:       c.Certificates,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if errors.Is(err, ErrForbidden) {
			return nil, &dialError{ErrForbidden, err}
		}
		if err != nil {
			return nil, &dialError{ErrUnreachable, err}
		}
		return conn, nil
	}
	timeout := c.Timeout
	return &http.Transport{
		DialContext: dial,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			own := config.Clone()
			if own.ServerName, _, err = net.SplitHostPort(address); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			secured := tls.Client(conn, own)
			if err := secured.HandshakeContext(ctx); err != nil {
				_ = conn.Close() // the error that led here is the one to report
				return nil, &dialError{ErrTLS, err}
			}
			return secured, nil
		},
		MaxIdleConns:           c.IdleConnections,
		MaxIdleConnsPerHost:    c.IdleConnections,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
	}
}

// dialError is a connection that did not come about, and at which step.
type dialError struct {
	kind  error // ErrUnreachable, ErrForbidden or ErrTLS
	cause error
}

func (e *dialError) Error() string   { return fmt.Sprintf("%v: %v", e.kind, e.cause) }
func (e *dialError) Unwrap() []error { return []error{e.kind, e.cause} }

// transportError says which of the five kinds an error of net/http's is; answered tells that the
// answer had begun. A caller's own cancellation stays what it is.
func transportError(ctx context.Context, err error, answered bool) error {
	var dial *dialError
	var timeout net.Error
	var alert *net.OpError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %v", ErrTimeout, err) // a dialError would say more than one kind
	case errors.As(err, &dial):
		return err
	case errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error"):
		// With TLS 1.3 a proxy refuses the client's certificate after the handshake.
		return fmt.Errorf("%w: %w", ErrTLS, err)
	case answered:
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
