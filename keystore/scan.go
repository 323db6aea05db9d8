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
	if limit < 1 {
		return nil, false, fmt.Errorf("%w: a scan of at most %d keys", ErrInvalid, limit)
	}
	scope := KeyID{Partition: in.Partition, Account: in.Account, Region: in.Region}.place().appendScope(nil)
	start := scope
	if after != "" {
		start = append(appendLevel(bytes.Clone(scope), after), 0)
	}
	// The scope ends in '/', and what follows '/' is '0'.
	end := append(bytes.Clone(scope[:len(scope)-1]), '/'+1)

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
		return nil, false, fmt.Errorf("listing keys: %w", err)
	}
	return ids, more, nil
}
