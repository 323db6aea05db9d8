package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/kms11/kms11/api"
	"github.com/kms11/kms11/identity"
	"github.com/kms11/kms11/ops"
)

// followIdentities reads the identities directory, if one is configured, and goes on reading it when
// it changes or the process gets SIGHUP, until the function it returns is called. Where the directory
// cannot be read the first time, the server does not start: it would refuse those it should serve.
func followIdentities(ctx context.Context, dir string, service *ops.Service, log *slog.Logger) (stop func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	directory, err := identity.Open(ctx, dir, service, os.LookupEnv, log)
	if err != nil {
		signal.Stop(hangUp)
		return nil, usageError{err}
	}
	for _, path := range directory.SecretFiles() {
		warnExposed([]secretFile{{"identities", path}}, log)
	}
	end := background(func(ctx context.Context) { directory.Follow(ctx, hangUp) })
	return func() {
		signal.Stop(hangUp)
		end()
	}, nil
}

// endpointFor is KMS and STS, with requests of client certificates where the configuration lets them
// in.
func endpointFor(c Config, service *ops.Service, forKMS, forSTS api.Authenticator, measured *measuring, log *slog.Logger) http.Handler {
	if c.MTLS.CA != "" {
		forKMS = api.NewCertificates(service, c.Region, c.MTLS.rules(), forKMS)
		forSTS = api.NewCertificates(service, c.Region, c.MTLS.rules(), forSTS)
	}
	kms, sts := api.NewHandler(service, forKMS, log), api.NewSTS(service, forSTS, log)
	measured.endpoint(kms, sts)
	return api.Endpoint(kms, sts)
}
