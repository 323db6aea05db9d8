package oidc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// keysStand is how long fetched keys are used before they are fetched again.
	keysStand = time.Hour
	// keysLast is how long fetched keys are used while the issuer cannot be reached.
	keysLast = 24 * time.Hour
	// refetchAfter is the least time between two fetches: tokens with made-up key ids need no
	// credentials, and must not become a stream of requests to the issuer.
	refetchAfter = 10 * time.Second
	fetchTimeout = 10 * time.Second
	maxDocument  = 1 << 20 // bytes of a discovery document or a key set
	maxKeys      = 100
)

// source is a provider with its keys.
type source struct {
	provider *Provider
	client   *http.Client
	now      func() time.Time

	fetching sync.Mutex     // held by the one who fetches
	work     sync.WaitGroup // fetches that nobody waits for

	mu      sync.Mutex // guards what follows; never held while waiting for anything but a file
	keys    []jose.JSONWebKey
	fetched time.Time // when keys came
	tried   time.Time // when they were last asked for
	failure error     // of the last try
	stamp   string    // of JWKSFile
}

func newSource(p *Provider, now func() time.Time) (*source, error) {
	s := &source{provider: p, now: now}
	if p.JWKSFile != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s, s.readFile()
	}
	transport := &http.Transport{
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   fetchTimeout,
		ResponseHeaderTimeout: fetchTimeout,
		IdleConnTimeout:       time.Minute,
		MaxIdleConns:          1,
		Proxy:                 http.ProxyFromEnvironment,
	}
	if p.CAFile != "" {
		text, err := os.ReadFile(p.CAFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no PEM certificate", p.CAFile)
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	s.client = &http.Client{
		Transport: transport,
		Timeout:   fetchTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= 5 {
				return errors.New("too many redirects")
			}
			return s.reachable(r.URL.Scheme + "://" + r.URL.Host)
		},
	}
	return s, nil
}

// verify checks a token's signature with the issuer's keys, fetching them where that could help.
func (s *source) verify(ctx context.Context, token *jose.JSONWebSignature) error {
	if len(token.Signatures) != 1 {
		return fmt.Errorf("oidc: %w", ErrMalformed)
	}
	header := token.Signatures[0].Protected
	tried := false
	for {
		keys, fresh, err := s.current(ctx, tried)
		if err != nil {
			return err
		}
		fits := 0
		for i := range keys {
			if !usable(&keys[i], header) {
				continue
			}
			fits++
			if _, err := token.Verify(keys[i].Key); err == nil {
				return nil
			}
		}
		if fits > 0 {
			return fmt.Errorf("oidc: %w", ErrSignature)
		}
		if tried || fresh {
			return fmt.Errorf("oidc: %w: it names a key that the issuer does not have", ErrSignature)
		}
		tried = true // the issuer may have a new key
	}
}

// usable says whether a key may have signed under a header. A header that names no key is tried with
// all of its kind.
func usable(key *jose.JSONWebKey, header jose.Header) bool {
	if header.KeyID != "" && key.KeyID != header.KeyID || key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(header.Algorithm, "RS") && public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return header.Algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[public.Curve.Params().BitSize]
	}
	return false
}

// current gives the issuer's keys: as they were fetched, or, if there are none or again says that
// they may have changed, fetched anew. Keys that are merely old serve until new ones have come, so an
// issuer that does not answer holds nobody up. fresh is whether they cannot be any newer.
func (s *source) current(ctx context.Context, again bool) (keys []jose.JSONWebKey, fresh bool, err error) {
	if s.provider.JWKSFile != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		// A file that has become unreadable leaves the keys that it had.
		if err := s.readFile(); err != nil && s.keys == nil {
			return nil, true, fmt.Errorf("oidc: %w: %w", ErrKeys, err)
		}
		return s.keys, true, nil
	}
	keys, age, err := s.state()
	switch {
	case err == nil && !again && age >= keysStand:
		s.work.Go(func() { s.refresh(ctx) }) // which goes on when ctx ends
		return keys, false, nil
	case err == nil && !again:
		return keys, false, nil
	}
	s.refresh(ctx)
	keys, _, err = s.state()
	return keys, false, err
}

// state gives the keys and how old they are, or why there are none that can be used.
func (s *source) state() (keys []jose.JSONWebKey, age time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age = s.now().Sub(s.fetched)
	switch {
	case s.fetched.IsZero() && s.failure == nil:
		return nil, 0, fmt.Errorf("oidc: %w: they were not asked for yet", ErrKeys)
	case s.fetched.IsZero() || age >= keysLast:
		return nil, 0, fmt.Errorf("oidc: %w: %w", ErrKeys, s.failure)
	}
	return s.keys, age, nil
}

// refresh fetches the keys unless that was tried just now. Who comes while it is being done waits for
// it and does not do it again.
func (s *source) refresh(ctx context.Context) {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	now := s.now()
	s.mu.Lock()
	soon := !s.tried.IsZero() && now.Sub(s.tried) < refetchAfter && !now.Before(s.tried)
	s.mu.Unlock()
	if soon {
		return
	}
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = now
	if s.failure = err; err == nil {
		s.keys, s.fetched = keys, now
	}
}

// fetch gets the issuer's keys by discovery. It goes on when the client whose request asked for it
// has gone: others wait for it.
func (s *source) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	text, err := s.get(ctx, strings.TrimSuffix(s.provider.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &discovery); err != nil {
		return nil, errors.New("the discovery document is no JSON object")
	}
	if discovery.Issuer != s.provider.Issuer {
		return nil, errors.New("the discovery document is of another issuer")
	}
	if err := s.reachable(discovery.JWKSURI); err != nil {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	if text, err = s.get(ctx, discovery.JWKSURI); err != nil {
		return nil, err
	}
	return parseKeys(text)
}

// reachable refuses a URL that the issuer says, where it may not lead: plain HTTP serves an issuer on
// this machine only. An issuer elsewhere could make the server ask what listens on loopback addresses.
func (s *source) reachable(text string) error {
	if strings.HasPrefix(s.provider.Issuer, "https:") && !strings.HasPrefix(text, "https:") {
		return fmt.Errorf("%q is not https, as the issuer is", text)
	}
	return checkURL(text)
}

func (s *source) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", address, response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("%s has more than %d bytes", address, maxDocument)
	}
	return text, nil
}

// parseKeys reads a key set. Keys that are of no use here, such as those of other kinds, are left
// out, as RFC 7517, section 5, asks.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("the key set is no JSON object with keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, member := range set.Keys {
		var key jose.JSONWebKey
		if err := json.Unmarshal(member, &key); err == nil && key.Valid() && key.IsPublic() {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no public key that can be used")
	}
	return keys, nil
}

// readFile reads the keys of JWKSFile if the file is another than before.
func (s *source) readFile() error {
	info, err := os.Stat(s.provider.JWKSFile)
	if err != nil {
		return err
	}
	stamp := fmt.Sprint(info.Size(), " ", info.ModTime().UnixNano())
	if stamp == s.stamp {
		return nil
	}
	text, err := os.ReadFile(s.provider.JWKSFile)
	if err != nil {
		return err
	}
	keys, err := parseKeys(bytes.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("%s: %w", s.provider.JWKSFile, err)
	}
	s.keys, s.stamp = keys, stamp
	return nil
}
