package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/ops"
)

// A regionBackend is the tokens of Regions that have some of their own, and the domains on them.
type regionBackend struct {
	tokens map[string][]*hsm.Token
	// domains has nil for a Region whose tokens could not be opened yet.
	domains map[string]*hsm.Domain
}

// openRegions opens the domain of each Region that has one, and makes that of each Region that is given
// tokens for the first time: the header, which the token authenticates, says which of them it is, so a
// Region whose tokens were lost never gets others unnoticed.
//
// A Region that has a domain is not waited for: if its tokens cannot be opened the others are served, and
// awaitRegions goes on trying. That they refuse the PIN, or are others, ends the start.
func (b *backend) openRegions(ctx context.Context, c Config, log *slog.Logger) error {
	header, err := b.store.Header(ctx)
	if err != nil {
		return err
	}
	b.regions = regionBackend{tokens: map[string][]*hsm.Token{}, domains: map[string]*hsm.Domain{}}
	for _, known := range header.Regions {
		if err := b.openKnownRegion(ctx, c, known, log); err != nil {
			return err
		}
	}
	for _, region := range slices.Sorted(maps.Keys(c.RegionTokens)) {
		if header.RegionDomain(region) != nil {
			continue
		}
		if !c.serves(region) {
			return usageError{fmt.Errorf("config: regiontokens: %s is not served: name it in regions too", region)}
		}
		if err := b.makeRegion(ctx, c, region, log); err != nil {
			return fmt.Errorf("tokens of Region %s: %w", region, err)
		}
	}
	return b.introduce(ctx)
}

// openKnownRegion opens a Region's domain, or leaves it for later.
func (b *backend) openKnownRegion(ctx context.Context, c Config, known keystore.RegionDomain, log *slog.Logger) error {
	b.regions.domains[known.Region] = nil
	if len(c.RegionTokens[known.Region]) == 0 {
		if c.serves(known.Region) {
			return mismatchError{fmt.Errorf("the keystore says that Region %s has tokens of its own (domain %s): name them in regiontokens, or take the Region out of regions", known.Region, known.Domain.ID)}
		}
		log.Warn("a Region that is not served has tokens of its own, which are not configured: keys with a replica there cannot be rotated", "region", known.Region)
		return nil
	}
	err := b.openRegion(ctx, c, known, log)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hsm.ErrWrongToken):
		return mismatchError{fmt.Errorf("the tokens of Region %s are not those it has (domain %s): %w", known.Region, known.Domain.ID, err)}
	case errors.Is(err, hsm.ErrPIN):
		return tokenError{fmt.Errorf("tokens of Region %s: %w", known.Region, err)} // tokens lock
	}
	log.Error("a Region's tokens cannot be opened: its keys wait for them, other Regions are served", "region", known.Region, "error", err)
	return nil
}

// openRegion opens the tokens of a Region and its domain on them.
func (b *backend) openRegion(ctx context.Context, c Config, known keystore.RegionDomain, log *slog.Logger) error {
	tokens, err := openTokens(ctx, c, c.RegionTokens[known.Region], log)
	if err != nil {
		return err
	}
	domain, err := hsm.OpenDomain(ctx, b.changing(ctx, c, tokens, known.Domain, log), known.Domain)
	if err != nil {
		return errors.Join(err, closeTokens(tokens))
	}
	b.regions.tokens[known.Region], b.regions.domains[known.Region] = tokens, domain
	return nil
}

// makeRegion makes a domain in the tokens of a Region and names it in the header. What an interruption
// leaves in the tokens harms nothing: the next start makes another domain.
func (b *backend) makeRegion(ctx context.Context, c Config, region string, log *slog.Logger) error {
	tokens, err := openTokens(ctx, c, c.RegionTokens[region], log)
	if err != nil {
		return tokenError{err}
	}
	b.regions.tokens[region] = tokens
	domain, err := hsm.CreateDomain(ctx, tokens)
	if err != nil {
		return err
	}
	b.regions.domains[region] = domain
	if err := domain.MakeTransferKey(ctx); err != nil {
		return err
	}
	made := keystore.RegionDomain{Region: region, Created: time.Now(), Domain: domain.Describe()}
	if err := b.store.Update(ctx, func(tx *keystore.Tx) error { return tx.PutRegionDomain(made) }); err != nil {
		return err
	}
	log.Info("a Region has tokens of its own from now on", "region", region, "domain", domain.ID())
	return nil
}

