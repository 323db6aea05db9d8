package keystore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// RoleID names a role of an account.
type RoleID struct{ Partition, Account, Name string }

func (id RoleID) place() engineKey {
	return engineKey{partition: id.Partition, account: id.Account, kind: "role", id: id.Name}
}

// RoleRecord is a role: who may take it on, and what it may do. A record that a Store gave out is
// shared: change a Clone.
type RoleRecord struct {
	Partition   string    `json:"partition"`
	Account     string    `json:"account"`
	Name        string    `json:"name"`
	ARN         string    `json:"arn"`
	Created     time.Time `json:"created"`
	ID          string    `json:"id"` // unique: AROA...
	Description string    `json:"description,omitempty"`
	// Trust is the trust policy. White space between JSON tokens is not kept.
	Trust json.RawMessage `json:"trust"`
	// MaxSessionSeconds is how long a session may be asked to last.
	MaxSessionSeconds int `json:"maxSessionSeconds"`
	// Revoked, if set, ends the sessions that began before it.
	Revoked time.Time `json:"revoked,omitzero"`
	Identity
}

// RoleID is the name of the role that r describes.
func (r *RoleRecord) RoleID() RoleID { return RoleID{r.Partition, r.Account, r.Name} }

func (r *RoleRecord) place() engineKey { return r.RoleID().place() }

// Clone gives a copy that shares nothing with r.
func (r *RoleRecord) Clone() *RoleRecord {
	c := *r
	c.Trust = bytes.Clone(r.Trust)
	c.Identity = r.Identity.clone()
	return &c
}

func (r *RoleRecord) prepare() (*RoleRecord, error) {
	if slices.Contains([]string{r.Partition, r.Account, r.Name, r.ARN, r.ID, string(r.Trust)}, "") ||
		r.Created.IsZero() || r.MaxSessionSeconds < 1 {
		return nil, errors.New("a member that every role has is empty")
	}
	c := r.Clone()
	c.Created, c.Revoked = utc(c.Created), utc(c.Revoked)
	var err error
	if c.Trust, err = compactJSON(c.Trust); err != nil {
		return nil, fmt.Errorf("the trust policy is not JSON: %w", err)
	}
	return c, c.Identity.compact()
}

// Role gives a role's record, ErrNotFound if there is none. The record is shared and must not be
// changed. From the cache this takes no lock and allocates nothing.
func (s *Store) Role(ctx context.Context, id RoleID) (*RoleRecord, error) {
	return load(ctx, s, roleKind, id.place())
}

// ScanRoles is ScanUsers for roles.
func (s *Store) ScanRoles(ctx context.Context, partition, account, after string, limit int) (names []string, more bool, err error) {
	return s.scanIDs(ctx, RoleID{Partition: partition, Account: account}.place(), after, nil, limit)
}

// Role gives a role's record, ErrNotFound if there is none. The record must not be changed.
func (tx *Tx) Role(id RoleID) (*RoleRecord, error) { return get(tx, roleKind, id.place()) }

// PutRole writes a role's record in place of the one that was there, if any.
func (tx *Tx) PutRole(r *RoleRecord) error { return put(tx, roleKind, r) }

// CreateRole writes the record of a new role, ErrExists if there is one of that name.
func (tx *Tx) CreateRole(r *RoleRecord) error { return create(tx, roleKind, r) }

// DeleteRole removes a role's record, ErrNotFound if there is none. That ends its sessions.
func (tx *Tx) DeleteRole(id RoleID) error { return remove(tx, id.place()) }
