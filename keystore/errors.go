package keystore

import "errors"

// Errors of engines and stores, for errors.Is. What they are wrapped in names the record.
var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrExists: the record, or the store, is there already.
	ErrExists = errors.New("already exists")
	// ErrNoStore: the engine is empty.
	ErrNoStore = errors.New("there is no keystore here")
	// ErrTampered: a record is not what this store wrote under that key, or the store's header is
	// gone. Somebody other than the service wrote to the store, or its medium is failing.
	ErrTampered = errors.New("the keystore has been tampered with")
	// ErrFormat: a record is genuine as far as can be told, but of a version that this program
	// does not know. A newer version of the program wrote it.
	ErrFormat = errors.New("unknown format version")
	// ErrInvalid: the caller gave a record or a key that no store may hold.
	ErrInvalid = errors.New("invalid record")

	// ErrReadOnly: a write in a View.
	ErrReadOnly = errors.New("write in a read-only transaction")
	// ErrClosed: the engine has been closed.
	ErrClosed = errors.New("the engine is closed")
)
