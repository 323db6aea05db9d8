// Package ops holds what AWS KMS means: one method for each operation, in small files by family,
// one table of all operations, and the ciphertext format. Every method follows the same order:
// resolve the key, authorise, check usage and algorithm, check the key's state, check the
// ciphertext, stop there for a dry run, then use the token and the store.
package ops

import (
	"errors"
	"log/slog"
	"time"

	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// Service is a KMS over one store and one domain of tokens. It is safe for concurrent use.
type Service struct {
	store      *keystore.Store
	domain     *hsm.Domain
	account    string
	region     string
	serves     func(region string) bool
	now        func() time.Time
	log        *slog.Logger
	operations map[string]Operation
	policies   policyCache
	callers    callerCache
	overdue    chan struct{} // wakes Run; holds one
	lastUses   *lastUses

	attestation *attest.Verifier
	clusters    []Cluster
	proxies     ExternalProxies
	connections *connections
}

// Config is what a Service needs. All fields but Serves, Now, Logger,
// Attestation, Clusters and Proxies are required.
type Config struct {
	Store   *keystore.Store
	Domain  *hsm.Domain
	Account string                   // the default account, 12 digits
	Region  string                   // the default Region, which is always served
	Serves  func(region string) bool // which other Regions are served; nil: none
	Now     func() time.Time         // time.Now if nil
	Logger  *slog.Logger             // for the work that no request waits for; nil: none
	// Attestation verifies the enclaves named as Recipient; nil refuses such requests.
	Attestation *attest.Verifier
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
		overdue:    make(chan struct{}, 1),
		lastUses:   newLastUses(),

		attestation: c.Attestation,
		clusters:    c.Clusters,
		proxies:     c.Proxies,
		connections: newConnections(),
	}
	if s.now == nil {
		s.now = time.Now
	}
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
