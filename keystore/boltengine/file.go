package boltengine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/kms11/kms11/durable"
	"github.com/kms11/kms11/keystore"
)

// ErrLocked: another process has the file open.
var ErrLocked = errors.New("another process is using the keystore")

// ErrDamaged: the file is not a keystore, or its structure is broken.
var ErrDamaged = errors.New("not a keystore file, or a damaged one")

// lockTimeout is how long Open waits for another process to let go of the file: long enough for
// one that is just shutting down.
const lockTimeout = 2 * time.Second

// mapSize is how much address space, not memory, the file is mapped into from the start: 1 GiB, or
// 64 MiB where addresses are short. bbolt makes a writer that has to enlarge the map wait for all
// readers to end, so a reader that waits for that writer would be stuck with it. A store has room
// for some 300,000 keys before it comes to that.
const mapSize = 1 << (26 + 4*(^uint(0)>>63))

// growStep is by how much the file grows when it is full. bbolt's own 16 MiB would make every
// backup of a small store that large.
const growStep = 1 << 20

// bucketName is the one bucket of the file.
var bucketName = []byte("kms11")

// Create makes the file path, which must not exist (else keystore.ErrExists), mode 0600, and
// opens it. The file appears under its name only when it is complete and on disk:
//
//	open(.NAME.new-*)  write  fdatasync  close
//	link(.NAME.new-*, NAME)     fails if NAME exists, where a rename would replace it
//	unlink(.NAME.new-*)
//	fsync(directory)
func Create(path string) (*Engine, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("creating keystore %s: %w", path, keystore.ErrExists)
	}
	if err := create(path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = keystore.ErrExists
		}
		return nil, fmt.Errorf("creating keystore %s: %w", path, err)
	}
	return Open(path)
}

func create(path string) (err error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+name+".new-*") // mode 0600
	if err != nil {
		return err
	}
	temp := f.Name()
	defer func() { err = errors.Join(err, os.Remove(temp)) }()
	if err := f.Close(); err != nil {
		return err
	}

	db, err := bbolt.Open(temp, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucketName)
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(temp, path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// Open opens the file path. If it is absent the error is fs.ErrNotExist, if another process holds
// it ErrLocked after two seconds, and if it is no keystore ErrDamaged. No file is created or
// changed in any of these cases.
func Open(path string) (e *Engine, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a file that is cut off
	defer func() {
		// bbolt panics on some kinds of damage. Nothing is running yet, so that is just an error.
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("opening keystore %s: %w: %v", path, ErrDamaged, p)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapSize,
		OpenFile:        openExisting,
	})
	if err != nil {
		return nil, fmt.Errorf("opening keystore %s: %w", path, translate(err))
	}
	db.AllocSize = growStep
	if err := guard(func() error { return complete(db) }); err != nil {
		return nil, fmt.Errorf("opening keystore %s: %w", path, errors.Join(err, db.Close()))
	}
	return &Engine{db: db, writer: make(chan struct{}, 1)}, nil
}

// complete looks whether the file has all its pages and the bucket.
func complete(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(db.Path())
		switch {
		case err != nil:
			return err
		case tx.Bucket(bucketName) == nil:
			return ErrDamaged
		case info.Size() < tx.Size():
			return fmt.Errorf("%w: it is cut off: %d bytes of %d", ErrDamaged, info.Size(), tx.Size())
		}
		return nil
	})
}

// openExisting keeps bbolt from creating a file and from making a store of an empty one.
func openExisting(name string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = ErrDamaged
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func translate(err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w (waited %v)", ErrLocked, lockTimeout)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
