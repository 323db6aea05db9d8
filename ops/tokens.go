package ops

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
)

// TokenUse is what a token is for.
type TokenUse string

// The uses of tokens.
const (
	TokenOfDomain   TokenUse = "domain"   // of the keystore, and of all Regions without tokens of their own
	TokenOfRegion   TokenUse = "region"   // of one Region
	TokenOfKeyStore TokenUse = "keystore" // of a custom key store
	TokenOfXKS      TokenUse = "xks"      // of the XKS proxy alone
)

// TokenStatus is how one of the service's tokens is.
type TokenStatus struct {
	Use      TokenUse `json:"use"`
	Region   string   `json:"region,omitempty"`   // of TokenOfRegion and TokenOfKeyStore
	KeyStore string   `json:"keyStore,omitempty"` // of TokenOfKeyStore
	hsm.TokenState
}

// Tokens tells how every token is that the service uses, as hsm.Token.State does: it asks none of them
// and answers at once. A token that could not be opened yet, and so is not known but by its URI, is down
// since no time that is known.
func (s *Service) Tokens() []TokenStatus {
	var all []TokenStatus
	add := func(as TokenStatus, states []hsm.TokenState) {
		for _, state := range states {
			as.TokenState = state
			all = append(all, as)
		}
	}
	add(TokenStatus{Use: TokenOfDomain}, s.domain.Tokens())
	regions := s.domains.Load().byRegion
	for _, region := range slices.Sorted(maps.Keys(regions)) {
		states := absent(s.regionURIs[region], fmt.Sprintf("the tokens of Region %s could not be opened yet", region))
		if d := regions[region]; d != nil {
			states = d.Tokens()
		}
		add(TokenStatus{Use: TokenOfRegion, Region: region}, states)
	}
	all = append(all, s.connections.tokens()...)
	if objects := s.objects.Load(); objects != nil {
		add(TokenStatus{Use: TokenOfXKS}, objects.Tokens(s.domain))
	}
	return all
}

// absent is the state of tokens that are not there.
func absent(uris []string, cause string) []hsm.TokenState {
	var all []hsm.TokenState
	for _, uri := range uris {
		all = append(all, hsm.TokenState{URI: uri, Cause: cause})
	}
	return all
}

// tokens tells how the tokens of the custom key stores are that should be connected.
func (c *connections) tokens() []TokenStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []TokenStatus
	for _, id := range slices.SortedFunc(maps.Keys(c.byStore), compareKeyStores) {
		connection := c.byStore[id]
		as := TokenStatus{Use: TokenOfKeyStore, Region: id.Region, KeyStore: id.ID}
		switch {
		case connection.vault != nil:
			as.TokenState = connection.vault.Token()
		case connection.err != nil:
			as.TokenState = hsm.TokenState{URI: connection.uri, Cause: connection.err.Error()}
		default:
			continue // an external key store
		}
		all = append(all, as)
	}
	return all
}

func compareKeyStores(a, b keystore.CustomKeyStoreID) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Account, b.Account))
}
