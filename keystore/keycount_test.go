package keystore_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const keyCountPlace = "aws/111122223333/us-east-1/key-count/all"

var countedScope = keystore.Scope{Partition: "aws", Account: "111122223333", Region: "us-east-1"}

func wantKeyCount(t testing.TB, s *keystore.Store, in keystore.Scope, want int) {
	t.Helper()
	err := s.Update(t.Context(), func(tx *keystore.Tx) error {
		n, err := tx.KeyCount(in)
		if err == nil && n != want {
			t.Errorf("%v has %d keys, want %d", in, n, want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestKeyCount follows the number of keys through what makes and deletes them.
func TestKeyCount(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	wantKeyCount(t, s, countedScope, 0)
	create := func(r *keystore.KeyRecord) {
		t.Helper()
		update(t, s, func(tx *keystore.Tx) error { return tx.CreateKey(r) })
	}
	create(newKey("a"))
	create(newKey("b"))
	elsewhere := newKey("a")
	elsewhere.Region = "eu-west-1"
	create(elsewhere)
	wantKeyCount(t, s, countedScope, 2)
	wantKeyCount(t, s, keystore.Scope{Partition: "aws", Account: "111122223333", Region: "eu-west-1"}, 1)

	putKey(t, s, newKey("c"), newKey("a")) // one new, one changed
	wantKeyCount(t, s, countedScope, 3)

	managed := newKey("m")
	managed.Manager = kms.KeyManagerTypeAws
	update(t, s, func(tx *keystore.Tx) error {
		if err := tx.CreateKey(managed); err != nil {
			return err
		}
		return tx.CreateAlias(&keystore.AliasRecord{Partition: "aws", Account: "111122223333", Region: "us-east-1",
			Name: keystore.ReservedAliases + "s3", TargetKeyID: "m", Created: when, Updated: when})
	})
	wantKeyCount(t, s, countedScope, 3)

	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("b").KeyID()) })
	wantKeyCount(t, s, countedScope, 2)
	err := s.Update(t.Context(), func(tx *keystore.Tx) error {
		if err := tx.CreateKey(newKey("d")); err != nil {
			return err
		}
		return errOfTest
	})
	if err == nil {
		t.Error("the transaction that failed was committed")
	}
	wantKeyCount(t, s, countedScope, 2)
	update(t, s, func(tx *keystore.Tx) error {
		n, err := tx.RecountKeys(countedScope)
		if n != 2 {
			t.Errorf("counting again gives %d", n)
		}
		return err
	})
	wantKeyCount(t, s, countedScope, 2)
}

var errOfTest = fmt.Errorf("the test says no")

// TestKeyCountIsRebuilt: a scope without a number has one again with its next key.
func TestKeyCountIsRebuilt(t *testing.T) {
	e := newEngine(t)
	s := newStore(t, e, newAuthenticator())
	putKey(t, s, newKey("a"), newKey("b"), newKey("c"))
	remove := func() {
		t.Helper()
		if err := e.Update(t.Context(), func(tx keystore.EngineTx) error { return tx.Delete([]byte(keyCountPlace)) }); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	wantKeyCount(t, s, countedScope, 3)
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("a").KeyID()) })
	wantKeyCount(t, s, countedScope, 2)
	remove()
	putKey(t, s, newKey("d"))
	wantKeyCount(t, s, countedScope, 3)
	if text := string(rawGet(t, e, keyCountPlace)); !strings.Contains(text, `{"partition":"aws","account":"111122223333","region":"us-east-1","keys":3}`) {
		t.Errorf("the record is %q", text)
	}
}

// TestKeyCountUnderConcurrency: however many writers there are, the number is that of the keys.
func TestKeyCountUnderConcurrency(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	const writers, each = 8, 6
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				record := newKey(fmt.Sprintf("k-%d-%d", w, i))
				if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.CreateKey(record) }); err != nil {
					t.Error(err)
				}
				if i%2 == 1 {
					if err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.DeleteKey(record.KeyID()) }); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	wantKeyCount(t, s, countedScope, writers*each/2)
}
