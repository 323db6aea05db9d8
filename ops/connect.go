package ops

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const (
	// connectionsPeriod is how often Run looks at the stores unasked: other nodes change their records.
	connectionsPeriod = 15 * time.Second
	// The delays between attempts to reach the token of a store that is connected.
	firstReconnect = 250 * time.Millisecond
	lastReconnect  = 30 * time.Second
	// tryingBound is how long one node waits for the outcome of another one's first login with a
	// password. Nobody tries it again after that: a process may have ended in the middle of it.
	tryingBound = time.Minute
)

// keepConnections follows the records until ctx ends.
func (s *Service) keepConnections(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.connections.awake:
		}
		if err := s.followKeyStores(ctx, &work); err != nil && ctx.Err() == nil {
			s.log.Error("custom key stores cannot be read and will be looked at again", "error", err)
		}
		timer.Reset(s.connections.next())
	}
}

// ConnectKeyStores brings the connections in step with the records once, and waits for it. Run does so
// all the time.
func (s *Service) ConnectKeyStores(ctx context.Context) error {
	var work sync.WaitGroup
	err := s.followKeyStores(ctx, &work)
	work.Wait()
	return err
}

// next is how long Run may wait until an attempt is due.
func (c *connections) next() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := connectionsPeriod
	for _, connection := range c.byStore {
		if connection.err != nil {
			wait = min(wait, time.Until(connection.retry))
		}
	}
	return max(wait, firstReconnect/5) // an attempt that is due may be under way
}

// followKeyStores starts what there is to do for each store: one goroutine for each, so that a token
// that hangs holds up nobody else's.
func (s *Service) followKeyStores(ctx context.Context, work *sync.WaitGroup) error {
	ids, err := s.store.ScanCustomKeyStores(ctx)
	if err != nil {
		return err
	}
	s.connections.mu.Lock()
	for id := range s.connections.byStore {
		ids = append(ids, id) // some may have been deleted
	}
	s.connections.mu.Unlock()
	seen := make(map[keystore.CustomKeyStoreID]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		if !s.connections.take(id) {
			continue // its goroutine looks at the record again before it ends
		}
		work.Go(func() {
			for again := true; again && ctx.Err() == nil; {
				err := s.followKeyStore(ctx, id)
				if err != nil && ctx.Err() == nil {
					s.log.Error("a custom key store could not be looked after", "store", id.ID, "error", err)
				}
				again = s.connections.give(id)
			}
		})
	}
	return nil
}

// take makes the caller the one who looks after a store.
func (c *connections) take(id keystore.CustomKeyStoreID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if _, tended := c.tended[id]; tended {
		c.tended[id] = true // the one who does looks again
		return false
	}
	c.tended[id] = false
	return true
}

// give ends it, or answers true to have the caller look again.
func (c *connections) give(id keystore.CustomKeyStoreID) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tended[id] {
		c.tended[id] = false
		return true
	}
	delete(c.tended, id)
	return false
}

// followKeyStore does what a store's record calls for.
func (s *Service) followKeyStore(ctx context.Context, id keystore.CustomKeyStoreID) error {
	record, err := s.store.CustomKeyStore(ctx, id)
	if errors.Is(err, keystore.ErrNotFound) {
		return s.connections.drop(id)
	}
	if err != nil {
		return err
	}
	wanted := record.State == kms.ConnectionStateTypeConnected || record.State == kms.ConnectionStateTypeConnecting
	if have := s.connections.get(id); have != nil && (!wanted || have.generation != record.Generation) {
		if err := s.connections.drop(id); err != nil {
			s.log.Warn("a custom key store's sessions did not end in good order", "store", id.ID, "error", err)
		}
	}
	switch {
	case !wanted:
		return nil
	case record.External != nil:
		return s.followProxy(ctx, record)
	}
	return s.followVault(ctx, record)
}

// get gives the connection of a store, nil if there is none.
func (c *connections) get(id keystore.CustomKeyStoreID) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byStore[id]
}

