package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/api"
	"github.com/kms11/kms11/oidc"
	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/xks"
)

// shutdownTimeout is how long requests under way may take after a signal to stop.
const shutdownTimeout = 10 * time.Second

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "serve the KMS API",
		Description: "Serves until it is interrupted. Where the data directory holds neither a token nor a keystore and no token is configured, " +
			"it makes a SoftHSM2 token, a keystore and an administrator first.",
		Flags: append(append(settingFlags(), placeFlags()...),
			&cli.StringFlag{Name: "listen", Usage: "serve on `HOST:PORT` (default: 127.0.0.1:8080)"},
			&cli.BoolFlag{Name: "dev", Usage: "accept any access key as its account's root and any Region, without checking signatures; loopback only"},
		),
		Action: func(c *cli.Context) error {
			config, err := settings(c)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			log, requests, stopLog := newLoggers(config.Log, c.App.ErrWriter)
			defer stopLog()
			return serve(ctx, config, log, requests, c.App.Writer)
		},
	}
}

// serve opens or makes what is needed and serves until ctx ends. requests gets the lines of requests.
func serve(ctx context.Context, c Config, log, requests *slog.Logger, stdout io.Writer) (err error) {
	if err := forbidCoreDumps(); err != nil {
		return err
	}
	p, err := pathsOf(c.Data)
	if err != nil {
		return err
	}
	if err := refuseExposed(p); err != nil {
		return err
	}
	warnExposed(c.secretFiles(), log)
	b := &backend{}
	defer func() { err = errors.Join(err, b.close()) }()
	if b.attestation, err = attestation(c.Attestation); err != nil {
		return usageError{fmt.Errorf("config: attestation: %w", err)}
	}
	if b.services, err = openServices(c.Services); err != nil {
		return err
	}
	if err := b.openKeyStores(c, log); err != nil {
		return usageError{fmt.Errorf("config: keystores: %w", err)}
	}
	tlsConfig, err := b.openTLS(c.TLS, c.MTLS)
	if err != nil {
		return err
	}
	xksTLS, err := b.openXKSTLS(c)
	if err != nil {
		return err
	}
	metricsTLS, err := b.openMetricsTLS(c)
	if err != nil {
		return err
	}
	created, err := b.start(ctx, &c, p, log)
	if err != nil {
		return err
	}
	if b.issuers, err = oidc.New(providers(c.OIDC, c.Account), nil); err != nil {
		return usageError{fmt.Errorf("config: oidc: %w", err)}
	}
	service, err := b.audited(ctx, c, p, log)
	if err != nil {
		return err
	}
	listener, err := listen(c)
	if err != nil {
		return err
	}
	defer listener.Close()
	address := endpoint(c, listener.Addr().String())
	if err := updateAdminEnv(p.adminEnv, c.Region, address); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.CloseKeyStores()) }()
	stopIdentities, err := followIdentities(ctx, c.Identities, service, log)
	if err != nil {
		return err
	}
	defer stopIdentities()
	defer background(service.Run)()
	defer background(b.awaitRegions(c, service, log))()
	defer background(service.RunRotations)()
	defer background(service.ReportOrphans)()
	proxy, err := b.openXKS(ctx, c, service, log)
	if err != nil {
		return err
	}
	measured := newMeasuring(c, service, log)
	stopXKS, err := serveXKS(c, proxy, xksTLS, measured.proxy(), log, requests)
	if err != nil {
		return err
	}
	defer stopXKS()
	admin, err := api.ListenAdmin(p.adminSocket, service, version, log, xks.AdminCommands(proxy, api.AdminOrigin, api.AnswerAdmin))
	if err != nil {
		return err
	}
	defer admin.Close()
	server := api.NewServer(handler(c, service, measured, log), log)
	stopMetrics, err := measured.serve(c, metricsTLS, log)
	if err != nil {
		return err
	}
	defer stopMetrics()
	log.Info("serving", "endpoint", address, "version", version, "account", c.Account, "regions", append([]string{c.Region}, c.Regions...), "domain", b.domain.Describe().ID)
	if err := greet(stdout, c, p, address, created, b.made); err != nil {
		return err
	}
	return serveUntil(ctx, server, secured(listener, server, c, tlsConfig, log), log)
}

// background runs work until the function it returns is called, which waits for it to end.
func background(work func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// start opens the token and the keystore of an earlier run, or makes both where there are none.
func (b *backend) start(ctx context.Context, c *Config, p paths, log *slog.Logger) (created bool, err error) {
	if err := b.lockData(c.Data); err != nil {
		return false, err
	}
	state, err := inspect(p)
	if err != nil {
		return false, err
	}
	local := len(c.Tokens) == 0
	switch {
	case !state.keystore && !local:
		return false, mismatchError{fmt.Errorf("no keystore in %s: run kms11 init with the same configuration first", c.Data)}
	case !state.keystore:
		return true, b.initialise(ctx, c, p, log)
	case local && !state.token:
		return false, mismatchError{fmt.Errorf("there is a keystore but its token %s is missing: restore it, or name the token in the configuration", p.token)}
	}
	if err := b.openTokens(ctx, *c, p, log); err != nil {
		return false, err
	}
	if err := b.open(ctx, *c, p, log); err != nil {
		return false, err
	}
	if err := b.openRegions(ctx, *c, log); err != nil {
		return false, err
	}
	return false, b.settleAccount(ctx, c)
}

// handler is the KMS API with the authentication that the configuration asks for.
func handler(c Config, service *ops.Service, measured *measuring, log *slog.Logger) http.Handler {
	if !c.Dev {
		return endpointFor(c, service, api.NewSigV4(service), api.NewSTSSigV4(service), measured, log)
	}
	log.Warn("dev mode: signatures are not checked and every access key is its account's root user")
	dev := api.NewDev(c.Account, c.Region)
	return api.MarkDev(endpointFor(c, service, dev, dev, measured, log))
}

func listen(c Config) (net.Listener, error) {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("%w: choose another address with --listen, or with LISTEN= for make run", err)
	}
	return listener, nil
}

// secured is what a server serves of a listener: as many connections as the settings allow, with TLS
// unless there are no settings for it.
func secured(listener net.Listener, server *http.Server, c Config, tlsConfig *tls.Config, log *slog.Logger) net.Listener {
	listener = api.LimitConnections(listener, server, c.Limits.connections(), log)
	if tlsConfig != nil {
		return tls.NewListener(listener, tlsConfig)
	}
	return listener
}

// endpoint is the URL at which clients reach an address. A listener on every address has no
// address of its own that a client or a certificate could name: the first name of the certificate
// stands for it, or localhost.
func endpoint(c Config, address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			address = net.JoinHostPort(certifiedName(c.TLS.Certificate), port)
		}
	}
	if c.TLS.Certificate != "" {
		return "https://" + address
	}
	return "http://" + address
}

// serveUntil serves until ctx ends, then lets the requests under way finish.
func serveUntil(ctx context.Context, server *http.Server, listener net.Listener, log *slog.Logger) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	ending, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}
