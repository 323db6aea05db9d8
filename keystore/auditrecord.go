package keystore

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/kms11/kms11/kms"
)

// AuditRecord is what the keystore keeps of the audit trail: the key that signs its digests, and how
// far it went when the last one was made. There is one in a store at most.
type AuditRecord struct {
	Created time.Time `json:"created"`
	// Key is a P-256 key pair that signs.
	Key kms.Material `json:"key"`
	// Digest is the number of the last digest, 0 before the first; Hash its SHA-256 in hexadecimal;
	// Sequence the last record that it covers.
	Digest   uint64 `json:"digest,omitempty"`
	Hash     string `json:"hash,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
}

func auditPlace() engineKey { return engineKey{kind: "audit", id: "trail"} }

func (r *AuditRecord) place() engineKey { return auditPlace() }

func (r *AuditRecord) prepare() (*AuditRecord, error) {
	if r.Created.IsZero() || len(r.Key.PublicKey) == 0 || len(r.Key.Blob) == 0 && len(r.Key.ObjectID) == 0 {
		return nil, errors.New("the key that signs the audit trail is not whole")
	}
	c := *r
	c.Created, c.Key.Created = utc(c.Created), utc(c.Key.Created)
	c.Key.Blob, c.Key.ObjectID, c.Key.PublicKey = bytes.Clone(c.Key.Blob), bytes.Clone(c.Key.ObjectID), bytes.Clone(c.Key.PublicKey)
	return &c, nil
}

// Audit gives the record of the audit trail, ErrNotFound if there is none. It is shared and must
// not be changed.
func (s *Store) Audit(ctx context.Context) (*AuditRecord, error) {
	return load(ctx, s, auditKind, auditPlace())
}

// Audit gives the record of the audit trail, ErrNotFound if there is none. It must not be changed.
func (tx *Tx) Audit() (*AuditRecord, error) { return get(tx, auditKind, auditPlace()) }

// PutAudit writes the record of the audit trail.
func (tx *Tx) PutAudit(r *AuditRecord) error { return put(tx, auditKind, r) }
