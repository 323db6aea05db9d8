package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/oidc"
	"github.com/kms11/kms11/ops"
)

// backend is an open domain with the store that belongs to it.
type backend struct {
	tokens  []*hsm.Token
	domain  *hsm.Domain
	regions regionBackend
	engine  keystore.Engine
	store   *keystore.Store
	lock    *os.File
	// tlsKeys are the keys of certificates that are in tokens.
	tlsKeys   []*hsm.TLSKey
	xksTokens []*hsm.Token  // with key objects of the XKS proxy, beside the domain's
	made      ops.AccessKey // the administrator's, if this process made it
	later     laterTokens

	attestation *attest.Verifier
	issuers     *oidc.Verifier // nil: none
	services    []ops.ServiceIdentity
	trail       *audit.Trail
	clusters    []ops.Cluster
	proxies     ops.ExternalProxies
}

// lockData makes the data directory if it is missing and keeps a second server out of it, from
// before the token is touched.
func (b *backend) lockData(data string) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	dir, err := os.Open(data)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		dir.Close()
		return fmt.Errorf("another kms11 uses the data directory %s: stop it first, or name another directory with --data", data)
	}
	b.lock = dir
	return nil
}

// openTokens logs in to the tokens of the configuration, or to the data directory's own.
func (b *backend) openTokens(ctx context.Context, c Config, p paths, log *slog.Logger) error {
	uris, err := tokenURIs(c, p)
	if err != nil {
		return err
	}
	for _, uri := range uris {
		token, err := openToken(ctx, c, uri, log)
		if err != nil {
			return tokenError{err}
		}
		b.tokens = append(b.tokens, token)
	}
	return nil
}

func openToken(ctx context.Context, c Config, uri hsm.URI, log *slog.Logger) (*hsm.Token, error) {
	for _, warning := range uri.Warnings() {
		log.Warn(warning, "token", uri.String())
	}
	token, err := hsm.OpenToken(ctx, tokenConfig(c, uri, log))
	if len(c.Tokens) == 0 {
		return token, err // the data directory's own: there is nothing to set
	}
	return token, withRemedy(uri, err)
}

// tokenConfig is how the settings have a token used.
func tokenConfig(c Config, uri hsm.URI, log *slog.Logger) hsm.Config {
	return hsm.Config{
		URI:         uri,
		Sessions:    c.Sessions,
		Handles:     c.Handles,
		RunMessages: c.Run.Messages,
		RunSeconds:  c.Run.Seconds,
		Logger:      log,

		PublicOutside:        c.PublicOutside,
		ForbidPaddingOutside: c.ForbidPaddingOutside,
		PairsAhead:           c.PairsAhead,

		CallLimit:  time.Duration(c.Limits.Call) * time.Second,
		PairLimit:  time.Duration(c.Limits.Pair) * time.Second,
		LeakBudget: c.Limits.Leak << 20,
	}
}

func tokenURIs(c Config, p paths) ([]hsm.URI, error) {
	if len(c.Tokens) == 0 {
		uri, err := useLocalToken(p)
		return []hsm.URI{uri}, err
	}
	var uris []hsm.URI
	for _, text := range c.Tokens {
		uri, err := hsm.ParseURI(text)
		if err != nil {
			return nil, usageError{err}
		}
		uris = append(uris, uri)
	}
	return uris, nil
}

// open opens an existing keystore and the domain that its header names.
func (b *backend) open(ctx context.Context, c Config, p paths, log *slog.Logger) error {
	engine, err := boltengine.Open(p.keystore)
	if err != nil {
		return err
	}
	b.engine = engine
	// A page that was lost would otherwise make its keys look as if they did not exist.
	if err := engine.Check(ctx); err != nil {
		return mismatchError{fmt.Errorf("keystore %s: %w: restore it from a backup", p.keystore, err)}
	}
	header, err := keystore.ReadHeader(ctx, b.engine)
	if err != nil {
		return mismatchError{fmt.Errorf("keystore %s: %w", p.keystore, err)}
	}
	if b.domain, err = hsm.OpenDomain(ctx, b.changing(ctx, c, b.tokens, header.Domain, log), header.Domain); err != nil {
		if errors.Is(err, hsm.ErrWrongToken) {
			return mismatchError{fmt.Errorf("keystore %s belongs to another token (domain %s): %w: name the tokens that hold the domain, less any that a rotation took out, or another data directory", p.keystore, header.Domain.ID, err)}
		}
		return err
	}
	if b.store, err = keystore.Open(ctx, b.engine, b.domain, keystore.Options{}); err != nil {
		return mismatchError{fmt.Errorf("keystore %s: %w", p.keystore, err)}
	}
	return nil
}

