package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/kms11/kms11/api"
	"github.com/kms11/kms11/metrics"
	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/xks"
)

// measuring is what is measured; nil: nothing is.
type measuring struct {
	*metrics.Metrics
	kms *api.Handler // whose health is told
}

// newMeasuring makes the metrics, if the configuration asks for them.
func newMeasuring(c Config, service *ops.Service, log *slog.Logger) *measuring {
	if c.Metrics.Listen == "" {
		return nil
	}
	m := new(measuring)
	m.Metrics = metrics.New(metrics.Config{
		Version: version,
		Service: service,
		Healthy: func(ctx context.Context) error { return m.kms.Healthy(ctx) },
		Logger:  log,
	})
	return m
}

// endpoint has the requests to the KMS endpoint counted. It comes before serve.
func (m *measuring) endpoint(kms *api.Handler, sts *api.STS) {
	if m == nil {
		return
	}
	m.kms = kms
	kms.Meter(m.API("kms", ops.OperationNames()))
	sts.Meter(m.API("sts", api.STSOperations()))
}

// proxy counts the requests to the XKS proxy.
func (m *measuring) proxy() xks.Meter {
	if m == nil {
		return nil
	}
	return m.API("xks", xks.Operations())
}

// serve answers Prometheus until the function that it returns is called.
func (m *measuring) serve(c Config, tlsConfig *tls.Config, log *slog.Logger) (stop func(), err error) {
	if m == nil {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", c.Metrics.Listen)
	if err != nil {
		return nil, fmt.Errorf("metrics.listen: %w", err)
	}
	log.Info("serving metrics", "address", listener.Addr().String(), "tls", tlsConfig != nil)
	server := api.NewServer(m.Handler(), log)
	limited := secured(listener, server, c, tlsConfig, log)
	go func() {
		if err := server.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are not served any more", "error", err)
		}
	}()
	return func() {
		ending, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // an answer that is cut off is asked for again
		}
	}, nil
}

// openMetricsTLS makes the TLS settings of the metrics; nil where they have none. Like openTLS it comes
// before the tokens are opened.
func (b *backend) openMetricsTLS(c Config) (*tls.Config, error) {
	return b.openTLS(c.Metrics.certificate(c.TLS), MTLSConfig{})
}
