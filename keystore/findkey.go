package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// FindKey gives the key of an id in a Region, whichever account owns it, ErrNotFound if none does.
// A ciphertext names a key but not its account. It looks at one record for each account in the
// store: use it where the likely account has not led to the key.
func (s *Store) FindKey(ctx context.Context, partition, region, id string) (*KeyRecord, error) {
	var found *KeyID
	err := s.engine.View(ctx, func(tx EngineTx) error {
		return eachAccount(tx, partition, func(written string) (more bool, err error) {
			found, err = ownedBy(tx, written, KeyID{Partition: partition, Region: region, ID: id})
			return found == nil, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("finding key %s: %w", id, err)
	}
	if found == nil {
		return nil, fmt.Errorf("key %s: %w", id, ErrNotFound)
	}
	return s.Key(ctx, *found)
}

// Accounts lists the accounts of a partition that have anything in the store, in their order. It
// reads no records: see ScanKeys.
func (s *Store) Accounts(ctx context.Context, partition string) (accounts []string, err error) {
	err = s.engine.View(ctx, func(tx EngineTx) error {
		accounts = nil
		return eachAccount(tx, partition, func(written string) (bool, error) {
			account, err := parseLevel(written)
			accounts = append(accounts, account)
			return true, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing accounts: %w", err)
	}
	return accounts, nil
}

// eachAccount calls visit with the written level of each account of a partition until it says no.
// "-" is the level of records that belong to no account: it is passed over.
func eachAccount(tx EngineTx, partition string, visit func(written string) (more bool, err error)) error {
	scope := append(appendLevel(nil, partition), '/')
	end := append(bytes.Clone(scope[:len(scope)-1]), '/'+1)
	for start := scope; ; {
		written, err := firstLevel(tx, start, end, len(scope))
		if err != nil || written == nil {
			return err
		}
		if string(written) != "-" {
			if more, err := visit(string(written)); !more || err != nil {
				return err
			}
		}
		start = append(append(bytes.Clone(scope), written...), '/'+1) // behind all of the account
	}
}

// ownedBy gives the key's name in the account of a written level, nil if the account does not have
// it.
func ownedBy(tx EngineTx, written string, key KeyID) (*KeyID, error) {
	var err error
	if key.Account, err = parseLevel(written); err != nil {
		return nil, err
	}
	_, err = tx.Get(key.place().append(nil))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &key, err
}

// firstLevel gives the level that begins at offset in the first engine key of a range, nil if the
// range is empty.
func firstLevel(tx EngineTx, start, end []byte, offset int) ([]byte, error) {
	for pair, err := range tx.Scan(start, end) {
		if err != nil {
			return nil, err
		}
		level, _, _ := bytes.Cut(pair.Key[offset:], []byte("/"))
		return bytes.Clone(level), nil
	}
	return nil, nil
}
