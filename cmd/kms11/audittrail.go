package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/ops"
)

// openTrail opens the audit trail of an open keystore.
func (b *backend) openTrail(ctx context.Context, c Config, p paths, log *slog.Logger) error {
	sinks, err := c.Audit.sinks()
	if err != nil {
		return err
	}
	key, err := ops.OpenAuditKey(ctx, b.store, b.domain)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(cmp.Or(c.Audit.Directory, p.audit))
	if err != nil {
		return err
	}
	b.trail, err = audit.Open(audit.Config{
		Dir:            dir,
		Mode:           audit.Mode(c.Audit.Mode),
		Signer:         key,
		RotateBytes:    int64(c.Audit.RotateMegabytes) << 20,
		RotateAfter:    time.Duration(c.Audit.RotateHours) * time.Hour,
		SyncInterval:   time.Duration(c.Audit.SyncMilliseconds) * time.Millisecond,
		DigestInterval: time.Duration(c.Audit.DigestSeconds) * time.Second,
		Anchor:         key.Anchor(),
		OnDigest:       key.Keep,
		Sinks:          sinks,
		Account:        c.Account,
		Region:         c.Region,
		Version:        version,
		Logger:         log,
	})
	return err
}

// audited makes the service of an open keystore with its audit trail, both brought together after
// a crash.
func (b *backend) audited(ctx context.Context, c Config, p paths, log *slog.Logger) (*ops.Service, error) {
	if err := b.openTrail(ctx, c, p, log); err != nil {
		return nil, err
	}
	service := b.service(c, log)
	if err := service.RecoverAudit(ctx); err != nil {
		return nil, errors.Join(errors.New("the audit trail could not be brought up to date"), err)
	}
	return service, nil
}
