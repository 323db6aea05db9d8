package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// algorithms are those of AWS (IAM User Guide, "OIDC identity provider": RS256, RS384, RS512, ES256,
// ES384, ES512). "none" and HMAC, whose key would be the issuer's public one, are not among them.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}
}

const (
	// maxToken is the longest token in bytes (STS API reference, WebIdentityToken).
	maxToken = 20_000
	// skew is how far the issuer's clock may be ahead.
	skew = 5 * time.Minute
	// minRSABits is the size of the smallest RSA key that counts (NIST SP 800-131A).
	minRSABits = 2048
)

// Token is what a verified token says.
type Token struct {
	Provider *Provider
	Subject  string
	// Audience is whom the token was made for: azp where there is one, else the aud that is one of
	// the provider's audiences.
	Audience  string
	Audiences []string // aud as it is
	AMR       []string // how the subject was authenticated
}

// Verifier verifies the tokens of its providers. It is safe for concurrent use.
type Verifier struct {
	providers map[[2]string]*source // by account and issuer
	now       func() time.Time
}

// New makes a verifier. It reads the files that the providers name, and fetches nothing yet. now is
// time.Now if nil.
func New(providers []Provider, now func() time.Time) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	v := &Verifier{providers: make(map[[2]string]*source), now: now}
	names := make(map[[2]string]bool)
	for i := range providers {
		p := providers[i]
		p.Audiences = slices.Clone(p.Audiences)
		if err := p.Check(); err != nil {
			return nil, err
		}
		key := [2]string{p.Account, p.Issuer}
		if v.providers[key] != nil {
			return nil, fmt.Errorf("issuer %s is there twice for account %s", p.Issuer, p.Account)
		}
		// Trust policies name an issuer without its scheme and last slash, in conditions in any case.
		name := [2]string{p.Account, strings.ToLower(p.Name())}
		if names[name] {
			return nil, fmt.Errorf("issuer %s of account %s has the name of another one in trust policies", p.Issuer, p.Account)
		}
		names[name] = true
		s, err := newSource(&p, now)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", p.Issuer, err)
		}
		v.providers[key] = s
	}
	return v, nil
}

// Issuer gives the issuer that a token says it is from, unverified, for an error text; "" if it says
// none that could be shown.
func Issuer(token string) string {
	_, c, err := read(token)
	if err != nil || checkURL(c.Issuer) != nil || len(c.Issuer) > maxIssuer {
		return ""
	}
	return c.Issuer
}

// Verify verifies a token for a role of an account. No error holds any part of the token but its
// issuer.
func (v *Verifier) Verify(ctx context.Context, account, token string) (*Token, error) {
	signed, c, err := read(token)
	if err != nil {
		return nil, err
	}
	s := v.providers[[2]string{account, c.Issuer}]
	if s == nil {
		return nil, fmt.Errorf("oidc: %w", ErrIssuer)
	}
	if err := s.verify(ctx, signed); err != nil {
		return nil, err
	}
	return v.accept(s.provider, c)
}

// read takes a token apart without verifying it.
func read(token string) (*jose.JSONWebSignature, claims, error) {
	var c claims
	if len(token) > maxToken {
		return nil, c, fmt.Errorf("oidc: %w: it is too long", ErrMalformed)
	}
	if strings.Count(token, ".") != 2 {
		return nil, c, fmt.Errorf("oidc: %w: it has not three parts", ErrMalformed)
	}
	signed, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil {
		return nil, c, fmt.Errorf("oidc: %w: not a JWS of an algorithm that is taken", ErrMalformed)
	}
	if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &c); err != nil {
		return nil, c, fmt.Errorf("oidc: %w: its claims are no JSON object, or of the wrong types", ErrMalformed)
	}
	return signed, c, nil
}

// accept judges the claims of a token whose signature is right.
func (v *Verifier) accept(p *Provider, c claims) (*Token, error) {
	now := v.now()
	switch {
	case c.Subject == "" || len(c.Subject) > 255: // OpenID Connect Core, section 2
		return nil, fmt.Errorf("oidc: %w: sub", ErrClaims)
	case len(c.Audience) == 0 || slices.Contains(c.Audience, ""):
		return nil, fmt.Errorf("oidc: %w: aud", ErrClaims)
	case c.Expires == nil:
		return nil, fmt.Errorf("oidc: %w: exp", ErrClaims)
	case c.Issued == nil:
		return nil, fmt.Errorf("oidc: %w: iat", ErrClaims)
	}
	if expires := c.Expires.time(); !now.Before(expires) {
		return nil, &ExpiredError{Now: now, Expired: expires}
	}
	if now.Add(skew).Before(c.Issued.time()) || c.NotBefore != nil && now.Add(skew).Before(c.NotBefore.time()) {
		return nil, fmt.Errorf("oidc: %w", ErrNotYet)
	}
	t := &Token{Provider: p, Subject: c.Subject, Audiences: c.Audience, AMR: c.AMR, Audience: c.AuthorizedParty}
	if t.Audience == "" {
		known := slices.IndexFunc(c.Audience, func(a string) bool { return slices.Contains(p.Audiences, a) })
		if known < 0 {
			return nil, fmt.Errorf("oidc: %w", ErrAudience)
		}
		t.Audience = c.Audience[known]
	}
	if !slices.Contains(p.Audiences, t.Audience) {
		return nil, fmt.Errorf("oidc: %w", ErrAudience)
	}
	return t, nil
}

// claims are the members of a token that count.
type claims struct {
	Issuer          string
	Subject         string
	Audience        oneOrMany
	AuthorizedParty string
	AMR             oneOrMany
	Expires         *numericDate
	NotBefore       *numericDate
	Issued          *numericDate
}

// UnmarshalJSON reads the claims that count by their very names. encoding/json alone would take a claim
// SUB, which an issuer may let its users choose, for the sub (RFC 7519, section 7.3: names are compared
// as they are).
func (c *claims) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	for _, member := range [...]struct {
		name string
		into any
	}{
		{"iss", &c.Issuer}, {"sub", &c.Subject}, {"aud", &c.Audience}, {"azp", &c.AuthorizedParty}, {"amr", &c.AMR},
		{"exp", &c.Expires}, {"nbf", &c.NotBefore}, {"iat", &c.Issued},
	} {
		if value, ok := members[member.name]; ok {
			if err := json.Unmarshal(value, member.into); err != nil {
				return err
			}
		}
	}
	return nil
}

// oneOrMany is a string or a list of strings.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		return json.Unmarshal(text, (*[]string)(o))
	}
	*o = make([]string, 1)
	return json.Unmarshal(text, &(*o)[0])
}

// numericDate is seconds since 1970 UTC (RFC 7519, section 2).
type numericDate float64

// maxNumericDate is the end of the year 9999.
const maxNumericDate = 253_402_300_799

func (n *numericDate) UnmarshalJSON(text []byte) error {
	var f float64
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	if f < 0 || f > maxNumericDate {
		return errors.New("a time that cannot be")
	}
	*n = numericDate(f)
	return nil
}

func (n numericDate) time() time.Time { return time.UnixMilli(int64(float64(n) * 1000)).UTC() }
