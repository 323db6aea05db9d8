package keystore_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/kms11/kms11/keystore"
)

const keyPrefix = "aws/111122223333/us-east-1/key/"

// wantTampered wants the store, however it reads key id, to notice and to name the record.
func wantTampered(t *testing.T, e keystore.Engine, a keystore.Authenticator, id string) {
	t.Helper()
	s := openStore(t, e, a, keystore.Options{})
	place := newKey(id).KeyID()
	_, err := s.Key(t.Context(), place)
	if !errors.Is(err, keystore.ErrTampered) || !strings.Contains(err.Error(), keyPrefix+id) {
		t.Errorf("Store.Key gives %v", err)
	}
	err = s.Update(t.Context(), func(tx *keystore.Tx) error {
		_, err := tx.Key(place)
		return err
	})
	if !errors.Is(err, keystore.ErrTampered) || !strings.Contains(err.Error(), keyPrefix+id) {
		t.Errorf("Tx.Key gives %v", err)
	}
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"))
	good := rawGet(t, e, keyPrefix+"k")
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		rawPut(t, e, keyPrefix+"k", bad)
		fresh := openStore(t, e, a, keystore.Options{CacheRecords: -1})
		if _, err := fresh.Key(t.Context(), newKey("k").KeyID()); !errors.Is(err, keystore.ErrTampered) {
			t.Errorf("byte %d: %v", i, err)
		}
		fresh.Close()
	}
	rawPut(t, e, keyPrefix+"k", good)
	wantKey(t, openStore(t, e, a, keystore.Options{}), newKey("k"))
}

func TestTruncatedAndExtended(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	putKey(t, newStore(t, e, a), newKey("k"))
	good := rawGet(t, e, keyPrefix+"k")
	for _, bad := range [][]byte{{}, {1}, good[:20], good[:51], good[:len(good)-1], append(bytes.Clone(good), 0)} {
		rawPut(t, e, keyPrefix+"k", bad)
		wantTampered(t, e, a, "k")
	}
}

func TestMovedAndSwapped(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("a"), newKey("b"))
	rawA, rawB := rawGet(t, e, keyPrefix+"a"), rawGet(t, e, keyPrefix+"b")
	rawPut(t, e, keyPrefix+"a", rawB)
	rawPut(t, e, keyPrefix+"b", rawA)
	rawPut(t, e, keyPrefix+"moved", rawA)
	for _, id := range []string{"a", "b", "moved"} {
		wantTampered(t, e, a, id)
	}
}

func TestWrongKind(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"))
	rawPut(t, e, keyPrefix+"header", rawGet(t, e, headerKey))
	wantTampered(t, e, a, "header")
	rawPut(t, e, "-/-/-/access-key/k", rawGet(t, e, keyPrefix+"k"))
	if _, err := s.AccessKey(t.Context(), "k"); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("a key as an access key: %v", err)
	}
}

func TestRecordOfAnotherStore(t *testing.T) {
	a := newAuthenticator()
	here, there := newEngine(t), newEngine(t)
	newStore(t, here, a)
	putKey(t, newStore(t, there, a), newKey("k"))
	rawPut(t, here, keyPrefix+"k", rawGet(t, there, keyPrefix+"k"))
	wantTampered(t, here, a, "k")
}

func TestRecordOfAnotherDomain(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	putKey(t, newStore(t, e, a), newKey("k"))
	other := &authenticator{domain: "other", version: 1}
	if _, err := keystore.Open(t.Context(), e, other, keystore.Options{}); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("Open with another domain's token: %v", err)
	}
}

