package ops

import (
	"context"
	"errors"
	"sync"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// Proxy is what an external key store proxy serves: tenants, their access keys, and external keys.
// An external key stands for a symmetric KMS key of this service or for a key object that is in a
// token. What a request looks like is package xks's affair. It is safe for concurrent use.
type Proxy struct {
	service *Service
	objects *hsm.ObjectTokens
	tenants cacheOf[keystore.XksTenantRecord, *ProxyTenant]
	secrets cacheOf[keystore.XksCredentialRecord, string]
	keys    cacheOf[keystore.XksKeyRecord, *ProxyKey]
}

// NewProxy makes a Proxy over a service and the tokens in which external keys may be objects; nil:
// none.
func NewProxy(s *Service, objects *hsm.ObjectTokens) *Proxy {
	if objects == nil {
		objects = hsm.NewObjectTokens(nil)
	}
	s.objects.Store(objects)
	return &Proxy{service: s, objects: objects}
}

// Why a request for an external key fails. They are matched with errors.Is; other errors are those
// of the token and of the store.
var (
	ErrNoTenant         = errors.New("no such tenant")
	ErrNoExternalKey    = errors.New("no such external key")
	ErrExternalKeyState = errors.New("the external key is not enabled")
	ErrExternalKeyUsage = errors.New("the external key does not support the operation")
	ErrExternalText     = errors.New("the ciphertext was not made by the external key with these additional authenticated data")
	ErrKeyManagerDown   = errors.New("the token of the external key does not answer")
)

// Tenant finds the tenant of a URI prefix: "/" for none.
func (p *Proxy) Tenant(ctx context.Context, prefix string) (*ProxyTenant, error) {
	record, err := p.service.store.XksTenant(ctx, prefix)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, ErrNoTenant
	}
	if err != nil {
		return nil, err
	}
	return p.tenants.get(prefix, record, func() (*ProxyTenant, error) { return newProxyTenant(record), nil })
}

// xksSealPurpose binds a sealed secret to its access key.
func xksSealPurpose(accessKeyID string) string { return "xks-credential/" + accessKeyID }

// Credential gives the secret of a tenant's access key and the tenant's prefix. The error is
// ErrUnknownAccessKey for one that does not exist or is disabled. The token opens a secret once;
// verifying signatures needs it in memory until the record changes.
func (p *Proxy) Credential(ctx context.Context, accessKeyID string) (secret, prefix string, err error) {
	record, err := p.service.store.XksCredential(ctx, accessKeyID)
	if errors.Is(err, keystore.ErrNotFound) || err == nil && record.Disabled {
		return "", "", ErrUnknownAccessKey
	}
	if err != nil {
		return "", "", err
	}
	secret, err = p.secrets.get(accessKeyID, record, func() (string, error) {
		plain, err := p.service.domain.Open(ctx, xksSealPurpose(accessKeyID), record.SealedSecret)
		defer clear(plain)
		return string(plain), err
	})
	return secret, record.Prefix, err
}

// Key finds a tenant's external key. One of another tenant does not exist for it.
func (p *Proxy) Key(ctx context.Context, prefix, id string) (*ProxyKey, error) {
	record, err := p.service.store.XksKey(ctx, id)
	if errors.Is(err, keystore.ErrNotFound) || err == nil && record.Prefix != prefix {
		return nil, ErrNoExternalKey
	}
	if err != nil {
		return nil, err
	}
	return p.keys.get(id, record, func() (*ProxyKey, error) { return p.open(ctx, record) })
}

// open finds what is behind an external key.
func (p *Proxy) open(ctx context.Context, record *keystore.XksKeyRecord) (*ProxyKey, error) {
	k := &ProxyKey{record: record}
	if record.Object == "" {
		arn, err := kms.ParseARN(record.KeyARN)
		if err != nil {
			return nil, err
		}
		k.behind = newProxiedKey(p.service, arn)
		return k, nil
	}
	object, err := p.objects.Key(ctx, record.Object)
	if err != nil {
		return nil, objectError(err)
	}
	k.behind = proxiedObject{object}
	return k, nil
}

// TokenHealth is how one token is.
type TokenHealth = hsm.TokenHealth

// Fleet tests the tokens that the proxy's keys are in, the domain's and those with key objects.
func (p *Proxy) Fleet(ctx context.Context) []TokenHealth {
	return append(p.service.domain.Fleet(ctx), p.objects.Fleet(ctx, p.service.domain)...)
}

// proxyError says what a token's error means for an external key.
func proxyError(err error) error {
	if err == nil {
		return nil // without looking, since every call that went well comes here
	}
	for _, c := range []struct{ is, means error }{
		{hsm.ErrBadCiphertext, ErrExternalText},
		{hsm.ErrNotUsable, ErrExternalKeyUsage},
		{hsm.ErrTokenDown, ErrKeyManagerDown},
	} {
		if errors.Is(err, c.is) {
			return &meaningError{c.means, err}
		}
	}
	return err
}

// objectError is proxyError for key objects, which can be missing.
func objectError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, hsm.ErrNotFound) {
		return &meaningError{ErrNoExternalKey, err}
	}
	return proxyError(err)
}

// meaningError is an error with what it means to the caller; the cause is for the log.
type meaningError struct{ means, cause error }

func (e *meaningError) Error() string   { return e.means.Error() + ": " + e.cause.Error() }
func (e *meaningError) Unwrap() []error { return []error{e.means, e.cause} }

// cacheOf keeps what was made of a record for as long as the store gives the same record.
type cacheOf[R, V any] struct {
	mu      sync.RWMutex
	entries map[string]madeOf[R, V]
}

type madeOf[R, V any] struct {
	record *R
	value  V
}

// cacheOfBound is the number of records kept. A full cache starts anew.
const cacheOfBound = 10_000

func (c *cacheOf[R, V]) get(id string, record *R, make func() (V, error)) (V, error) {
	c.mu.RLock()
	known, ok := c.entries[id]
	c.mu.RUnlock()
	if ok && known.record == record {
		return known.value, nil
	}
	value, err := make()
	if err != nil {
		return value, err
	}
	c.put(id, record, value)
	return value, nil
}

func (c *cacheOf[R, V]) put(id string, record *R, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= cacheOfBound {
		c.entries = map[string]madeOf[R, V]{}
	}
	c.entries[id] = madeOf[R, V]{record, value}
}
