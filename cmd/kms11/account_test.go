package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
	"github.com/kms11/kms11/kms"
)

// plainMAC stands for a token where only the store's contents matter.
type plainMAC struct{}

func (plainMAC) MAC(_ context.Context, _ uint32, data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return sum[:], nil
}

func (plainMAC) RecordKeyVersion() uint32 { return 1 }

// TestFirstAccount finds the account that a keystore was made with among others that have users.
func TestFirstAccount(t *testing.T) {
	engine, err := boltengine.Create(filepath.Join(t.TempDir(), "keystore.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	domain := kms.Domain{ID: "00", Scheme: kms.DeriveECB, Keys: []kms.DomainKey{{Role: kms.RoleRecord, Version: 1, ObjectID: []byte{1}, Check: []byte{1}}}}
	store, err := keystore.Create(t.Context(), engine, domain, plainMAC{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	first := func(only, want string) {
		t.Helper()
		if got, err := firstAccount(t.Context(), store, "aws", only); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	first("", "")
	made := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, user := range []struct{ account, name string }{
		{"555555555555", "zoe"}, {"111111111111", "admin"}, {"999999999999", "admin"}, {"555555555555", "adam"},
	} {
		err := store.Update(t.Context(), func(tx *keystore.Tx) error {
			return tx.CreateUser(&keystore.UserRecord{Partition: "aws", Account: user.account, Name: user.name, ARN: "a", ID: "i", Created: made.Add(time.Duration(i) * time.Second)})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	first("", "555555555555")
	first("999999999999", "999999999999")
	first("222222222222", "")

	// Who edits the first user's record must not make another account the default one.
	spoil(t, engine, "/555555555555/", "/zoe")
	if store, err = keystore.Open(t.Context(), engine, plainMAC{}, keystore.Options{}); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if account, err := firstAccount(t.Context(), store, "aws", ""); !errors.Is(err, keystore.ErrTampered) || !strings.Contains(err.Error(), "555555555555") {
		t.Errorf("got %q, %v", account, err)
	}
	first("555555555555", "555555555555")
	first("999999999999", "999999999999")
}

// spoil edits the records whose keys have both texts.
func spoil(t *testing.T, engine keystore.Engine, account, name string) {
	t.Helper()
	spoilt := 0
	err := engine.Update(t.Context(), func(tx keystore.EngineTx) error {
		var pairs []keystore.Pair
		for pair, err := range tx.Scan(nil, nil) {
			if err != nil {
				return err
			}
			if strings.Contains(string(pair.Key), account) && strings.Contains(string(pair.Key), name) {
				pairs = append(pairs, keystore.Pair{Key: bytes.Clone(pair.Key), Value: bytes.Clone(pair.Value)})
			}
		}
		for _, pair := range pairs {
			pair.Value[len(pair.Value)-1] ^= 1
			if err := tx.Put(pair.Key, pair.Value); err != nil {
				return err
			}
			spoilt++
		}
		return nil
	})
	if err != nil || spoilt != 1 {
		t.Fatalf("%v, %d records", err, spoilt)
	}
}