// TestHeaderTampering: a store does not open with a wrong header, and an open one writes nothing.
func TestHeaderTampering(t *testing.T) {
	a := newAuthenticator()
	for name, change := range map[string]func(t *testing.T, e keystore.Engine, good []byte) []byte{
		"deleted":       func(*testing.T, keystore.Engine, []byte) []byte { return nil },
		"revision":      func(_ *testing.T, _ keystore.Engine, b []byte) []byte { b[15]++; return b },
		"kind":          func(_ *testing.T, _ keystore.Engine, b []byte) []byte { b[1]++; return b },
		"content":       func(_ *testing.T, _ keystore.Engine, b []byte) []byte { b[40] ^= 1; return b },
		"MAC":           func(_ *testing.T, _ keystore.Engine, b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"record key":    func(_ *testing.T, _ keystore.Engine, b []byte) []byte { b[7] = 2; return b },
		"another kind":  func(t *testing.T, e keystore.Engine, _ []byte) []byte { return rawGet(t, e, keyPrefix+"k") },
		"a new version": func(_ *testing.T, _ keystore.Engine, b []byte) []byte { b[0] = 2; return b },
		"a new format":  func(_ *testing.T, _ keystore.Engine, b []byte) []byte { b[3] = 4; return b },
	} {
		t.Run(name, func(t *testing.T) {
			want := keystore.ErrTampered
			if strings.HasPrefix(name, "a new") {
				want = keystore.ErrFormat
			}
			e := newEngine(t)
			s := newStore(t, e, a)
			putKey(t, s, newKey("k"))
			rawPut(t, e, headerKey, change(t, e, rawGet(t, e, headerKey)))
			if _, err := keystore.Open(t.Context(), e, a, keystore.Options{}); !errors.Is(err, want) {
				t.Errorf("Open gives %v", err)
			}
			if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutKey(newKey("other")) }); !errors.Is(err, want) {
				t.Errorf("Update gives %v", err)
			}
			if _, err := s.Header(t.Context()); !errors.Is(err, want) {
				t.Errorf("Header gives %v", err)
			}
			if name == "deleted" {
				if _, err := keystore.ReadHeader(t.Context(), e); !errors.Is(err, keystore.ErrTampered) {
					t.Errorf("ReadHeader gives %v", err)
				}
				rawPut(t, e, keyPrefix+"k", nil)
				if _, err := s.Header(t.Context()); !errors.Is(err, keystore.ErrTampered) {
					t.Errorf("Header of an emptied store gives %v", err)
				}
			}
		})
	}
}

func TestHeaderOfAnotherStore(t *testing.T) {
	a := newAuthenticator()
	here, there := newEngine(t), newEngine(t)
	s := newStore(t, here, a)
	putKey(t, s, newKey("k"))
	other := newStore(t, there, a)
	for range 3 {
		putKey(t, other, newKey("k"))
	}
	rawPut(t, here, headerKey, rawGet(t, there, headerKey))
	if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutKey(newKey("x")) }); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("Update gives %v", err)
	}
	if _, err := s.Header(t.Context()); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("Header gives %v", err)
	}
	wantTampered(t, here, a, "k") // the header opens, but nothing under it is its own
}

func TestOldHeaderPutBack(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	old := rawGet(t, e, headerKey)
	putKey(t, s, newKey("k"))
	rawPut(t, e, headerKey, old)
	if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutKey(newKey("k")) }); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("Update of a store that knows better gives %v", err)
	}
	fresh := openStore(t, e, a, keystore.Options{})
	if _, err := fresh.Key(t.Context(), newKey("k").KeyID()); !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("reading a record from the header's future gives %v", err)
	}
	err := fresh.Update(t.Context(), func(tx *keystore.Tx) error {
		_, err := tx.Key(newKey("k").KeyID())
		return err
	})
	if !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("a record from the header's future gives %v", err)
	}
}

// TestOldRecordPutBack writes down what the MAC does not cover; docs/formats.md says so too.
func TestOldRecordPutBack(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"))
	old := rawGet(t, e, keyPrefix+"k")
	changed := newKey("k")
	changed.Description = "changed"
	putKey(t, s, changed)
	rawPut(t, e, keyPrefix+"k", old)
	wantKey(t, openStore(t, e, a, keystore.Options{}), newKey("k"))
}

// TestCacheIsNoAlibi: a transaction goes by what the engine holds, not by what the cache remembers.
func TestCacheIsNoAlibi(t *testing.T) {
	e, a := quietEngine{newEngine(t)}, newAuthenticator()
	s := newStore(t, e, a)
	putKey(t, s, newKey("k"))
	wantKey(t, s, newKey("k")) // cached from here on
	id := newKey("k").KeyID()
	err := s.Update(t.Context(), func(tx *keystore.Tx) error {
		changed := newKey("k")
		changed.Description = "changed"
		if err := tx.PutKey(changed); err != nil {
			return err
		}
		if r, err := tx.Key(id); err != nil || r.Description != "changed" {
			t.Errorf("a transaction reads %+v, %v after its own write", r, err)
		}
		return errAgain
	})
	if !errors.Is(err, errAgain) {
		t.Fatal(err)
	}
	wantKey(t, s, newKey("k"))
	bad := rawGet(t, e, keyPrefix+"k")
	bad[30] ^= 1
	rawPut(t, e, keyPrefix+"k", bad)
	err = s.Update(t.Context(), func(tx *keystore.Tx) error {
		_, err := tx.Key(id)
		return err
	})
	if !errors.Is(err, keystore.ErrTampered) {
		t.Errorf("Tx.Key of an edited record that is cached gives %v", err)
	}
}
