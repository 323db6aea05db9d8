package keystore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kms11/kms11/kms"
)

// Store is the keystore of a service: records, their rules and a cache of them. All methods may
// be called from many goroutines.
type Store struct {
	engine Engine
	auth   Authenticator
	id     string
	cache  *cache

	// header is the newest header that was verified or written here.
	header atomic.Pointer[verifiedHeader]

	stop    context.CancelFunc
	stopped chan struct{} // closed when the change feed's reader has returned
}

// Options are the settings of a Store. The zero value is good.
type Options struct {
	// CacheRecords is how many records to keep in memory at most: 0 is 100,000, a negative number
	// none. A key's record takes 2 to 4 KB with a policy of AWS's default kind.
	CacheRecords int
}

const defaultCacheRecords = 100_000

// Create makes a store for domain d in an empty engine and opens it with default options. The
// error is ErrExists if there is a store, or anything else, in the engine. a must be the domain's.
func Create(ctx context.Context, e Engine, d kms.Domain, a Authenticator) (*Store, error) {
	content := headerContent{StoreID: newStoreID(), Created: time.Now(), Domain: d}
	h := Header{Domain: d}
	if v := a.RecordKeyVersion(); !h.hasRecordKey(v) {
		return nil, fmt.Errorf("creating the keystore: %w: the domain does not have record key %d", ErrInvalid, v)
	}
	raw, err := sealRecord(ctx, a, headerKind, "", headerPlace, 1, &content)
	if err != nil {
		return nil, fmt.Errorf("creating the keystore: %w", err)
	}
	err = e.Update(ctx, func(tx EngineTx) error {
		if _, err := getHeader(tx); err == nil || errors.Is(err, ErrTampered) {
			return ErrExists
		} else if !errors.Is(err, ErrNoStore) {
			return err
		}
		return tx.Put([]byte(headerPlace), raw)
	})
	if err != nil {
		return nil, fmt.Errorf("creating the keystore: %w", err)
	}
	return Open(ctx, e, a, Options{})
}

// Open opens the store in e after verifying its header with a. The error is ErrNoStore if the
// engine is empty, ErrTampered if the header is gone or is not what a's domain wrote, ErrFormat if
// a newer program wrote it. ctx bounds the opening only.
//
// The Store does not own e: close the Store first, then the engine.
func Open(ctx context.Context, e Engine, a Authenticator, o Options) (*Store, error) {
	raw, err := readRawHeader(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("opening the keystore: %w", err)
	}
	h, err := verifyHeader(ctx, a, raw, nil)
	if err != nil {
		return nil, fmt.Errorf("opening the keystore: %w", err)
	}
	if o.CacheRecords == 0 {
		o.CacheRecords = defaultCacheRecords
	}
	s := &Store{engine: e, auth: a, id: h.StoreID, cache: newCache(o.CacheRecords), stopped: make(chan struct{})}
	s.header.Store(h)

	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	feed, err := e.Watch(life)
	if err != nil {
		stop()
		return nil, fmt.Errorf("opening the keystore: %w", err)
	}
	s.stop = stop
	s.cache.reset(true)
	go s.follow(life, feed)
	return s, nil
}

// Close ends the reading of the change feed and empties the cache. The engine stays open.
func (s *Store) Close() error {
	s.stop()
	<-s.stopped
	return nil
}

// Created is when the store was made. It never changes and is known without reading.
func (s *Store) Created() time.Time { return s.header.Load().Created }

// Header reads and verifies the store's header.
func (s *Store) Header(ctx context.Context) (Header, error) {
	raw, err := readRawHeader(ctx, s.engine)
	if errors.Is(err, ErrNoStore) {
		err = errHeaderGone
	}
	if err != nil {
		return Header{}, err
	}
	// A snapshot may be older than a header written meanwhile, so this one is not compared with
	// the newest, but it must be the same store's.
	h, err := verifyHeader(ctx, s.auth, raw, nil)
	if err != nil {
		return Header{}, err
	}
	if h.StoreID != s.id {
		return Header{}, tampered(headerPlace, errors.New("it is the header of another store"))
	}
	s.advance(h)
	return h.Header, nil
}

var errHeaderGone = tampered(headerPlace, errors.New("it was there when the store was opened and is gone"))

// advance remembers a verified header unless a newer one is known.
func (s *Store) advance(h *verifiedHeader) {
	for {
		known := s.header.Load()
		if h.Revision <= known.Revision || s.header.CompareAndSwap(known, h) {
			return
		}
	}
}

// hasRecordKey says whether the domain has this record key. A version that the known header does
// not list may have been added by another node: then the header is read again.
func (s *Store) hasRecordKey(ctx context.Context, version uint32) (bool, error) {
	if s.header.Load().hasRecordKey(version) {
		return true, nil
	}
	h, err := s.Header(ctx)
	return err == nil && h.hasRecordKey(version), err
}

// load gives the record at key, from the cache if it is there. The record is shared.
func load[T any](ctx context.Context, s *Store, k kind[T], key engineKey) (*T, error) {
	h, err := hold(ctx, s, k, key)
	if err != nil {
		return nil, err
	}
	return h.Record(), nil
}

func loadFromEngine[T any](ctx context.Context, s *Store, k kind[T], place string) (*entry, error) {
	t := s.cache.ticket([]byte(place))
	var raw []byte
	err := s.engine.View(ctx, func(tx EngineTx) error {
		b, err := tx.Get([]byte(place))
		raw = append([]byte(nil), b...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", place, err)
	}
	record, env, err := openRecord(ctx, s.auth, k, s.id, place, raw, func(version uint32) (bool, error) {
		return s.hasRecordKey(ctx, version)
	})
	if err != nil {
		return nil, err
	}
	if err := s.checkRevision(ctx, place, env.revision); err != nil {
		return nil, err
	}
	e := &entry{record: record, digest: sha256.Sum256(raw)}
	s.cache.put(t, place, e)
	return e, nil
}

// checkRevision refuses a record that is newer than the store's header. A header read after the
// record is at least as new, unless it was put back.
func (s *Store) checkRevision(ctx context.Context, place string, revision uint64) error {
	if revision <= s.header.Load().Revision {
		return nil
	}
	h, err := s.Header(ctx)
	if err != nil {
		return err
	}
	if revision > h.Revision {
		return fromTheFuture(place, revision, h.Revision)
	}
	return nil
}

func fromTheFuture(place string, revision, header uint64) error {
	return tampered(place, fmt.Errorf("its revision %d is later than the store's %d: an old header was put back", revision, header))
}
