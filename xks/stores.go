package xks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/kms11/kms11/ops"
)

// Stores opens the proxies of external key stores, as package ops needs it. The zero value is a KMS
// with AWS's own rules: port 443 on
// the public Internet, public certificate authorities, 250 ms.
type Stores struct {
	// Ports lets an endpoint have a port.
	Ports bool
	// Networks are where proxies may be. None: on the public Internet, and with Ports or RootCAs in private
	// networks too, but never on this machine, on its link or at a cloud's metadata service.
	Networks []netip.Prefix
	// RootCAs verify the proxies' certificates; nil: the system's.
	RootCAs *x509.CertPool
	// Certificates are the client's own, for proxies that want one.
	Certificates []tls.Certificate
	// Budget bounds a request with everything that it takes, a second try included; 0: DefaultTimeout.
	Budget time.Duration
	// InFlight bounds the requests to one proxy at a time; 0: 256. More wait for as long as their
	// budget lasts.
	InFlight int
	// Logger gets what becomes of a proxy; nil discards it.
	Logger *slog.Logger
}

const defaultInFlight = 256

// AllowPorts implements ops.ExternalProxies.
func (s *Stores) AllowPorts() bool { return s.Ports }

// Open implements ops.ExternalProxies.
func (s *Stores) Open(a ops.ProxyAddress) (ops.ExternalProxy, error) {
	budget, inFlight, log := s.Budget, s.InFlight, s.Logger
	if budget == 0 {
		budget = DefaultTimeout
	}
	if inFlight == 0 {
		inFlight = defaultInFlight
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	client, err := NewClient(ClientConfig{
		Endpoint:        a.Endpoint,
		URIPath:         a.Path,
		AccessKeyID:     a.AccessKeyID,
		Secret:          a.Secret,
		Region:          a.Region,
		RootCAs:         s.RootCAs,
		Certificates:    s.Certificates,
		Timeout:         budget,
		IdleConnections: inFlight,
		Allowed:         s.allows,
	})
	if err != nil {
		return nil, err
	}
	return &storeProxy{client: client, budget: budget, breaker: newBreaker(inFlight, log.With("proxy", a.Endpoint+a.Path))}, nil
}

// storeProxy is the proxy of one external key store: a client with a budget, a second try and a
// breaker.
type storeProxy struct {
	client  *Client
	budget  time.Duration
	breaker *breaker
}

// faults are the errors of a client that no proxy sent. Nothing writes to it.
var faults = []struct {
	err   error
	fault ops.ProxyFault
}{
	{ErrTimeout, ops.ProxyTimeout},
	{ErrTLS, ops.ProxyTLS},
	{ErrForbidden, ops.ProxyForbidden},
	{ErrUnreachable, ops.ProxyUnreachable},
	{ErrMalformed, ops.ProxyMalformed},
}

// fault turns an error of the client into one of package ops.
func fault(err error) error {
	var answer *Error
	var already *ops.ProxyError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.As(err, &already):
		return err
	case errors.As(err, &answer):
		return &ops.ProxyError{Fault: ops.ProxyFault(answer.Name), Cause: err}
	}
	for _, f := range faults {
		if errors.Is(err, f.err) {
			return &ops.ProxyError{Fault: f.fault, Cause: err}
		}
	}
	return &ops.ProxyError{Fault: ops.ProxyMalformed, Cause: err}
}

// do runs one request within the budget. One whose connection broke, or did not come about, goes out
// once more while at least half of the budget is left: no operation of a proxy changes anything.
func (p *storeProxy) do(ctx context.Context, request func(context.Context) error) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.budget)
	defer cancel()
	leave, err := p.breaker.enter(ctx)
	if err != nil {
		return fault(err)
	}
	if err = request(ctx); errors.Is(err, ErrUnreachable) && time.Since(began) < p.budget/2 {
		err = request(ctx)
	}
	leave(err)
	return fault(err)
}

func metadataOf(c ops.ProxyCall) RequestMetadata {
	return RequestMetadata{PrincipalARN: c.PrincipalARN, KeyARN: c.KeyARN, Operation: c.Operation, RequestID: c.RequestID}
}

// Health implements ops.ExternalProxy.
func (p *storeProxy) Health(ctx context.Context, call ops.ProxyCall) error {
	var answer HealthResponse
	err := p.do(ctx, func(ctx context.Context) (err error) {
		answer, err = p.client.Health(ctx, HealthRequest{Metadata: RequestMetadata{Operation: call.Operation, RequestID: call.RequestID}})
		return err
	})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(answer.EKMFleet, func(e EKMDetails) bool { return e.Health != StatusUnavail }) {
		return &ops.ProxyError{Fault: ops.ProxyUnhealthy, Cause: errors.New("all external key managers are unavailable")}
	}
	return nil
}

// Describe implements ops.ExternalProxy.
func (p *storeProxy) Describe(ctx context.Context, call ops.ProxyCall, keyID string) (ops.ExternalKey, error) {
	var answer MetadataResponse
	err := p.do(ctx, func(ctx context.Context) (err error) {
		answer, err = p.client.GetMetadata(ctx, keyID, MetadataRequest{Metadata: metadataOf(call)})
		return err
	})
	return ops.ExternalKey{Spec: answer.KeySpec, Status: answer.KeyStatus, Usage: answer.KeyUsage}, err
}

// Encrypt implements ops.ExternalProxy. The integrity value is asked for and checked.
func (p *storeProxy) Encrypt(ctx context.Context, call ops.ProxyCall, keyID string, aad, plaintext []byte) (ops.ExternalSealed, error) {
	var answer EncryptResponse
	err := p.do(ctx, func(ctx context.Context) (err error) {
		answer, err = p.client.Encrypt(ctx, keyID, EncryptRequest{
			Metadata: metadataOf(call), AAD: aad, Plaintext: plaintext, Integrity: IntegritySHA256,
		})
		return err
	})
	return ops.ExternalSealed{Ciphertext: answer.Ciphertext, IV: answer.IV, Tag: answer.Tag, Metadata: answer.Metadata}, err
}

// Decrypt implements ops.ExternalProxy.
func (p *storeProxy) Decrypt(ctx context.Context, call ops.ProxyCall, keyID string, aad []byte, sealed ops.ExternalSealed) ([]byte, error) {
	var answer DecryptResponse
	err := p.do(ctx, func(ctx context.Context) (err error) {
		answer, err = p.client.Decrypt(ctx, keyID, DecryptRequest{
			Metadata: metadataOf(call), AAD: aad,
			Ciphertext: sealed.Ciphertext, CiphertextMetadata: sealed.Metadata, IV: sealed.IV, Tag: sealed.Tag,
		})
		return err
	})
	return answer.Plaintext, err
}

// Close implements ops.ExternalProxy.
func (p *storeProxy) Close() { p.client.Close() }