// introduce gives the store's domain a transfer key once there is another domain to use it with.
func (b *backend) introduce(ctx context.Context) error {
	if len(b.regions.domains) == 0 {
		return nil
	}
	before := b.domain.Describe()
	if err := b.domain.MakeTransferKey(ctx); err != nil {
		return fmt.Errorf("a key to sign transfers to the tokens of Regions with: %w", err)
	}
	after := b.domain.Describe()
	if reflect.DeepEqual(before, after) {
		return nil
	}
	return b.store.Update(ctx, func(tx *keystore.Tx) error { return tx.SetDomain(after) })
}

const regionRetry = 15 * time.Second

// awaitRegions tries again to open the Regions whose tokens were not there at the start, until they are
// or their PIN is refused. It is for one goroutine, which has b.regions to itself while it runs.
func (b *backend) awaitRegions(c Config, service *ops.Service, log *slog.Logger) func(context.Context) {
	return func(ctx context.Context) {
		ticker := time.NewTicker(regionRetry)
		defer ticker.Stop()
		for b.awaited(c) {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if err := b.tryRegions(ctx, c, service, log); err != nil && ctx.Err() == nil {
				log.Warn("a Region's tokens still cannot be opened", "error", err)
			}
		}
	}
}

// awaited says whether a Region waits for tokens that are configured.
func (b *backend) awaited(c Config) bool {
	for region, domain := range b.regions.domains {
		if domain == nil && len(c.RegionTokens[region]) > 0 {
			return true
		}
	}
	return false
}

func (b *backend) tryRegions(ctx context.Context, c Config, service *ops.Service, log *slog.Logger) error {
	header, err := b.store.Header(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, known := range header.Regions {
		if len(c.RegionTokens[known.Region]) == 0 || b.regions.domains[known.Region] != nil {
			continue
		}
		err := b.openRegion(ctx, c, known, log)
		switch {
		case errors.Is(err, hsm.ErrPIN), errors.Is(err, hsm.ErrWrongToken):
			// Trying on could lock the token, and would not help.
			log.Error("a Region's tokens are not used until the next start", "region", known.Region, "error", err)
			delete(b.regions.domains, known.Region)
		case err != nil:
			failed = append(failed, fmt.Errorf("tokens of Region %s: %w", known.Region, err))
		default:
			service.OpenRegion(known.Region, b.regions.domains[known.Region])
			log.Info("a Region's tokens are there", "region", known.Region)
		}
	}
	return errors.Join(failed...)
}

func openTokens(ctx context.Context, c Config, uris []string, log *slog.Logger) (tokens []*hsm.Token, err error) {
	for _, text := range uris {
		uri, err := hsm.ParseURI(text)
		if err != nil {
			return nil, errors.Join(usageError{err}, closeTokens(tokens))
		}
		token, err := openToken(ctx, c, uri, log)
		if err != nil {
			return nil, errors.Join(err, closeTokens(tokens))
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

// withRegionTokens opens the tokens of each Region and shows them, in the order of the Regions.
func (b *backend) withRegionTokens(ctx context.Context, c Config, log *slog.Logger, show func(*hsm.Token) error) error {
	b.regions.tokens = map[string][]*hsm.Token{}
	for _, region := range slices.Sorted(maps.Keys(c.RegionTokens)) {
		tokens, err := openTokens(ctx, c, c.RegionTokens[region], log)
		if err != nil {
			return tokenError{fmt.Errorf("tokens of Region %s: %w", region, err)}
		}
		b.regions.tokens[region] = tokens
		for _, token := range tokens {
			if err := show(token); err != nil {
				return err
			}
		}
	}
	return nil
}

func closeTokens(tokens []*hsm.Token) error {
	var errs []error
	for _, token := range tokens {
		errs = append(errs, token.Close())
	}
	return errors.Join(errs...)
}

// close ends the domains, then the tokens.
func (r *regionBackend) close() error {
	var errs []error
	for _, domain := range r.domains {
		if domain != nil {
			errs = append(errs, domain.Close())
		}
	}
	for _, tokens := range r.tokens {
		errs = append(errs, closeTokens(tokens))
	}
	return errors.Join(errs...)
}
