package keystore

import (
	"bytes"
	"context"
	"fmt"
)

// Scope is an account's part of one Region.
type Scope struct{ Partition, Account, Region string }

// ScanKeys lists the ids of the keys in a scope in the order of the engine, beginning behind the
// id after ("" for the first), at most limit (from 1) of them, and says whether there are more.
//
// It reads no records. Whoever can write to the store can thus add and take away ids here; a
// record is genuine only when Key has given it.
func (s *Store) ScanKeys(ctx context.Context, in Scope, after string, limit int) (ids []string, more bool, err error) {
	return s.scanIDs(ctx, KeyID{Partition: in.Partition, Account: in.Account, Region: in.Region}.place(), after, nil, limit)
}

// ScanAliases is ScanKeys for the names of aliases, without "alias/". They are in the byte order
// of their names, except that '/' comes before all that a name may have.
func (s *Store) ScanAliases(ctx context.Context, in Scope, after string, limit int) (names []string, more bool, err error) {
	return s.scanIDs(ctx, AliasID{Partition: in.Partition, Account: in.Account, Region: in.Region}.place(), after, nil, limit)
}

// scanIDs lists the ids of one kind in one scope, which first names, up to the engine key end (nil
// for all of them).
func (s *Store) scanIDs(ctx context.Context, first engineKey, after string, end []byte, limit int) (ids []string, more bool, err error) {
	if limit < 1 {
		return nil, false, fmt.Errorf("%w: a scan of at most %d records", ErrInvalid, limit)
	}
	scope := first.appendScope(nil)
	start := scope
	if after != "" {
		start = append(appendLevel(bytes.Clone(scope), after), 0)
	}
	if end == nil {
		// The scope ends in '/', and what follows '/' is '0'.
		end = append(bytes.Clone(scope[:len(scope)-1]), '/'+1)
	}
	err = s.engine.View(ctx, func(tx EngineTx) error {
		for p, err := range tx.Scan(start, end) {
			if err != nil {
				return err
			}
			if len(ids) == limit {
				more = true
				return nil
			}
			id, err := parseLevel(string(p.Key[len(scope):]))
			if err != nil {
				return tampered(string(p.Key), err)
			}
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("listing records of kind %s: %w", first.kind, err)
	}
	return ids, more, nil
}
