package ops

import (
	"context"
	"errors"
	"time"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/keystore"
)

// Overdue is scheduled work whose time has come and that is not done.
type Overdue struct {
	Entries int           // at most maxOverdue
	Oldest  time.Duration // how long the first of them has been due
}

// maxOverdue bounds how many entries are counted.
const maxOverdue = 1000

// Overdue looks in the store for work that is due. What is due now and will be done at once counts too,
// so only what stays tells of trouble.
func (s *Service) Overdue(ctx context.Context) (Overdue, error) {
	now := s.now()
	ids, err := s.store.ScanDue(ctx, now, "", maxOverdue)
	if err != nil || len(ids) == 0 {
		return Overdue{}, err
	}
	overdue := Overdue{Entries: len(ids)}
	first, ok, err := s.store.NextDue(ctx, time.Time{})
	if err == nil && ok {
		overdue.Oldest = max(0, now.Sub(first))
	}
	return overdue, err
}

// KeyStoreGroup is what custom key stores are counted by: AWS's types and connection states.
type KeyStoreGroup struct{ Type, State string }

// CountKeyStores counts the custom key stores of all accounts and Regions as their records have them.
func (s *Service) CountKeyStores(ctx context.Context) (map[KeyStoreGroup]int, error) {
	ids, err := s.store.ScanCustomKeyStores(ctx)
	if err != nil {
		return nil, err
	}
	counts := map[KeyStoreGroup]int{}
	for _, id := range ids {
		record, err := s.store.CustomKeyStore(ctx, id)
		if errors.Is(err, keystore.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		counts[KeyStoreGroup{string(record.Type), string(record.State)}]++
	}
	return counts, nil
}

// AuditTrailStatus is how an audit trail is.
type AuditTrailStatus = audit.Status

// AuditStatus tells how the audit trail is; nil where there is none.
func (s *Service) AuditStatus() *AuditTrailStatus {
	if s.audit == nil {
		return nil
	}
	status := s.audit.Status()
	return &status
}
