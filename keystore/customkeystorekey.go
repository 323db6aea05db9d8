package keystore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kms11/kms11/kms"
)

// customKeyStoreKeyRecord leads from a custom key store to a key in it: it says that the store is not
// empty, and in an external one that the external key is taken. It is derived from the key's record
// and written and removed with it.
type customKeyStoreKeyRecord struct {
	Partition        string `json:"partition"`
	Account          string `json:"account"`
	Region           string `json:"region"`
	CustomKeyStoreID string `json:"customKeyStoreId"`
	KeyID            string `json:"keyId"`
	XksKeyID         string `json:"xksKeyId,omitempty"`
}

// storeSeparator parts the id of a store from that of what is in it.
const storeSeparator = ";"

// storedPlace is where records about something in a custom key store are, which are adjacent.
func storedPlace(store CustomKeyStoreID, kind, id string) engineKey {
	return engineKey{partition: store.Partition, account: store.Account, region: store.Region, kind: kind,
		id: store.ID + storeSeparator + id}
}

const customKeyStoreKeyName = "key-store-key"

func (r *customKeyStoreKeyRecord) place() engineKey {
	id := r.XksKeyID
	if id == "" {
		id = r.KeyID
	}
	return storedPlace(CustomKeyStoreID{r.Partition, r.Account, r.Region, r.CustomKeyStoreID}, customKeyStoreKeyName, id)
}

func (r *customKeyStoreKeyRecord) prepare() (*customKeyStoreKeyRecord, error) {
	members := []string{r.Partition, r.Account, r.Region, r.CustomKeyStoreID, r.KeyID}
	if slices.Contains(members, "") || strings.Contains(r.CustomKeyStoreID, storeSeparator) {
		return nil, errors.New("a member of a key in a custom key store is empty or has a semicolon")
	}
	return r, nil
}

// stored gives the entry that leads to a key in a custom key store, nil for any other key.
func (r *KeyRecord) stored() *customKeyStoreKeyRecord {
	if r.CustomKeyStoreID == "" {
		return nil
	}
	return &customKeyStoreKeyRecord{
		Partition: r.Partition, Account: r.Account, Region: r.Region,
		CustomKeyStoreID: r.CustomKeyStoreID, KeyID: r.ID, XksKeyID: r.XksKeyID,
	}
}

// Home names the custom key store that holds the key; ok is false for a key in none.
func (r *KeyRecord) Home() (id CustomKeyStoreID, ok bool) {
	return CustomKeyStoreID{r.Partition, r.Account, r.Region, r.CustomKeyStoreID}, r.CustomKeyStoreID != ""
}

