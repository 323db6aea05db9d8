package keystore_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func newCustomKeyStore(account, region, id string) *keystore.CustomKeyStoreRecord {
	return &keystore.CustomKeyStoreRecord{
		Partition: "aws", Account: account, Region: region, ID: id, Name: "name of " + id, Type: kms.CustomKeyStoreTypeExternalKeyStore,
		Created: when, State: kms.ConnectionStateTypeDisconnected, Generation: 1, External: &keystore.ExternalRecord{Endpoint: "https://" + id},
	}
}

func TestCustomKeyStores(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	if ids, err := s.ScanCustomKeyStores(t.Context()); err != nil || len(ids) != 0 {
		t.Fatalf("an empty keystore has %v, %v", ids, err)
	}
	all := []*keystore.CustomKeyStoreRecord{
		newCustomKeyStore("111122223333", "eu-west-1", "cks-1"), newCustomKeyStore("111122223333", "us-east-1", "cks-2"),
		newCustomKeyStore("111122223333", "us-east-1", "cks-3"), newCustomKeyStore("444455556666", "us-east-1", "cks-2"),
	}
	for _, r := range all {
		update(t, s, func(tx *keystore.Tx) error { return tx.CreateCustomKeyStore(r) })
	}
	err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.CreateCustomKeyStore(all[0]) })
	if !errors.Is(err, keystore.ErrExists) {
		t.Errorf("the same again: %v", err)
	}
	ids, err := s.ScanCustomKeyStores(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []keystore.CustomKeyStoreID
	for _, r := range all {
		want = append(want, r.CustomKeyStoreID())
	}
	if !slices.Equal(ids, want) {
		t.Errorf("a scan gives %v", ids)
	}
	update(t, s, func(tx *keystore.Tx) error {
		records, err := tx.CustomKeyStores()
		if err != nil {
			return err
		}
		for i, r := range records {
			if r.CustomKeyStoreID() != want[i] || r.Name != all[i].Name {
				t.Errorf("the transaction sees %+v in place %d", r, i)
			}
		}
		if len(records) != len(all) {
			t.Errorf("the transaction sees %d stores", len(records))
		}
		return nil
	})
	changed := all[1].Clone()
	changed.State, changed.External.Endpoint = kms.ConnectionStateTypeConnected, "https://new"
	update(t, s, func(tx *keystore.Tx) error { return tx.PutCustomKeyStore(changed) })
	if got, err := s.CustomKeyStore(t.Context(), want[1]); err != nil || got.External.Endpoint != "https://new" || all[1].External.Endpoint == "https://new" {
		t.Errorf("the changed store is %+v, %v", got, err)
	}
	update(t, s, func(tx *keystore.Tx) error { _, err := tx.DeleteCustomKeyStore(want[1]); return err })
	if _, err := s.CustomKeyStore(t.Context(), want[1]); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("a deleted store: %v", err)
	}
	if ids, _ := s.ScanCustomKeyStores(t.Context()); len(ids) != 3 {
		t.Errorf("%d stores are left", len(ids))
	}
}

func TestKeysOfACustomKeyStore(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	store := newCustomKeyStore("111122223333", "us-east-1", "cks-1")
	// One whose id begins as the other's does.
	longer := newCustomKeyStore("111122223333", "us-east-1", "cks-11")
	for _, r := range []*keystore.CustomKeyStoreRecord{store, longer} {
		update(t, s, func(tx *keystore.Tx) error { return tx.CreateCustomKeyStore(r) })
	}
	id := store.CustomKeyStoreID()
	check := func(has, taken bool) {
		t.Helper()
		update(t, s, func(tx *keystore.Tx) error {
			gotHas, err := tx.CustomKeyStoreHasKeys(id)
			if err != nil {
				return err
			}
			gotTaken, err := tx.ExternalKeyTaken(id, "x")
			if gotHas != has || gotTaken != taken {
				t.Errorf("has keys %t, external key taken %t; want %t, %t", gotHas, gotTaken, has, taken)
			}
			return err
		})
	}
	put := func(key, in, external string) error {
		r := newKey(key)
		r.CustomKeyStoreID, r.XksKeyID = in, external
		return s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.CreateKey(r) })
	}
	check(false, false)
	if err := put("other", "cks-11", "x"); err != nil {
		t.Fatal(err)
	}
	check(false, false)
	if err := put("k", "cks-1", "x"); err != nil {
		t.Fatal(err)
	}
	check(true, true)
	if err := put("l", "cks-1", "x"); !errors.Is(err, keystore.ErrExists) {
		t.Errorf("a second key with the external key: %v", err)
	}
	if _, err := s.Key(t.Context(), newKey("l").KeyID()); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("a key that was refused is there: %v", err)
	}
	if err := put("m", "cks-1", ""); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("k").KeyID()) })
	check(true, false)
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKey(newKey("m").KeyID()) })
	check(false, false)
}

func TestKeyStoreOrphans(t *testing.T) {
	s := newStore(t, newEngine(t), newAuthenticator())
	store, other := newCustomKeyStore("111122223333", "us-east-1", "cks-1"), newCustomKeyStore("111122223333", "us-east-1", "cks-11")
	orphan := func(of *keystore.CustomKeyStoreRecord, key string) *keystore.KeyStoreOrphanRecord {
		return &keystore.KeyStoreOrphanRecord{Partition: of.Partition, Account: of.Account, Region: of.Region, CustomKeyStoreID: of.ID, KeyID: key,
			Material: kms.Material{ID: "m" + key, Ordinal: 1, Created: when, ObjectID: []byte(key)}}
	}
	update(t, s, func(tx *keystore.Tx) error {
		return errors.Join(tx.CreateCustomKeyStore(store), tx.CreateCustomKeyStore(other),
			tx.PutKeyStoreOrphan(orphan(store, "k")), tx.PutKeyStoreOrphan(orphan(store, "l")), tx.PutKeyStoreOrphan(orphan(other, "m")))
	})
	names := func(of *keystore.CustomKeyStoreRecord) (keys []string) {
		t.Helper()
		orphans, err := s.KeyStoreOrphans(t.Context(), of.CustomKeyStoreID())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range orphans {
			keys = append(keys, o.KeyID)
		}
		return keys
	}
	if !slices.Equal(names(store), []string{"k", "l"}) || !slices.Equal(names(other), []string{"m"}) {
		t.Errorf("the orphans are %v and %v", names(store), names(other))
	}
	update(t, s, func(tx *keystore.Tx) error { return tx.DeleteKeyStoreOrphan(orphan(store, "k")) })
	err := s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.DeleteKeyStoreOrphan(orphan(store, "k")) })
	if !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("one that is gone: %v", err)
	}
	update(t, s, func(tx *keystore.Tx) error {
		left, err := tx.DeleteCustomKeyStore(store.CustomKeyStoreID())
		if len(left) != 1 || left[0].KeyID != "l" {
			t.Errorf("deleting the store leaves %v", left)
		}
		return err
	})
	if len(names(store)) != 0 || len(names(other)) != 1 {
		t.Errorf("afterwards the orphans are %v and %v", names(store), names(other))
	}
}
