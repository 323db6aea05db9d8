package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/kms11/kms11/api"
	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/xks"
)

// openXKSTLS makes the TLS settings of the XKS proxy; nil where it has none. Like openTLS it comes
// before the tokens are opened.
func (b *backend) openXKSTLS(c Config) (*tls.Config, error) {
	if c.XKS.Listen == "" {
		return nil, nil
	}
	settings := c.XKS.TLS
	if settings.Certificate == "" {
		settings = c.TLS
	}
	config, err := b.openTLS(settings, MTLSConfig{})
	if err != nil || config == nil {
		return nil, err
	}
	// Of TLS 1.2 only what the specification lists. Those of TLS 1.3 are the library's to choose: it
	// has all that are listed.
	config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}
	if c.XKS.ClientCA == "" {
		return config, nil
	}
	roots, err := readRoots(c.XKS.ClientCA)
	if err != nil {
		return nil, usageError{fmt.Errorf("config: xks.clientca: %w", err)}
	}
	config.ClientCAs, config.ClientAuth = roots, tls.RequireAndVerifyClientCert
	names := c.XKS.ClientNames
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.VerifiedChains) == 0 || !slices.Contains(names, state.PeerCertificates[0].Subject.CommonName) {
			return errors.New("the client's certificate has another common name than xks.clientnames")
		}
		return nil
	}
	return config, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return roots, nil
}

// openXKS opens the tokens that only the proxy uses and makes the proxy, which can be administered
// even where it does not serve.
func (b *backend) openXKS(ctx context.Context, c Config, service *ops.Service, log *slog.Logger) (*ops.Proxy, error) {
	for _, text := range c.XKS.Tokens {
		uri, err := hsm.ParseURI(text)
		if err != nil {
			return nil, usageError{err}
		}
		token, err := openToken(ctx, c, uri, log)
		if err != nil {
			return nil, tokenError{err}
		}
		b.xksTokens = append(b.xksTokens, token)
	}
	return ops.NewProxy(service, hsm.NewObjectTokens(slices.Concat(b.tokens, b.xksTokens))), nil
}

// serveXKS serves the proxy, where one is configured, until the function that it returns is called.
func serveXKS(c Config, proxy *ops.Proxy, tlsConfig *tls.Config, meter xks.Meter, log, requests *slog.Logger) (stop func(), err error) {
	if c.XKS.Listen == "" {
		return func() {}, nil
	}
	files, err := xks.NewCredentialFiles(c.XKS.Credentials, log)
	if err != nil {
		return nil, usageError{fmt.Errorf("config: xks.credentials: %w", err)}
	}
	handler := xks.NewHandler(xks.HandlerConfig{
		Proxy: proxy, Logger: log, Requests: requests, Files: files, Version: version, FleetSize: c.XKS.FleetSize,
		Timeout: time.Duration(c.XKS.Timeout) * time.Millisecond, Meter: meter,
	})
	var servers []*http.Server
	stop = func() {
		ending, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		for _, server := range servers {
			if server.Shutdown(ending) != nil {
				_ = server.Close() // what is still under way is cut off
			}
		}
	}
	start := func(setting, address string, serve http.Handler, tlsConfig *tls.Config) error {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
		log.Info("serving the XKS proxy", "setting", setting, "address", listener.Addr().String(), "tls", tlsConfig != nil)
		server := api.NewServer(serve, log)
		servers = append(servers, server)
		limited := secured(listener, server, c, tlsConfig, log)
		go func() {
			if err := server.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
				log.Error("the XKS proxy does not serve any more", "setting", setting, "error", err)
			}
		}()
		return nil
	}
	if err := start("xks.listen", c.XKS.Listen, handler, tlsConfig); err != nil {
		return nil, err
	}
	if c.XKS.Health == "" {
		return stop, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+xks.HealthPath, handler.ServeHealth)
	if err := start("xks.health", c.XKS.Health, mux, nil); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}
