package ops

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
)

// connections are those of this process to the tokens and proxies of custom key stores. The records
// in the keystore say what should be connected; Run follows them.
type connections struct {
	awake chan struct{} // wakes Run; holds one

	mu      sync.Mutex
	closed  bool
	byStore map[keystore.CustomKeyStoreID]*connection
	changed chan struct{} // closed, and replaced, when a connection comes or goes or fails
	// tended are the stores that a goroutine looks after; true has it look again at the end.
	tended map[keystore.CustomKeyStoreID]bool
}

// connection is one of one generation of a store's record.
type connection struct {
	generation uint32
	vault      *hsm.Vault    // of AWS_CLOUDHSM
	proxy      ExternalProxy // of EXTERNAL_KEY_STORE
	uri        string        // of the token while there is no vault

	// err is why there is neither, retry when to try again and delay how long it was put off.
	err   error
	retry time.Time
	delay time.Duration
}

func newConnections() *connections {
	return &connections{
		awake:   make(chan struct{}, 1),
		byStore: make(map[keystore.CustomKeyStoreID]*connection),
		changed: make(chan struct{}),
		tended:  make(map[keystore.CustomKeyStoreID]bool),
	}
}

// wake has Run look at the stores. It never waits.
func (c *connections) wake() {
	select {
	case c.awake <- struct{}{}:
	default:
	}
}

// announce says that something changed. mu is held.
func (c *connections) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// vaultWait bounds how long a request waits for a connection that is being made: after a start, and
// when another node has connected a store.
const vaultWait = 5 * time.Second

var errNotConnected = errors.New("this process is not connected to the custom key store yet")

// vaultOf gives the vault of a store that is connected.
func (s *Service) vaultOf(ctx context.Context, r *keystore.CustomKeyStoreRecord) (*hsm.Vault, error) {
	c := s.connections
	deadline := time.After(vaultWait)
	for {
		c.mu.Lock()
		have, changed := c.byStore[r.CustomKeyStoreID()], c.changed
		if have != nil && have.generation == r.Generation {
			vault, err := have.vault, have.err
			c.mu.Unlock()
			if vault == nil {
				return nil, err
			}
			return vault, nil
		}
		c.mu.Unlock()
		c.wake()
		select {
		case <-changed:
		case <-deadline:
			return nil, errNotConnected
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// proxyOf gives the proxy of a store that is connected. It is opened by the first request.
func (s *Service) proxyOf(ctx context.Context, r *keystore.CustomKeyStoreRecord) (ExternalProxy, error) {
	c, id := s.connections, r.CustomKeyStoreID()
	c.mu.Lock()
	have := c.byStore[id]
	c.mu.Unlock()
	if have != nil && have.generation == r.Generation && have.proxy != nil {
		return have.proxy, nil
	}
	proxy, err := s.openProxy(ctx, r)
	if err != nil {
		return nil, err
	}
	return c.keepProxy(id, r.Generation, proxy)
}

// openProxy makes what reaches the proxy of a store.
func (s *Service) openProxy(ctx context.Context, r *keystore.CustomKeyStoreRecord) (ExternalProxy, error) {
	if s.proxies == nil {
		return nil, errors.New("ops: the server has no settings for external key stores")
	}
	plain, err := s.domain.Open(ctx, secretPurpose(r.ID), r.External.SealedSecret)
	if err != nil {
		return nil, tokenError(err)
	}
	defer clear(plain)
	proxy, err := s.proxies.Open(addressOf(r, string(plain)))
	if err != nil {
		return nil, &ProxyError{Fault: ProxyTLS, Cause: err}
	}
	return proxy, nil
}

// keepProxy keeps a proxy that was opened, unless another request was faster.
func (c *connections) keepProxy(id keystore.CustomKeyStoreID, generation uint32, proxy ExternalProxy) (ExternalProxy, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.byStore[id]
	if have != nil && have.generation == generation && have.proxy != nil {
		proxy.Close()
		return have.proxy, nil
	}
	if c.closed {
		return proxy, nil // for this one request
	}
	if have != nil && have.proxy != nil {
		have.proxy.Close()
	}
	c.byStore[id] = &connection{generation: generation, proxy: proxy}
	return proxy, nil
}

// CloseKeyStores ends the connections to custom key stores. It comes after the last request and after
// Run has ended.
func (s *Service) CloseKeyStores() error {
	c := s.connections
	c.mu.Lock()
	all := c.byStore
	c.byStore, c.closed = map[keystore.CustomKeyStoreID]*connection{}, true
	c.announce()
	c.mu.Unlock()
	var errs []error
	for id, connection := range all {
		if err := connection.close(); err != nil {
			errs = append(errs, fmt.Errorf("custom key store %s: %w", id.ID, err))
		}
	}
	return errors.Join(errs...)
}

// close ends the sessions of a connection.
func (c *connection) close() error {
	if c.proxy != nil {
		c.proxy.Close()
	}
	if c.vault != nil {
		return c.vault.Close()
	}
	return nil
}
