// Package boltengine is the embedded keystore engine: one bbolt file, used by one process at a
// time.
package boltengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/kms11/kms11/keystore"
)

// Engine is a keystore.Engine in a bbolt file. Writers queue. Readers
// and writers do not wait for each other until the file is larger than mapSize.
type Engine struct {
	db    *bbolt.DB
	feeds feeds
	// writer is held by the one running Update. bbolt has a lock of its own, but waiting for that
	// one cannot be cut short by a context.
	writer chan struct{}
}

var _ keystore.Engine = (*Engine)(nil)

// View implements keystore.Engine.
func (e *Engine) View(ctx context.Context, fn func(keystore.EngineTx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var btx *bbolt.Tx
	t := &tx{ctx: ctx}
	if err := guard(func() (err error) { btx, t.bucket, err = begin(e.db, false); return err }); err != nil {
		return e.rename(err)
	}
	defer func() { _ = btx.Rollback() }() // a reading transaction has nothing to lose
	return fn(t)
}

// Update implements keystore.Engine. fn runs once.
func (e *Engine) Update(ctx context.Context, fn func(keystore.EngineTx) error) error {
	release, err := e.lock(ctx)
	if err != nil {
		return err
	}
	defer release()

	var btx *bbolt.Tx
	t := &tx{ctx: ctx, writable: true}
	if err := guard(func() (err error) { btx, t.bucket, err = begin(e.db, true); return err }); err != nil {
		return e.rename(err)
	}
	defer func() { _ = guard(btx.Rollback) }() // after a commit it does nothing
	if err := fn(t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = guard(btx.Commit)
	// Also after a failed commit: the file may hold it all the same.
	e.feeds.publish(t.written)
	return e.rename(err)
}

// begin starts a transaction on the bucket.
func begin(db *bbolt.DB, writable bool) (*bbolt.Tx, *bbolt.Bucket, error) {
	btx, err := db.Begin(writable)
	if err != nil {
		return nil, nil, err
	}
	bucket := btx.Bucket(bucketName)
	if bucket == nil {
		_ = btx.Rollback()
		return nil, nil, ErrDamaged
	}
	return btx, bucket, nil
}

// Watch implements keystore.Engine. The file lock keeps other processes out, so the feed holds the
// changes of this Engine and is never behind. It is lost when a reader falls 64k changes behind.
func (e *Engine) Watch(ctx context.Context) (<-chan keystore.Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return e.feeds.add(ctx)
}

// Close implements keystore.Engine and unlocks the file.
func (e *Engine) Close() error {
	e.feeds.close()
	if err := e.db.Close(); err != nil {
		return fmt.Errorf("closing the keystore: %w", err)
	}
	return nil
}

// Check reads every page of the file and reports the first thing that is inconsistent in its
// structure, as ErrDamaged. It says nothing about the records. Writers wait meanwhile. 20,000
// records take about 15 ms.
func (e *Engine) Check(ctx context.Context) error {
	release, err := e.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	return e.rename(e.db.View(func(btx *bbolt.Tx) error {
		var first error
		for err := range btx.Check() { // to its end, or bbolt's goroutine would stay
			if first == nil {
				first = fmt.Errorf("%w: %w", ErrDamaged, err)
			}
		}
		return first
	}))
}

func (e *Engine) lock(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case e.writer <- struct{}{}:
		return func() { <-e.writer }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// rename turns bbolt's word for a closed file into keystore's; everything else stays as it is.
func (e *Engine) rename(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return keystore.ErrClosed
	}
	return err
}

type tx struct {
	ctx      context.Context
	bucket   *bbolt.Bucket
	writable bool
	written  [][]byte
}

func (t *tx) Get(key []byte) ([]byte, error) {
	var value []byte
	err := guard(func() error {
		value = t.bucket.Get(key)
		if len(value) > 0 {
			_ = value[0] | value[len(value)-1] // a value beyond the end of the file faults here
		}
		return nil
	})
	if err == nil && value == nil {
		err = keystore.ErrNotFound
	}
	return value, err
}

func (t *tx) Put(key, value []byte) error {
	if !t.writable {
		return keystore.ErrReadOnly
	}
	if err := keystore.CheckPut(key, value); err != nil {
		return err
	}
	// bbolt copies the key but keeps the value until the commit.
	if err := guard(func() error { return t.bucket.Put(key, append([]byte{}, value...)) }); err != nil {
		return fmt.Errorf("writing %q: %w", key, err)
	}
	t.written = append(t.written, bytes.Clone(key))
	return nil
}

func (t *tx) Delete(key []byte) error {
	if !t.writable {
		return keystore.ErrReadOnly
	}
	if err := guard(func() error { return t.bucket.Delete(key) }); err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	t.written = append(t.written, bytes.Clone(key))
	return nil
}

func (t *tx) Scan(start, end []byte) iter.Seq2[keystore.Pair, error] {
	return func(yield func(keystore.Pair, error) bool) {
		c := t.bucket.Cursor()
		var k, v []byte
		step := func() error { k, v = c.Seek(start); return nil }
		for {
			if err := guard(step); err != nil {
				yield(keystore.Pair{}, err)
				return
			}
			if k == nil {
				return
			}
			step = func() error { k, v = c.Next(); return nil }
			if end != nil && bytes.Compare(k, end) >= 0 {
				return
			}
			if err := t.ctx.Err(); err != nil {
				yield(keystore.Pair{}, err)
				return
			}
			if !yield(keystore.Pair{Key: k, Value: v}, nil) {
				return
			}
		}
	}
}
