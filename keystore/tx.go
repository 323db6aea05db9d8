package keystore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/kms11/kms11/kms"
)

// Tx is a transaction over records. It sees its own writes. It belongs to the goroutine that runs
// Update's function and ends with it.
type Tx struct {
	ctx    context.Context
	store  *Store
	engine EngineTx

	before    *verifiedHeader // as it was when the transaction began
	content   headerContent   // as it is to be written
	domainSet bool            // content differs from before
	written   []string        // engine keys, the header's not among them
	err       error           // the first failed write: nothing may be committed after it
}

// errNothingWritten rolls back a transaction that only read: there is nothing to make durable.
var errNothingWritten = errors.New("nothing written")

// Update runs fn in a serialisable transaction and commits its writes under the next revision of
// the store, or none of them if fn fails. When it returns nil the writes are durable and every
// later read sees them; when it returns an error after fn succeeded they may have happened or not.
// Errors of fn come back as they are.
//
// fn may run more than once, must have no effects outside tx that a second run would not undo, and
// must use only tx to reach the store. Each record read costs a token call unless the cache has
// it, each one written costs one, and the header one more; other writers wait meanwhile.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	var touched []string
	var after *verifiedHeader
	err := s.engine.Update(ctx, func(etx EngineTx) error {
		tx, err := s.begin(ctx, etx)
		if err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		if tx.err != nil {
			return tx.err
		}
		if len(tx.written) == 0 && !tx.domainSet {
			return errNothingWritten
		}
		after, err = tx.writeHeader()
		touched = append(touched, tx.written...)
		return err
	})
	// Whatever the outcome of the commit is called, it may be in the engine.
	for _, place := range touched {
		s.forget([]byte(place))
	}
	switch {
	case errors.Is(err, errNothingWritten):
		return nil
	case err != nil:
		return err
	}
	s.advance(after)
	return nil
}

func (s *Store) begin(ctx context.Context, etx EngineTx) (*Tx, error) {
	raw, err := getHeader(etx)
	if errors.Is(err, ErrNoStore) {
		err = errHeaderGone
	}
	if err != nil {
		return nil, err
	}
	h, err := verifyHeader(ctx, s.auth, raw, s.header.Load())
	if err != nil {
		return nil, err
	}
	return &Tx{
		ctx: ctx, store: s, engine: etx, before: h,
		content: headerContent{StoreID: h.StoreID, Created: h.Created, Domain: h.Domain, Regions: h.Regions},
	}, nil
}

// Revision is the revision that the store will have when the transaction has been committed.
func (tx *Tx) Revision() uint64 { return tx.before.Revision + 1 }

// Header is the store's header as the transaction found it.
func (tx *Tx) Header() Header { return tx.before.Header }

// SetDomain replaces the description of the domain in the header. The new one must have the
// record key that a's RecordKeyVersion names, and those of all records that exist.
func (tx *Tx) SetDomain(d kms.Domain) error {
	h := Header{Domain: d}
	if v := tx.store.auth.RecordKeyVersion(); !h.hasRecordKey(v) {
		return tx.fail(fmt.Errorf("%w: the domain does not have record key %d", ErrInvalid, v))
	}
	tx.content.Domain = d
	tx.domainSet = true
	return nil
}

func (tx *Tx) writeHeader() (*verifiedHeader, error) {
	raw, err := sealRecord(tx.ctx, tx.store.auth, headerKind, "", headerPlace, tx.Revision(), &tx.content)
	if err != nil {
		return nil, err
	}
	env, content, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	if err := tx.engine.Put([]byte(headerPlace), raw); err != nil {
		return nil, err
	}
	return &verifiedHeader{Header: newHeader(env, content), digest: sha256.Sum256(raw)}, nil
}

func (tx *Tx) fail(err error) error {
	if tx.err == nil {
		tx.err = err
	}
	return err
}

// get gives the record at key. It may be the one that the cache shares.
func get[T any](tx *Tx, k kind[T], key engineKey) (*T, error) {
	place := key.String()
	raw, err := tx.engine.Get([]byte(place))
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", place, err)
	}
	// Bytes that were verified in this place once need not be again: a token call less while
	// other writers wait.
	if e, ok := tx.store.cache.get([]byte(place)); ok && e.digest == sha256.Sum256(raw) {
		return e.record.(*T), nil
	}
	record, env, err := openRecord(tx.ctx, tx.store.auth, k, tx.store.id, place, raw, func(version uint32) (bool, error) {
		h := Header{Domain: tx.content.Domain}
		return h.hasRecordKey(version), nil
	})
	if err != nil {
		return nil, err
	}
	// Only what this transaction wrote itself may be newer than the header.
	if env.revision > tx.before.Revision && !slices.Contains(tx.written, place) {
		return nil, fromTheFuture(place, env.revision, tx.before.Revision)
	}
	return record, nil
}

// put writes a record, whether or not there is one.
func put[T any](tx *Tx, k kind[T], record *T) error {
	place := k.place(record).String()
	raw, err := sealRecord(tx.ctx, tx.store.auth, k, tx.store.id, place, tx.Revision(), record)
	if err != nil {
		return tx.fail(err)
	}
	if err := tx.engine.Put([]byte(place), raw); err != nil {
		return tx.fail(fmt.Errorf("record %s: %w", place, err))
	}
	tx.written = append(tx.written, place)
	return nil
}

// create writes a record that must not be there yet.
func create[T any](tx *Tx, k kind[T], record *T) error {
	place := k.place(record).String()
	switch _, err := tx.engine.Get([]byte(place)); {
	case err == nil:
		return fmt.Errorf("record %s: %w", place, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return tx.fail(fmt.Errorf("record %s: %w", place, err))
	}
	return put(tx, k, record)
}

// remove deletes the record at key, which must be there.
func remove(tx *Tx, key engineKey) error {
	place := key.String()
	if _, err := tx.engine.Get([]byte(place)); err != nil {
		return fmt.Errorf("record %s: %w", place, err)
	}
	if err := tx.engine.Delete([]byte(place)); err != nil {
		return tx.fail(fmt.Errorf("record %s: %w", place, err))
	}
	tx.written = append(tx.written, place)
	return nil
}
