package boltengine_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
	"github.com/kms11/kms11/keystore/enginetest"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) enginetest.Opener {
		path := filepath.Join(t.TempDir(), "keystore.db")
		open := boltengine.Create
		return func(t *testing.T) keystore.Engine {
			e, err := open(path)
			if err != nil {
				t.Fatal(err)
			}
			open = boltengine.Open
			return e
		}
	})
}

func create(t *testing.T) (*boltengine.Engine, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keystore.db")
	e, err := boltengine.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, path
}

func TestCreateLeavesOneFileForTheOwner(t *testing.T) {
	_, path := create(t)
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || files[0].Name() != "keystore.db" {
		t.Fatalf("the directory holds %v", files)
	}
	info, err := files[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the mode is %v", info.Mode())
	}
}

func TestCreateNeverReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystore.db")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltengine.Create(path); !errors.Is(err, keystore.ErrExists) || !strings.Contains(err.Error(), path) {
		t.Errorf("Create over a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file now holds %q, %v", b, err)
	}
}

func TestCreateByManyMakesOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystore.db")
	engines := make([]*boltengine.Engine, 6)
	var wg sync.WaitGroup
	for i := range engines {
		wg.Go(func() {
			e, err := boltengine.Create(path)
			if err != nil && !errors.Is(err, keystore.ErrExists) && !errors.Is(err, boltengine.ErrLocked) {
				t.Errorf("Create: %v", err)
			}
			engines[i] = e
		})
	}
	wg.Wait()
	made := 0
	for _, e := range engines {
		if e != nil {
			made++
			e.Close()
		}
	}
	if made != 1 {
		t.Errorf("%d of them made the file", made)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("the directory holds %v", files)
	}
}

func TestCreateInNoDirectory(t *testing.T) {
	if _, err := boltengine.Create(filepath.Join(t.TempDir(), "absent", "keystore.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create: %v", err)
	}
}

func TestOpenAbsentMakesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystore.db")
	if _, err := boltengine.Open(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v, want fs.ErrNotExist", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there now (%v)", err)
	}
}

func TestOpenLocked(t *testing.T) {
	e, path := create(t)
	if _, err := boltengine.Open(path); !errors.Is(err, boltengine.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("Open of a file in use: %v, want ErrLocked with the path", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := boltengine.Open(path)
	if err != nil {
		t.Fatalf("Open after the other let go: %v", err)
	}
	again.Close()
}

func TestOpenDamaged(t *testing.T) {
	e, path := create(t)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}

	page := os.Getpagesize()
	blank := func(from, to int) []byte {
		b := bytes.Clone(good)
		clear(b[from:min(to, len(b))])
		return b
	}
	for name, content := range map[string][]byte{
		"empty":              {},
		"text":               []byte("this is no keystore\n"),
		"long text":          bytes.Repeat([]byte("this is no keystore\n"), 10_000),
		"other bbolt file":   foreign,
		"both metas blank":   blank(0, 2*page),
		"all but metas lost": blank(2*page, len(good)),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := boltengine.Open(path)
		if !errors.Is(err, boltengine.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
		if err == nil {
			e.Close()
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
			t.Errorf("%s: Open changed the file (%v)", name, err)
		}
		// bbolt does not unlock what it panicked over: each case gets a file of its own.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
