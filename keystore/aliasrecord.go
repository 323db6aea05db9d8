package keystore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ReservedAliases begins the names of the aliases of keys that a service manages for an account.
const ReservedAliases = "aws/"

// AliasID names an alias: Name is what follows "alias/".
type AliasID struct{ Partition, Account, Region, Name string }

func (id AliasID) place() engineKey {
	return engineKey{partition: id.Partition, account: id.Account, region: id.Region, kind: "alias", id: id.Name}
}

// AliasRecord is a second name of a KMS key in the same account and Region. It is the truth about
// the alias; the names in the key's record are kept in step with it, by the methods below and by
// nothing else. A record that a Store gave out is shared: change a copy.
type AliasRecord struct {
	Partition string `json:"partition"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	Name      string `json:"name"` // without "alias/"

	TargetKeyID string    `json:"targetKeyId"`
	Created     time.Time `json:"created"`
	Updated     time.Time `json:"updated"` // when TargetKeyID was set
}

// AliasID is the name of the alias that r describes.
func (r *AliasRecord) AliasID() AliasID { return AliasID{r.Partition, r.Account, r.Region, r.Name} }

// Target is the name of the key that the alias stands for.
func (r *AliasRecord) Target() KeyID {
	return KeyID{r.Partition, r.Account, r.Region, r.TargetKeyID}
}

func (r *AliasRecord) place() engineKey { return r.AliasID().place() }

func (r *AliasRecord) prepare() (*AliasRecord, error) {
	if slices.Contains([]string{r.Partition, r.Account, r.Region, r.Name, r.TargetKeyID}, "") ||
		r.Created.IsZero() || r.Updated.IsZero() {
		return nil, errors.New("a member that every alias has is empty")
	}
	c := *r
	c.Created, c.Updated = utc(c.Created), utc(c.Updated)
	return &c, nil
}

// Alias gives an alias's record, ErrNotFound if there is none. The record is shared and must not
// be changed. From the cache this takes no lock and allocates nothing.
func (s *Store) Alias(ctx context.Context, id AliasID) (*AliasRecord, error) {
	return load(ctx, s, aliasKind, id.place())
}

// KeyByAlias gives the record of the key that an alias stands for, ErrNotFound if there is no such
// alias. The record is shared and must not be changed. From the cache this takes no lock and
// allocates nothing.
//
// The key's record must name the alias: an old alias record that somebody put back is
// ErrTampered, unless the old record of the key was put back with it.
func (s *Store) KeyByAlias(ctx context.Context, id AliasID) (*KeyRecord, error) {
	alias, err := s.Alias(ctx, id)
	if err != nil {
		return nil, err
	}
	key, err := s.Key(ctx, alias.Target())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if err == nil && key.hasAlias(id.Name) {
		return key, nil
	}
	return s.keyByAliasAtOnce(ctx, id)
}

// keyByAliasAtOnce is for the case that the alias may have been moved or deleted between two
// reads: it looks at one moment.
func (s *Store) keyByAliasAtOnce(ctx context.Context, id AliasID) (*KeyRecord, error) {
	var key *KeyRecord
	err := s.Update(ctx, func(tx *Tx) (err error) {
		key, err = tx.KeyByAlias(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}

// KeyByAlias gives the record of the key that an alias stands for, as Store.KeyByAlias does. The
// record must not be changed.
func (tx *Tx) KeyByAlias(id AliasID) (*KeyRecord, error) {
	alias, err := tx.Alias(id)
	if err != nil {
		return nil, err
	}
	key, err := tx.Key(alias.Target())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if err != nil || !key.hasAlias(id.Name) {
		return nil, tampered(id.place().String(), fmt.Errorf("the key %s that it stands for does not name it", alias.TargetKeyID))
	}
	return key, nil
}

func (r *KeyRecord) hasAlias(name string) bool {
	_, found := slices.BinarySearch(r.Aliases, name)
	return found
}

// Alias gives an alias's record, ErrNotFound if there is none. The record must not be changed.
func (tx *Tx) Alias(id AliasID) (*AliasRecord, error) { return get(tx, aliasKind, id.place()) }

// CreateAlias writes a new alias and its name into its key's record. The error is ErrExists if
// there is an alias of that name and ErrNotFound if there is no such key.
func (tx *Tx) CreateAlias(r *AliasRecord) error {
	if err := create(tx, aliasKind, r); err != nil {
		return err
	}
	return tx.nameAlias(r.Target(), r.Name)
}

// MoveAlias lets an alias stand for another key from now on. The error is ErrNotFound if the alias
// or the key does not exist.
func (tx *Tx) MoveAlias(id AliasID, targetKeyID string, now time.Time) error {
	old, err := tx.Alias(id)
	if err != nil {
		return err
	}
	if err := tx.unnameAlias(old.Target(), id.Name); err != nil {
		return err
	}
	moved := *old
	moved.TargetKeyID, moved.Updated = targetKeyID, now
	if err := put(tx, aliasKind, &moved); err != nil {
		return err
	}
	return tx.nameAlias(moved.Target(), id.Name)
}

// DeleteAlias removes an alias and its name from its key's record, ErrNotFound if there is none.
func (tx *Tx) DeleteAlias(id AliasID) error {
	r, err := tx.Alias(id)
	if err != nil {
		return err
	}
	if err := remove(tx, id.place()); err != nil {
		return err
	}
	return tx.unnameAlias(r.Target(), id.Name)
}

// nameAlias adds an alias to the names in its key's record. Half an alias must not be committed,
// so a failure fails the transaction.
func (tx *Tx) nameAlias(target KeyID, name string) error {
	key, err := tx.Key(target)
	if err != nil {
		return tx.fail(err)
	}
	i, found := slices.BinarySearch(key.Aliases, name)
	if found {
		return nil
	}
	changed := key.Clone()
	changed.Aliases = slices.Insert(changed.Aliases, i, name)
	return put(tx, keyKind, changed)
}

// unnameAlias takes an alias off the names in its key's record. A key that is gone or does not
// name it leaves nothing to do: so a forged or outdated alias can be moved and deleted.
func (tx *Tx) unnameAlias(target KeyID, name string) error {
	key, err := tx.Key(target)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return tx.fail(err)
	}
	i, found := slices.BinarySearch(key.Aliases, name)
	if !found {
		return nil
	}
	changed := key.Clone()
	changed.Aliases = slices.Delete(changed.Aliases, i, i+1)
	return put(tx, keyKind, changed)
}
