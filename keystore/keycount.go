package keystore

import (
	"bytes"
	"context"
	"errors"

	"github.com/kms11/kms11/kms"
)

// keyCountRecord is how many keys a scope has, those that a service manages for an account left
// out. A scope in which a program that did not count made keys has none until the next key is made.
type keyCountRecord struct {
	Partition string `json:"partition"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	Keys      int    `json:"keys"`
}

// keyCountName is the one id of its kind in a scope.
const keyCountName = "all"

func keyCountPlace(in Scope) engineKey {
	return engineKey{partition: in.Partition, account: in.Account, region: in.Region, kind: "key-count", id: keyCountName}
}

func (r *keyCountRecord) place() engineKey {
	return keyCountPlace(Scope{r.Partition, r.Account, r.Region})
}

func (r *keyCountRecord) prepare() (*keyCountRecord, error) {
	if r.Partition == "" || r.Account == "" || r.Region == "" || r.Keys < 0 {
		return nil, errors.New("a member of a number of keys is empty or negative")
	}
	return r, nil
}

// KeyCount is the number of keys in a scope as Tx.KeyCount gives it, ErrNotFound where it would have
// to be counted.
func (s *Store) KeyCount(ctx context.Context, in Scope) (int, error) {
	r, err := load(ctx, s, keyCountKind, keyCountPlace(in))
	if err != nil {
		return 0, err
	}
	return r.Keys, nil
}

// KeyCount is the number of keys in a scope, those of customers only: a key whose manager is AWS
// does not count against the account (AWS KMS resource quotas). Where the number is not in the
// store it is counted, which takes time proportional to the number of keys and no token call.
func (tx *Tx) KeyCount(in Scope) (int, error) {
	r, err := get(tx, keyCountKind, keyCountPlace(in))
	if errors.Is(err, ErrNotFound) {
		return tx.scanKeyCount(in)
	}
	if err != nil {
		return 0, err
	}
	return r.Keys, nil
}

// RecountKeys brings the number of keys of a scope in line with the keys that are there.
func (tx *Tx) RecountKeys(in Scope) (int, error) {
	n, err := tx.scanKeyCount(in)
	if err != nil {
		return 0, err
	}
	return n, put(tx, keyCountKind, &keyCountRecord{in.Partition, in.Account, in.Region, n})
}

// scanKeyCount counts without reading records. Each key that a service manages has exactly one
// reserved alias, and no other key has any.
func (tx *Tx) scanKeyCount(in Scope) (int, error) {
	keys, err := tx.countPrefix(KeyID{Partition: in.Partition, Account: in.Account, Region: in.Region}.place())
	if err != nil {
		return 0, err
	}
	managed, err := tx.countPrefix(AliasID{in.Partition, in.Account, in.Region, ReservedAliases}.place())
	if err != nil {
		return 0, err
	}
	return max(0, keys-managed), nil
}

// countPrefix counts the records whose engine key begins with that of first.
func (tx *Tx) countPrefix(first engineKey) (n int, err error) {
	start := first.append(nil)
	end := bytes.Clone(start)
	end[len(end)-1]++ // the last byte of a scope or of an escaped '/' is no 0xff
	for _, err := range tx.engine.Scan(start, end) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// countKey notes that a key was made or is gone.
func (tx *Tx) countKey(r *KeyRecord, change int) error {
	if !r.counts() {
		return nil
	}
	in := Scope{r.Partition, r.Account, r.Region}
	count, err := get(tx, keyCountKind, keyCountPlace(in))
	if errors.Is(err, ErrNotFound) {
		_, err := tx.RecountKeys(in) // of the keys as they are after the change
		if err != nil {
			return tx.fail(err)
		}
		return nil
	}
	if err != nil {
		return tx.fail(err)
	}
	return put(tx, keyCountKind, &keyCountRecord{in.Partition, in.Account, in.Region, max(0, count.Keys+change)})
}

// counts says whether a key is one of those that its account may have a limited number of.
func (r *KeyRecord) counts() bool { return r.Manager != kms.KeyManagerTypeAws }
