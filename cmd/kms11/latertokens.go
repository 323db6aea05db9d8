package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// laterTokens are tokens beside those of the configuration: a rotation of a domain's keys adds them to a
// domain, or took them out. Each is opened once.
type laterTokens struct {
	mu     sync.Mutex
	tokens []*hsm.Token
}

// opener opens a token by its URI, unless it is open.
func (b *backend) opener(c Config, log *slog.Logger) func(context.Context, string) (*hsm.Token, error) {
	return func(ctx context.Context, text string) (*hsm.Token, error) {
		b.later.mu.Lock()
		defer b.later.mu.Unlock()
		uri, err := hsm.ParseURI(text)
		if err != nil {
			return nil, err
		}
		open := slices.Concat(b.tokens, b.later.tokens)
		if i := slices.IndexFunc(open, func(t *hsm.Token) bool { return t.URI().String() == uri.String() }); i >= 0 {
			return open[i], nil
		}
		token, err := openToken(context.WithoutCancel(ctx), c, uri, log)
		if err == nil {
			b.later.tokens = append(b.later.tokens, token)
		}
		return token, err
	}
}

// changing gives the tokens of a domain: those of the configuration, and while a rotation changes which
// they are, those that it names. One of these that cannot be opened is left out: the others may do without it.
func (b *backend) changing(ctx context.Context, c Config, configured []*hsm.Token, d kms.Domain, log *slog.Logger) []*hsm.Token {
	tokens := slices.Clone(configured)
	r := d.Rotation
	if r == nil || r.Phase == kms.RotationMaking {
		return tokens
	}
	named := slices.Clone(r.Joining)
	if r.Phase != kms.RotationDestroying {
		named = append(named, r.Leaving...)
	}
	for _, text := range named {
		if slices.ContainsFunc(tokens, func(t *hsm.Token) bool { return t.URI().String() == text }) {
			continue
		}
		token, err := b.opener(c, log)(ctx, text)
		if err != nil {
			log.Warn("a token that the rotation of the domain's keys names cannot be opened", "token", text, "error", err)
			continue
		}
		tokens = append(tokens, token)
	}
	return tokens
}

func (l *laterTokens) close() error {
	var errs []error
	for _, t := range l.tokens {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}
