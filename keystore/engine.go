package keystore

import (
	"context"
	"fmt"
	"iter"
)

// Limits of every engine, in bytes. They are far below what the engines can do and far above what
// a record needs.
const (
	MaxKeySize   = 4 << 10
	MaxValueSize = 1 << 20
)

// An Engine is an ordered store of bytes with serialisable transactions.
//
// Order: keys are compared as bytes.
//
// Durability: Update returns nil only once the commit would survive a crash of the machine. When
// it returns an error after fn returned nil, the commit may have happened or not.
//
// Consistency: all transactions of all processes that share the data are serialisable, and one
// that begins after Update has returned sees what that Update wrote.
//
// Concurrency: all methods may be called from many goroutines. A transaction itself belongs to
// the goroutine that runs fn and ends with fn.
type Engine interface {
	// View runs fn once, on one snapshot, and gives its error.
	View(ctx context.Context, fn func(EngineTx) error) error

	// Update runs fn and commits, or rolls everything back when fn fails or panics or when ctx
	// ends before the commit begins. An optimistic engine may run fn several times: fn must have
	// no effect outside its transaction that a second run would not undo. fn must not start
	// another transaction.
	Update(ctx context.Context, fn func(EngineTx) error) error

	// Watch gives the change feed: each key that any process, this one included, wrote or deleted
	// in a commit after the call, in commit order. A key may be reported without having changed,
	// for instance when the outcome of its commit is unknown.
	//
	// The channel closes when ctx ends, when the engine is closed, and when the feed is lost
	// (changes may be missing from then on). A reader must then drop everything that it remembers
	// of the store, and may call Watch again. An engine whose data other processes can write must
	// close the channel as soon as it cannot show that the feed is at most its staleness bound
	// behind: that is what bounds the age of what a Store has in its cache. While there is no
	// feed a Store asks the engine for every record, so a node cut off from the data refuses to
	// serve rather than go by old records.
	Watch(ctx context.Context) (<-chan Change, error)

	// Close ends the feeds, waits for running transactions and frees the engine. Everything fails
	// with ErrClosed afterwards. A second Close does nothing.
	Close() error
}

// EngineTx is one transaction. It sees its own writes. The slices it gives out are read-only and
// good until fn returns; those it is given are copied.
type EngineTx interface {
	// Get gives the value of key, ErrNotFound if there is none. A value may be empty.
	Get(key []byte) ([]byte, error)
	// Put sets the value of key. CheckPut says what is refused; in a View it is ErrReadOnly.
	Put(key, value []byte) error
	// Delete removes key, which need not exist. In a View it is ErrReadOnly.
	Delete(key []byte) error
	// Scan gives the pairs with start <= key < end in ascending order; a nil end means no end. An
	// error comes last, with an empty Pair. The loop must not write.
	Scan(start, end []byte) iter.Seq2[Pair, error]
}

// A Pair is a key and its value.
type Pair struct{ Key, Value []byte }

// A Change says that a key was written or deleted.
type Change struct{ Key []byte }

// CheckPut is the one rule of what EngineTx.Put refuses: an empty key, a key over MaxKeySize and a
// value over MaxValueSize. The error is ErrInvalid.
func CheckPut(key, value []byte) error {
	switch {
	case len(key) == 0:
		return fmt.Errorf("%w: the key is empty", ErrInvalid)
	case len(key) > MaxKeySize:
		return fmt.Errorf("%w: the key has %d bytes, more than %d", ErrInvalid, len(key), MaxKeySize)
	case len(value) > MaxValueSize:
		return fmt.Errorf("%w: the value has %d bytes, more than %d", ErrInvalid, len(value), MaxValueSize)
	}
	return nil
}
