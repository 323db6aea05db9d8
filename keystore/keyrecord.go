package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/kms11/kms11/kms"
)

// KeyID names a KMS key. A multi-Region key has the same ID in each of its Regions.
type KeyID struct{ Partition, Account, Region, ID string }

func (id KeyID) place() engineKey {
	return engineKey{partition: id.Partition, account: id.Account, region: id.Region, kind: "key", id: id.ID}
}

// KeyRecord is a KMS key in one Region. Aliases, grants and the last use are records of their own;
// the entries of what is due for the key are derived from its record.
// A record that a Store gave out is shared: change a Clone.
type KeyRecord struct {
	Partition string `json:"partition"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	ID        string `json:"id"`

	Created     time.Time          `json:"created"`
	Description string             `json:"description,omitempty"`
	Spec        kms.KeySpec        `json:"spec"`
	Usage       kms.KeyUsageType   `json:"usage"`
	Origin      kms.OriginType     `json:"origin"`
	Manager     kms.KeyManagerType `json:"manager"`

	// State is never Unavailable: that is the state of a custom key store, seen through its keys.
	State kms.KeyState `json:"state"`
	// DeletionDate is set in the state PendingDeletion only.
	DeletionDate time.Time `json:"deletionDate,omitzero"`
	// PendingWindowInDays is the waiting period asked for, in the states PendingDeletion and
	// PendingReplicaDeletion.
	PendingWindowInDays int32 `json:"pendingWindowInDays,omitempty"`

	// Policy is the key policy as its author wrote it.
	Policy string `json:"policy"`
	Tags   []Tag  `json:"tags,omitempty"` // in the order they were set
	// Aliases are the names, without "alias/", of the aliases that stand for the key, in ascending
	// order. They change with the aliases' own records only: see Tx.CreateAlias.
	Aliases []string `json:"aliases,omitempty"`

	// Materials is all key material the key ever had, by ascending ordinal.
	Materials []KeyMaterial `json:"materials,omitempty"`
	// Current is the ordinal of the material that new ciphertexts are made with; 0 before the
	// first import. A material with a higher ordinal waits for a rotation.
	Current  uint32    `json:"current,omitempty"`
	Rotation *Rotation `json:"rotation,omitempty"` // nil if it was never asked for

	MultiRegion *MultiRegion `json:"multiRegion,omitempty"` // nil for a single-Region key

	CustomKeyStoreID string `json:"customKeyStoreId,omitempty"`
	XksKeyID         string `json:"xksKeyId,omitempty"`

	arn madeARN // see ARN
}

// Tag is a label of a key.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// KeyMaterial is a material and what happened to it. An imported material that was deleted or has
// expired keeps its place, id and ordinal, with neither Blob nor ObjectID.
type KeyMaterial struct {
	kms.Material

	// Rotated is when the material became current; zero for the first one and for one that waits.
	Rotated      time.Time        `json:"rotated,omitzero"`
	RotationType kms.RotationType `json:"rotationType,omitempty"`

	// The rest is about imported material.
	Description     string                  `json:"description,omitempty"`
	ExpirationModel kms.ExpirationModelType `json:"expirationModel,omitempty"`
	ValidTo         time.Time               `json:"validTo,omitzero"`
}

// Present says whether the token can use the material.
func (m *KeyMaterial) Present() bool { return len(m.Blob) > 0 || len(m.ObjectID) > 0 }

// Rotation is a key's rotation setting and history.
type Rotation struct {
	// Enabled, PeriodInDays and Next are the automatic schedule. It rests, unchanged, while the key
	// is in any state but Enabled. A replica has a copy of its primary key's.
	Enabled      bool      `json:"enabled,omitempty"`
	PeriodInDays int32     `json:"periodInDays,omitempty"`
	Next         time.Time `json:"next,omitzero"`
	// OnDemand counts the rotations on demand, of which AWS allows 25 in the life of a key.
	OnDemand int32 `json:"onDemand,omitempty"`
	// OnDemandStarted is set while a rotation on demand is in progress.
	OnDemandStarted time.Time `json:"onDemandStarted,omitzero"`
}

// MultiRegion says where the related keys of a multi-Region key are.
type MultiRegion struct {
	Type           kms.MultiRegionKeyType `json:"type"`
	PrimaryRegion  string                 `json:"primaryRegion"`
	ReplicaRegions []string               `json:"replicaRegions,omitempty"`
}

// Replica says whether the key is a replica of a multi-Region key.
func (r *KeyRecord) Replica() bool {
	return r.MultiRegion != nil && r.MultiRegion.Type == kms.MultiRegionKeyTypeReplica
}

// KeyID is the name of the key that r describes.
func (r *KeyRecord) KeyID() KeyID { return KeyID{r.Partition, r.Account, r.Region, r.ID} }

func (r *KeyRecord) place() engineKey { return r.KeyID().place() }

// Material gives the material with this ordinal, nil if there is none. It is part of r.
func (r *KeyRecord) Material(ordinal uint32) *kms.Material {
	if i := r.materialIndex(ordinal); i >= 0 {
		return &r.Materials[i].Material
	}
	return nil
}

// CurrentMaterial gives the material for new ciphertexts, nil if nothing was ever imported. It is
// part of r.
func (r *KeyRecord) CurrentMaterial() *kms.Material { return r.Material(r.Current) }

func (r *KeyRecord) materialIndex(ordinal uint32) int {
	// Nearly always ordinals have no gaps.
	if i := int(ordinal) - 1; i >= 0 && i < len(r.Materials) && r.Materials[i].Ordinal == ordinal {
		return i
	}
	return slices.IndexFunc(r.Materials, func(m KeyMaterial) bool { return m.Ordinal == ordinal })
}

// Clone gives a copy that shares nothing with r.
func (r *KeyRecord) Clone() *KeyRecord {
	c := *r
	c.arn = madeARN{}
	c.Tags, c.Aliases = slices.Clone(r.Tags), slices.Clone(r.Aliases)
	c.Materials = slices.Clone(r.Materials)
	for i := range c.Materials {
		m := &c.Materials[i]
		m.Blob, m.ObjectID, m.PublicKey = bytes.Clone(m.Blob), bytes.Clone(m.ObjectID), bytes.Clone(m.PublicKey)
	}
	if r.Rotation != nil {
		rotation := *r.Rotation
		c.Rotation = &rotation
	}
	if r.MultiRegion != nil {
		multi := *r.MultiRegion
		multi.ReplicaRegions = slices.Clone(multi.ReplicaRegions)
		c.MultiRegion = &multi
	}
	return &c
}

func (r *KeyRecord) prepare() (*KeyRecord, error) {
	if slices.Contains([]string{r.Partition, r.Account, r.Region, r.ID, string(r.Spec), string(r.Usage),
		string(r.Origin), string(r.Manager), string(r.State)}, "") || r.Created.IsZero() {
		return nil, errors.New("a member that every key has is empty")
	}
	if !utf8.ValidString(r.Description) || !utf8.ValidString(r.Policy) {
		return nil, errors.New("description or policy is not UTF-8")
	}
	for _, t := range r.Tags {
		if !utf8.ValidString(t.Key) || !utf8.ValidString(t.Value) {
			return nil, errors.New("a tag is not UTF-8")
		}
	}
	for i, name := range r.Aliases {
		if name == "" || i > 0 && r.Aliases[i-1] >= name {
			return nil, errors.New("the aliases are not in ascending order")
		}
	}
	last := uint32(0)
	for _, m := range r.Materials {
		if m.Ordinal <= last {
			return nil, fmt.Errorf("material %d comes after material %d", m.Ordinal, last)
		}
		last = m.Ordinal
	}
	if r.Current != 0 && r.CurrentMaterial() == nil {
		return nil, fmt.Errorf("the current material %d is missing", r.Current)
	}

	c := r.Clone()
	c.Created, c.DeletionDate = utc(c.Created), utc(c.DeletionDate)
	for i := range c.Materials {
		m := &c.Materials[i]
		m.Created, m.Rotated, m.ValidTo = utc(m.Created), utc(m.Rotated), utc(m.ValidTo)
	}
	if c.Rotation != nil {
		c.Rotation.Next, c.Rotation.OnDemandStarted = utc(c.Rotation.Next), utc(c.Rotation.OnDemandStarted)
	}
	return c, nil
}

// Key gives a key's record, ErrNotFound if there is none. The record is shared and must not be
// changed. From the cache this takes no lock and allocates nothing.
func (s *Store) Key(ctx context.Context, id KeyID) (*KeyRecord, error) {
	return load(ctx, s, keyKind, id.place())
}

// Key gives a key's record, ErrNotFound if there is none. The record must not be changed: put a
// changed Clone.
func (tx *Tx) Key(id KeyID) (*KeyRecord, error) { return get(tx, keyKind, id.place()) }

// PutKey writes a key's record in place of the one that was there, if any, and what is due for the
// key with it. It does not change the key's aliases.
func (tx *Tx) PutKey(r *KeyRecord) error {
	old, err := tx.Key(r.KeyID())
	if errors.Is(err, ErrNotFound) {
		old, err = nil, nil
	}
	if err != nil {
		return tx.fail(err)
	}
	var aliases []string
	if old != nil {
		aliases = old.Aliases
	}
	if !slices.Equal(aliases, r.Aliases) {
		return tx.fail(fmt.Errorf("record %s: %w: aliases change with their own records only", r.place(), ErrInvalid))
	}
	if err := put(tx, keyKind, r); err != nil {
		return err
	}
	if old == nil {
		if err := tx.countKey(r, 1); err != nil {
			return err
		}
	}
	return tx.replaceDue(old, r)
}

// CreateKey writes the record of a new key, ErrExists if there is one of that name, or one in the same
// custom key store with the same external key.
func (tx *Tx) CreateKey(r *KeyRecord) error {
	if len(r.Aliases) > 0 {
		return tx.fail(fmt.Errorf("record %s: %w: a new key has no aliases", r.place(), ErrInvalid))
	}
	if err := create(tx, keyKind, r); err != nil {
		return err
	}
	if err := tx.countKey(r, 1); err != nil {
		return err
	}
	if stored := r.stored(); stored != nil {
		if err := create(tx, customKeyStoreKeyKind, stored); err != nil {
			return tx.fail(err)
		}
	}
	return tx.replaceDue(nil, r)
}

// DeleteKey removes a key's record, its aliases, its last use and what is due for it, ErrNotFound
// if there is no such key.
func (tx *Tx) DeleteKey(id KeyID) error {
	r, err := tx.Key(id)
	if err != nil {
		return err
	}
	if err := remove(tx, id.place()); err != nil {
		return err
	}
	if err := tx.countKey(r, -1); err != nil {
		return err
	}
	for _, name := range r.Aliases {
		alias := AliasID{id.Partition, id.Account, id.Region, name}
		// One that somebody took away must not keep the key from being deleted.
		if err := remove(tx, alias.place()); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	if stored := r.stored(); stored != nil {
		// As with an alias.
		if err := remove(tx, stored.place()); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	if err := tx.deleteLastUsage(id); err != nil {
		return err
	}
	return tx.replaceDue(r, nil)
}
