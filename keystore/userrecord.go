package keystore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"
)

// UserID names a user of an account.
type UserID struct{ Partition, Account, Name string }

func (id UserID) place() engineKey {
	return engineKey{partition: id.Partition, account: id.Account, kind: "user", id: id.Name}
}

// UserRecord is a user and what it may do. A record that a Store gave out is shared: change a
// Clone.
type UserRecord struct {
	Partition string    `json:"partition"`
	Account   string    `json:"account"`
	Name      string    `json:"name"`
	ARN       string    `json:"arn"`
	Created   time.Time `json:"created"`
	// ID is the unique id, AIDA..., of content version 2. A record of version 1 has none, and does
	// not list its access keys.
	ID string `json:"id,omitempty"`
	Identity
	// AccessKeys are the ids of the user's access keys, in the order of their creation. A key whose
	// user does not list it is good for nothing.
	AccessKeys []string `json:"accessKeys,omitempty"`
}

// UserID is the name of the user that r describes.
func (r *UserRecord) UserID() UserID { return UserID{r.Partition, r.Account, r.Name} }

func (r *UserRecord) place() engineKey { return r.UserID().place() }

// Clone gives a copy that shares nothing with r.
func (r *UserRecord) Clone() *UserRecord {
	c := *r
	c.Identity = r.Identity.clone()
	c.AccessKeys = slices.Clone(r.AccessKeys)
	return &c
}

func (r *UserRecord) prepare() (*UserRecord, error) {
	if slices.Contains([]string{r.Partition, r.Account, r.Name, r.ARN, r.ID}, "") || r.Created.IsZero() {
		return nil, errors.New("a member that every user has is empty")
	}
	c := r.Clone()
	c.Created = utc(c.Created)
	return c, c.Identity.compact()
}

// AccessKeyRecord is an access key: whoever knows its secret acts as the principal. A record that
// a Store gave out is shared: change a Clone.
type AccessKeyRecord struct {
	ID           string    `json:"id"` // AKIA...
	Account      string    `json:"account"`
	PrincipalARN string    `json:"principalArn"`
	SealedSecret []byte    `json:"sealedSecret"` // by the domain's sealing key
	Created      time.Time `json:"created"`
	Disabled     bool      `json:"disabled,omitempty"`
}

// accessKeyPlace: the id alone has to lead to the record, because it is all that a request says.
func accessKeyPlace(id string) engineKey { return engineKey{kind: "access-key", id: id} }

func (r *AccessKeyRecord) place() engineKey { return accessKeyPlace(r.ID) }

// Clone gives a copy that shares nothing with r.
func (r *AccessKeyRecord) Clone() *AccessKeyRecord {
	c := *r
	c.SealedSecret = bytes.Clone(r.SealedSecret)
	return &c
}

func (r *AccessKeyRecord) prepare() (*AccessKeyRecord, error) {
	if r.ID == "" || r.Account == "" || r.PrincipalARN == "" || len(r.SealedSecret) == 0 || r.Created.IsZero() {
		return nil, errors.New("a member that every access key has is empty")
	}
	c := r.Clone()
	c.Created = utc(c.Created)
	return c, nil
}

// User gives a user's record, ErrNotFound if there is none. The record is shared and must not be
// changed.
func (s *Store) User(ctx context.Context, id UserID) (*UserRecord, error) {
	return load(ctx, s, userKind, id.place())
}

// HoldUser is User for who keeps what it makes of the record.
func (s *Store) HoldUser(ctx context.Context, id UserID) (Held[UserRecord], error) {
	return hold(ctx, s, userKind, id.place())
}

// ScanUsers lists the names of an account's users in their order, beginning behind the name after
// ("" for the first), at most limit (from 1) of them, and says whether there are more. It reads no
// records: see ScanKeys.
func (s *Store) ScanUsers(ctx context.Context, partition, account, after string, limit int) (names []string, more bool, err error) {
	return s.scanIDs(ctx, UserID{Partition: partition, Account: account}.place(), after, nil, limit)
}

// AccessKey gives an access key's record, ErrNotFound if there is none. The record is shared and
// must not be changed. From the cache this takes no lock and allocates nothing.
func (s *Store) AccessKey(ctx context.Context, id string) (*AccessKeyRecord, error) {
	return load(ctx, s, accessKeyKind, accessKeyPlace(id))
}

// HoldAccessKey is AccessKey for who keeps what it makes of the record.
func (s *Store) HoldAccessKey(ctx context.Context, id string) (Held[AccessKeyRecord], error) {
	return hold(ctx, s, accessKeyKind, accessKeyPlace(id))
}

// User gives a user's record, ErrNotFound if there is none. The record must not be changed.
func (tx *Tx) User(id UserID) (*UserRecord, error) { return get(tx, userKind, id.place()) }

// PutUser writes a user's record in place of the one that was there, if any.
func (tx *Tx) PutUser(r *UserRecord) error { return put(tx, userKind, r) }

// CreateUser writes the record of a new user, ErrExists if there is one of that name.
func (tx *Tx) CreateUser(r *UserRecord) error { return create(tx, userKind, r) }

// DeleteUser removes a user's record, ErrNotFound if there is none. Its access keys stay.
func (tx *Tx) DeleteUser(id UserID) error { return remove(tx, id.place()) }

// AccessKeyIDs lists the ids of all access keys of all accounts. It reads no records.
func (tx *Tx) AccessKeyIDs() (ids []string, err error) {
	scope := accessKeyPlace("").appendScope(nil)
	for pair, err := range tx.engine.Scan(scope, append(bytes.Clone(scope[:len(scope)-1]), '/'+1)) {
		if err != nil {
			return nil, err
		}
		id, err := parseLevel(string(pair.Key[len(scope):]))
		if err != nil {
			return nil, tampered(string(pair.Key), err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// AccessKey gives an access key's record, ErrNotFound if there is none. The record must not be
// changed.
func (tx *Tx) AccessKey(id string) (*AccessKeyRecord, error) {
	return get(tx, accessKeyKind, accessKeyPlace(id))
}

// PutAccessKey writes an access key's record in place of the one that was there, if any.
func (tx *Tx) PutAccessKey(r *AccessKeyRecord) error { return put(tx, accessKeyKind, r) }

// CreateAccessKey writes the record of a new access key, ErrExists if there is one of that id.
func (tx *Tx) CreateAccessKey(r *AccessKeyRecord) error { return create(tx, accessKeyKind, r) }

// DeleteAccessKey removes an access key's record, ErrNotFound if there is none.
func (tx *Tx) DeleteAccessKey(id string) error { return remove(tx, accessKeyPlace(id)) }