// ExternalKeyTaken says whether a key of an external key store has this external key.
func (tx *Tx) ExternalKeyTaken(store CustomKeyStoreID, xksKeyID string) (bool, error) {
	_, err := get(tx, customKeyStoreKeyKind, storedPlace(store, customKeyStoreKeyName, xksKeyID))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// CustomKeyStoreHasKeys says whether a custom key store has keys, whatever their state.
func (tx *Tx) CustomKeyStoreHasKeys(store CustomKeyStoreID) (bool, error) {
	ids, err := tx.storedIDs(store, customKeyStoreKeyName, 1)
	return len(ids) > 0, err
}

// storedIDs lists the ids, without the store's, of what is in a custom key store; limit 0 is all.
func (tx *Tx) storedIDs(store CustomKeyStoreID, kind string, limit int) (ids []string, err error) {
	start, end := storedRange(store, kind)
	for pair, err := range tx.engine.Scan(start, end) {
		if err != nil {
			return nil, tx.fail(err)
		}
		id, err := parseLevel(string(pair.Key[len(start):]))
		if err != nil {
			return nil, tx.fail(tampered(string(pair.Key), err))
		}
		if ids = append(ids, id); len(ids) == limit {
			break
		}
	}
	return ids, nil
}

// storedRange is the engine keys of what is in a custom key store.
func storedRange(store CustomKeyStoreID, kind string) (start, end []byte) {
	start = storedPlace(store, kind, "").append(nil) // ends in the separator, which is written as it is
	end = append(bytes.Clone(start[:len(start)-1]), storeSeparator[0]+1)
	return start, end
}

// KeyStoreOrphanRecord is an object that the token of a custom key store still has, though its key
// was deleted. A record that a Store gave out is shared: change a copy.
type KeyStoreOrphanRecord struct {
	Partition        string       `json:"partition"`
	Account          string       `json:"account"`
	Region           string       `json:"region"`
	CustomKeyStoreID string       `json:"customKeyStoreId"`
	KeyID            string       `json:"keyId"`
	Material         kms.Material `json:"material"`
}

const keyStoreOrphanName = "key-store-orphan"

// Store names the custom key store.
func (r *KeyStoreOrphanRecord) Store() CustomKeyStoreID {
	return CustomKeyStoreID{r.Partition, r.Account, r.Region, r.CustomKeyStoreID}
}

func (r *KeyStoreOrphanRecord) place() engineKey {
	return storedPlace(r.Store(), keyStoreOrphanName, r.KeyID)
}

func (r *KeyStoreOrphanRecord) prepare() (*KeyStoreOrphanRecord, error) {
	members := []string{r.Partition, r.Account, r.Region, r.CustomKeyStoreID, r.KeyID}
	if slices.Contains(members, "") || strings.Contains(r.CustomKeyStoreID, storeSeparator) || len(r.Material.ObjectID) == 0 {
		return nil, errors.New("a member of an orphan is empty or has a semicolon")
	}
	c := *r
	c.Material.Created = utc(c.Material.Created)
	return &c, nil
}

// PutKeyStoreOrphan writes that the token of a custom key store has an object to be destroyed.
func (tx *Tx) PutKeyStoreOrphan(r *KeyStoreOrphanRecord) error { return put(tx, keyStoreOrphanKind, r) }

// DeleteKeyStoreOrphan removes an orphan's record, ErrNotFound if it is gone.
func (tx *Tx) DeleteKeyStoreOrphan(r *KeyStoreOrphanRecord) error { return remove(tx, r.place()) }

// KeyStoreOrphans gives the orphans of a custom key store.
func (tx *Tx) KeyStoreOrphans(store CustomKeyStoreID) ([]*KeyStoreOrphanRecord, error) {
	ids, err := tx.storedIDs(store, keyStoreOrphanName, 0)
	if err != nil {
		return nil, err
	}
	var orphans []*KeyStoreOrphanRecord
	for _, id := range ids {
		orphan, err := get(tx, keyStoreOrphanKind, storedPlace(store, keyStoreOrphanName, id))
		if err != nil {
			return nil, tx.fail(err)
		}
		orphans = append(orphans, orphan)
	}
	return orphans, nil
}

// KeyStoreOrphans gives the orphans of a custom key store. They are shared and must not be changed.
func (s *Store) KeyStoreOrphans(ctx context.Context, store CustomKeyStoreID) (orphans []*KeyStoreOrphanRecord, err error) {
	start, end := storedRange(store, keyStoreOrphanName)
	var ids []string
	err = s.engine.View(ctx, func(tx EngineTx) error {
		ids = nil
		for pair, err := range tx.Scan(start, end) {
			if err != nil {
				return err
			}
			id, err := parseLevel(string(pair.Key[len(start):]))
			if err != nil {
				return tampered(string(pair.Key), err)
			}
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		orphan, err := load(ctx, s, keyStoreOrphanKind, storedPlace(store, keyStoreOrphanName, id))
		if errors.Is(err, ErrNotFound) {
			continue // destroyed meanwhile
		}
		if err != nil {
			return nil, err
		}
		orphans = append(orphans, orphan)
	}
	return orphans, nil
}
