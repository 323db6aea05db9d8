// Package ops holds what AWS KMS means: one method for each operation, in small files by family,
// one table of all operations, and the ciphertext format. Every method follows the same order:
// resolve the key, authorise, check usage and algorithm, check the key's state, check the
// ciphertext, stop there for a dry run, then use the token and the store.
package ops

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// Service is a KMS over one store and its tokens: one domain, and others for the Regions that have
// tokens of their own. It is safe for concurrent use.
type Service struct {
	store      *keystore.Store
	domain     *hsm.Domain // the store's
	domains    atomic.Pointer[domainTable]
	account    string
	region     string
	serves     func(region string) bool
	now        func() time.Time
	log        *slog.Logger
	operations map[string]Operation
	actions    map[string]string // the names of policies for actions: "kms:Encrypt" for "Encrypt"
	conditions map[string]*conditionKey
	policies   policyCache
	callers    callerCache
	overdue    chan struct{} // wakes Run; holds one
	lastUses   *lastUses
	limits     limits
	services   services
	rotations  *rotations // of domain keys

	attestation *attest.Verifier

	files    atomic.Pointer[identitySet] // what the identities directory says; never nil
	sessions sessionCache
	mapped   mapped
	borne    borneCache
	web      WebIdentities

	audit        *audit.Trail // nil: no audit
	outbox       outbox
	unidentified *unidentified
	forged       *forged

	clusters    []Cluster
	proxies     ExternalProxies
	connections *connections

	regionURIs map[string][]string
	objects    atomic.Pointer[hsm.ObjectTokens] // of the XKS proxy; nil until there is one
}

// Config is what a Service needs. All fields but Regions, RegionURIs, Serves, Now, Logger, Quotas, Services,
// Attestation, WebIdentities, Audit, Clusters and Proxies are required.
type Config struct {
	Store  *keystore.Store
	Domain *hsm.Domain // the store's, and that of the Regions without one of their own
	// Regions are the domains of Regions that have one of their own. nil stands for one that is not open
	// yet: see OpenRegion.
	Regions map[string]*hsm.Domain
	// RegionURIs are the URIs, by URI.WithoutPIN, of the tokens of such Regions, by which those are named that
	// are not open yet.
	RegionURIs map[string][]string
	Account    string                   // the default account, 12 digits
	Region     string                   // the default Region, which is always served
	Serves     func(region string) bool // which other Regions are served; nil: none
	Now        func() time.Time         // time.Now if nil
	Logger     *slog.Logger             // for the work that no request waits for; nil: none
	Quotas     Quotas                   // the zero value: AWS's, without rates of requests
	// Services are the services that use keys for the accounts they serve; none unless set.
	Services []ServiceIdentity
	// Attestation verifies the enclaves named as Recipient; nil refuses such requests.
	Attestation *attest.Verifier
	// OpenToken opens a token for a rotation of domain keys, once for each URI; nil opens none. It belongs
	// to the caller.
	OpenToken func(ctx context.Context, uri string) (*hsm.Token, error)
	// WebIdentities verifies the tokens of OpenID Connect issuers; nil knows no issuer.
	WebIdentities WebIdentities
	// Audit takes an event for every request and for what the service does by itself; nil: none.
	Audit *audit.Trail
	// Clusters are the tokens that custom key stores can be in; nil: none.
	Clusters []Cluster
	// Proxies opens external key store proxies; nil: there can be no external key stores.
	Proxies ExternalProxies
}

// New makes a Service. It does not take over the store or the domain: closing them is the
// caller's part, after the last request.
func New(c Config) *Service {
	s := &Service{
		store:      c.Store,
		domain:     c.Domain,
		account:    c.Account,
		region:     c.Region,
		serves:     c.Serves,
		now:        c.Now,
		log:        c.Logger,
		operations: make(map[string]Operation),
		actions:    actionNames(),
		conditions: conditionKeysByName(),
		overdue:    make(chan struct{}, 1),
		lastUses:   newLastUses(),
		services:   newServices(c.Services),
		rotations:  newRotations(c.OpenToken),

		attestation: c.Attestation,
		web:         c.WebIdentities,
		audit:       c.Audit,
		clusters:    c.Clusters,
		proxies:     c.Proxies,
		connections: newConnections(),
		regionURIs:  c.RegionURIs,
	}
	s.files.Store(&identitySet{})
	s.domains.Store(newDomainTable(c.Regions))
	if s.now == nil {
		s.now = time.Now
	}
	s.limits = newLimits(c.Quotas, s)
	s.unidentified, s.forged = newUnidentified(s.now), newForged(s.now)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, operation := range operations() {
		s.operations[operation.Name] = operation
	}
	return s
}

// Serves says whether requests for a Region are served, and keys can be replicated to it.
func (s *Service) Serves(region string) bool {
	return region == s.region || s.serves != nil && s.serves(region)
}

// Operation finds an operation by its AWS name.
func (s *Service) Operation(name string) (Operation, bool) {
	operation, ok := s.operations[name]
	return operation, ok
}

// tokenError says to a client what a token's error means for the key it concerns.
func tokenError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hsm.ErrBadCiphertext):
		return kms.InvalidCiphertextException.Err().Because(err)
	case errors.Is(err, hsm.ErrTokenDown):
		return kms.Errorf(kms.KeyUnavailableException, "The request was rejected because the specified KMS key was not available. You can retry the request.").Because(err)
	case errors.Is(err, hsm.ErrUnsupported):
		return kms.Errorf(kms.UnsupportedOperationException, "The token that holds the key does not support the operation: %v.", err).Because(err)
	}
	return err
}
