// Package oidc verifies the ID tokens of OpenID Connect issuers that were named beforehand: the
// service accounts of Kubernetes clusters, CI systems, identity providers. It fetches the issuers'
// keys and keeps them; who may do what with a token is decided above.
//
// Sources: OpenID Connect Core 1.0 (section 3.1.3.7) and Discovery 1.0, RFC 7515, 7517, 7518, 7519;
// what AWS asks of tokens in "Create an OpenID Connect (OIDC) identity provider in IAM".
package oidc

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// The reasons for which a token is refused. Each error of Verify matches one.
var (
	ErrMalformed = errors.New("not a valid JWT")                        // or of an algorithm that is not taken
	ErrIssuer    = errors.New("no such issuer")                         // in that account
	ErrAudience  = errors.New("for another audience")                   //
	ErrExpired   = errors.New("expired")                                //
	ErrNotYet    = errors.New("not valid yet")                          //
	ErrSignature = errors.New("the signature is not one of the issuer") //
	ErrKeys      = errors.New("the issuer's keys cannot be had")        // so nothing can be said of the token
	ErrClaims    = errors.New("a claim is missing")
)

// ExpiredError says when a token expired. It matches ErrExpired.
type ExpiredError struct{ Now, Expired time.Time }

func (e *ExpiredError) Error() string { return "oidc: " + ErrExpired.Error() }

// Unwrap gives ErrExpired to errors.Is.
func (e *ExpiredError) Unwrap() error { return ErrExpired }

// Provider is one issuer whose tokens count in one account.
type Provider struct {
	Account   string   // 12 digits
	Issuer    string   // as in the tokens' iss: an https URL, or http on a loopback address
	Audiences []string // one of them has to be the tokens'
	CAFile    string   // PEM: whom to believe about the issuer's host; "" for the system's roots
	// JWKSFile holds the issuer's keys (RFC 7517), read anew when it changes; with it nothing is
	// fetched. "" to fetch them by discovery.
	JWKSFile string
}

// Name is the issuer as AWS names the provider in ARNs and condition keys: without the scheme.
func (p *Provider) Name() string {
	_, name, _ := strings.Cut(p.Issuer, "://")
	return strings.TrimSuffix(name, "/")
}

// maxIssuer is the length of the longest issuer (IAM API reference, OpenIDConnectProviderUrlType).
const maxIssuer = 255

// Check refuses a provider that cannot work or would not be safe.
func (p *Provider) Check() error {
	if len(p.Account) != 12 || strings.Trim(p.Account, "0123456789") != "" {
		return fmt.Errorf("account %q is not 12 digits", p.Account)
	}
	if len(p.Issuer) > maxIssuer {
		return fmt.Errorf("issuer has more than %d characters", maxIssuer)
	}
	if err := checkURL(p.Issuer); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if len(p.Audiences) == 0 {
		return errors.New("no audiences: a token that was made for anybody would count")
	}
	for _, audience := range p.Audiences {
		if audience == "" {
			return errors.New("an audience is empty")
		}
	}
	return nil
}

// checkURL takes only what nobody on the way can change: https, or http that does not leave the
// machine.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return fmt.Errorf("%q is not a URL without query and user", text)
	}
	switch u.Scheme {
	case "https":
		return nil
	case "http":
		if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() || u.Hostname() == "localhost" {
			return nil
		}
	}
	return fmt.Errorf("%q is not https, nor http on a loopback address", text)
}