// settleAccount takes the account that the keystore was made with where none is set. It refuses
// one that the keystore has no user in: the administrator's access key would go on working in its
// own account under settings that name another.
func (b *backend) settleAccount(ctx context.Context, c *Config) error {
	if c.Dev && c.Account != "" {
		return nil
	}
	partition := kms.PartitionOf(c.Region)
	account, err := firstAccount(ctx, b.store, partition, c.Account)
	if err != nil {
		return err
	}
	if account != "" {
		c.Account = account
		return nil
	}
	if c.Account == "" {
		return mismatchError{fmt.Errorf("the keystore has no user in partition %s: set region to what it was made with", partition)}
	}
	return mismatchError{fmt.Errorf("the keystore has no user in account %s of partition %s: leave account out, or set account and region to what it was made with", c.Account, partition)}
}

// firstAccount gives the account of the keystore's first user, who is the administrator that it was
// made with: that user cannot be deleted. With an account it gives that one, "" if it has no user.
// A user's record that was tampered with does not keep the others from being served, unless it may be the first
// user's, in another account.
func firstAccount(ctx context.Context, store *keystore.Store, partition, only string) (first string, err error) {
	accounts, err := store.Accounts(ctx, partition)
	if err != nil {
		return "", err
	}
	var created time.Time
	unread := map[string]error{} // account to what is wrong with a user's record there
	for _, account := range accounts {
		if only != "" && account != only {
			continue
		}
		for after, more := "", true; more; {
			var names []string
			if names, more, err = store.ScanUsers(ctx, partition, account, after, 1000); err != nil {
				return "", err
			}
			if only != "" && len(names) > 0 {
				return account, nil
			}
			for _, name := range names {
				after = name
				user, err := store.User(ctx, keystore.UserID{Partition: partition, Account: account, Name: name})
				if errors.Is(err, keystore.ErrTampered) {
					unread[account] = err
					continue
				}
				if err != nil {
					return "", err
				}
				if first == "" || user.Created.Before(created) {
					first, created = account, user.Created
				}
			}
		}
	}
	for account, err := range unread {
		if first == "" && len(unread) == 1 {
			return account, nil
		}
		if account != first {
			return "", fmt.Errorf("%w: the default account may be %s: set account to the one that the keystore was made with", err, account)
		}
	}
	return first, nil
}

// create makes the domain's keys in the tokens, then the keystore, then the administrator, whose
// access key it returns.
func (b *backend) create(ctx context.Context, c Config, p paths, log *slog.Logger) (ops.AccessKey, error) {
	var err error
	if b.domain, err = hsm.CreateDomain(ctx, b.tokens); err != nil {
		return ops.AccessKey{}, err
	}
	engine, err := boltengine.Create(p.keystore)
	if err != nil {
		return ops.AccessKey{}, err
	}
	b.engine = engine
	if b.store, err = keystore.Create(ctx, b.engine, b.domain.Describe(), b.domain); err != nil {
		return ops.AccessKey{}, err
	}
	if err := b.openRegions(ctx, c, log); err != nil {
		return ops.AccessKey{}, err
	}
	return b.service(c, log).CreateAdministrator(ctx)
}

func (b *backend) service(c Config, log *slog.Logger) *ops.Service {
	config := ops.Config{
		Store:       b.store,
		Domain:      b.domain,
		Regions:     b.regions.domains,
		RegionURIs:  c.regionURIs(),
		Account:     c.Account,
		Region:      c.Region,
		Serves:      c.serves,
		Logger:      log,
		Attestation: b.attestation,
		Quotas:      c.Quotas.quotas(),
		Services:    b.services,
		OpenToken:   b.opener(c, log),
		Audit:       b.trail,
		Clusters:    b.clusters,
		Proxies:     b.proxies,
	}
	if b.issuers != nil {
		config.WebIdentities = b.issuers
	}
	return ops.New(config)
}

// close releases what is open, in the reverse order of opening.
func (b *backend) close() error {
	var errs []error
	if b.trail != nil {
		errs = append(errs, b.trail.Close())
	}
	if b.store != nil {
		errs = append(errs, b.store.Close())
	}
	if b.engine != nil {
		errs = append(errs, b.engine.Close())
	}
	errs = append(errs, b.regions.close())
	if b.domain != nil {
		errs = append(errs, b.domain.Close())
	}
	errs = append(errs, b.later.close())
	for _, token := range append(b.tokens, b.xksTokens...) {
		errs = append(errs, token.Close())
	}
	for _, key := range b.tlsKeys {
		errs = append(errs, key.Close())
	}
	if b.lock != nil {
		errs = append(errs, b.lock.Close())
	}
	return errors.Join(errs...)
}

var _ keystore.Authenticator = (*hsm.Domain)(nil)