// set replaces the connection of a store. After CloseKeyStores it ends the new one instead.
func (c *connections) set(id keystore.CustomKeyStoreID, now *connection) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return now.close()
	}
	c.byStore[id] = now
	c.announce()
	c.mu.Unlock()
	return nil
}

// drop ends the connection of a store. Its requests wait until that is done.
func (c *connections) drop(id keystore.CustomKeyStoreID) error {
	c.mu.Lock()
	have := c.byStore[id]
	if have == nil {
		c.mu.Unlock()
		return nil
	}
	delete(c.byStore, id)
	c.announce()
	c.mu.Unlock()
	return have.close()
}

// followProxy ends the attempt to connect an external store. A connected one needs nothing: requests
// open its proxy.
func (s *Service) followProxy(ctx context.Context, r *keystore.CustomKeyStoreRecord) error {
	if r.State != kms.ConnectionStateTypeConnecting {
		return nil
	}
	request, err := s.newKeyID(ctx, r.Region, false)
	if err != nil {
		return err
	}
	proxy, err := s.proxyOf(ctx, r)
	if err == nil {
		err = proxy.Health(ctx, ProxyCall{Operation: "ConnectCustomKeyStore", RequestID: request})
	}
	if ctx.Err() != nil {
		return nil // the next process tries it
	}
	return s.concludeConnection(ctx, r, err, nil)
}

// connectionCodes are the codes of errors of a token, the first that matches.
var connectionCodes = []struct {
	err  error
	code kms.ConnectionErrorCodeType
}{
	{hsm.ErrPINLocked, kms.ConnectionErrorCodeTypeUserLockedOut},
	{hsm.ErrNoUser, kms.ConnectionErrorCodeTypeUserNotFound},
	{hsm.ErrLoggedIn, kms.ConnectionErrorCodeTypeUserLoggedIn},
	{hsm.ErrPIN, kms.ConnectionErrorCodeTypeInvalidCredentials},
	{hsm.ErrNotFound, kms.ConnectionErrorCodeTypeClusterNotFound},
	{hsm.ErrWrongToken, kms.ConnectionErrorCodeTypeClusterNotFound},
	{fs.ErrNotExist, kms.ConnectionErrorCodeTypeClusterNotFound}, // its library
	{hsm.ErrTokenDown, kms.ConnectionErrorCodeTypeNetworkErrors},
}

// connectionCode says why a connection failed.
func connectionCode(err error) kms.ConnectionErrorCodeType {
	var before errRefused
	if errors.As(err, &before) {
		return kms.ConnectionErrorCodeType(before)
	}
	if row, ok := faultOf(err); ok {
		return row.connection
	}
	for _, c := range connectionCodes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return kms.ConnectionErrorCodeTypeInternalError
}

// concludeConnection writes the outcome of an attempt, unless the record has moved on. change adds
// what else is to be written.
func (s *Service) concludeConnection(ctx context.Context, tried *keystore.CustomKeyStoreRecord, failure error, change func(*keystore.CustomKeyStoreRecord)) error {
	if failure != nil {
		s.log.Error("a custom key store could not be connected", "store", tried.ID, "code", connectionCode(failure), "error", failure)
	} else {
		s.log.Info("custom key store connected", "store", tried.ID, "name", tried.Name)
	}
	return s.store.Update(ctx, func(tx *keystore.Tx) error {
		current, err := tx.CustomKeyStore(tried.CustomKeyStoreID())
		if errors.Is(err, keystore.ErrNotFound) || err == nil && (current.Generation != tried.Generation || current.State != tried.State) {
			return nil
		}
		if err != nil {
			return err
		}
		r := current.Clone()
		r.State, r.ErrorCode = kms.ConnectionStateTypeConnected, ""
		if failure != nil {
			r.State, r.ErrorCode = kms.ConnectionStateTypeFailed, connectionCode(failure)
		}
		if change != nil {
			change(r)
		}
		return tx.PutCustomKeyStore(r)
	})
}
