package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kms11/kms11/kms"
)

// DueAction is what is to be done when an entry is due.
type DueAction string

const (
	// DueDeleteKey: the waiting period of a key in the state PendingDeletion ends. The entry is
	// derived from the key's record and written and removed with it.
	DueDeleteKey DueAction = "delete-key"
	// DueRotateKey: the date of an automatic rotation. The entry is derived from the key's record as
	// that of DueDeleteKey is.
	DueRotateKey DueAction = "rotate-key"
	// DueExpireMaterial: the first of a key's imported materials that expire does. The entry is derived
	// from the key's record, whatever its state.
	DueExpireMaterial DueAction = "expire-material"
	// DueDestroyMaterial: the token still has the object of a resident key whose record is gone.
	DueDestroyMaterial DueAction = "destroy-material"
	// DueDeleteGrants: the grants of a key that was deleted then are still there.
	DueDeleteGrants DueAction = "delete-grants"
	// DueRetireDomainKeys: old versions of a domain's keys may be destroyed. KeyID is the domain's id.
	DueRetireDomainKeys DueAction = "retire-domain-keys"
)

// DueRecord says that something is to be done for a key at a time. Entries lie in the order of
// their times, those of all accounts and Regions together.
//
// An entry is a reminder, not an order: before acting on one that is derived look whether the key's
// record still calls for it.
type DueRecord struct {
	Due       time.Time `json:"due"` // in the years 1 to 9999
	Action    DueAction `json:"action"`
	Partition string    `json:"partition"`
	Account   string    `json:"account"`
	Region    string    `json:"region"`
	KeyID     string    `json:"keyId"`

	Material *kms.Material `json:"material,omitempty"` // of DueDestroyMaterial
}

// Key is the name of the key that the entry is about.
func (r *DueRecord) Key() KeyID { return KeyID{r.Partition, r.Account, r.Region, r.KeyID} }

// dueTime has a fixed width, so the order of the texts is that of the times.
const dueTime = "2006-01-02T15:04:05.000000000Z"

// duePlace takes no account and Region: one scan has to find what is due in all of them.
func duePlace(id string) engineKey { return engineKey{kind: "due", id: id} }

// ID names the entry among all entries.
func (r *DueRecord) ID() string {
	parts := []string{r.Due.UTC().Format(dueTime), string(r.Action), r.Partition, r.Account, r.Region, r.KeyID}
	if r.Material != nil {
		parts = append(parts, r.Material.ID)
	}
	return strings.Join(parts, ",")
}

func (r *DueRecord) place() engineKey { return duePlace(r.ID()) }

func (r *DueRecord) prepare() (*DueRecord, error) {
	members := []string{string(r.Action), r.Partition, r.Account, r.Region, r.KeyID}
	if slices.Contains(members, "") || r.Due.IsZero() {
		return nil, errors.New("a member that every due entry has is empty")
	}
	if slices.ContainsFunc(members, func(s string) bool { return strings.Contains(s, ",") }) {
		return nil, errors.New("a member of a due entry has a comma")
	}
	if year := r.Due.UTC().Year(); year < 1 || year > 9999 {
		return nil, fmt.Errorf("the year %d is not of four digits", year)
	}
	c := *r
	c.Due = utc(c.Due)
	if r.Material != nil {
		m := *r.Material
		m.Created = utc(m.Created)
		m.Blob, m.ObjectID, m.PublicKey = bytes.Clone(m.Blob), bytes.Clone(m.ObjectID), bytes.Clone(m.PublicKey)
		c.Material = &m
	}
	return &c, nil
}

// ScanDue lists the ids of what is due at until or before, earliest first, beginning behind the id
// after ("" for the first), at most limit (from 1) of them. It reads no records: an entry is
// genuine only when Due has given it.
func (s *Store) ScanDue(ctx context.Context, until time.Time, after string, limit int) (ids []string, err error) {
	// In an id a comma follows the time, and what follows a comma is a hyphen.
	end := duePlace("").appendScope(nil)
	end = append(end, until.UTC().Format(dueTime)...)
	ids, _, err = s.scanIDs(ctx, duePlace(""), after, append(end, ','+1), limit)
	return ids, err
}

// NextDue tells when the first entry after a time is due; ok is false if there is none.
func (s *Store) NextDue(ctx context.Context, after time.Time) (next time.Time, ok bool, err error) {
	ids, _, err := s.scanIDs(ctx, duePlace(""), after.UTC().Format(dueTime)+"-", nil, 1)
	if err != nil || len(ids) == 0 {
		return time.Time{}, false, err
	}
	text, _, _ := strings.Cut(ids[0], ",")
	if next, err = time.Parse(dueTime, text); err != nil {
		return time.Time{}, false, tampered(duePlace(ids[0]).String(), errors.New("it does not begin with a time"))
	}
	return next, true, nil
}

// Due gives an entry, ErrNotFound if there is none. The record is shared and must not be changed.
func (s *Store) Due(ctx context.Context, id string) (*DueRecord, error) {
	return load(ctx, s, dueKind, duePlace(id))
}

// Due gives an entry, ErrNotFound if there is none. The record must not be changed.
func (tx *Tx) Due(id string) (*DueRecord, error) { return get(tx, dueKind, duePlace(id)) }

// PutDue writes an entry that is not derived from a key's record.
func (tx *Tx) PutDue(r *DueRecord) error { return put(tx, dueKind, r) }

// DeleteDue removes an entry, ErrNotFound if there is none.
func (tx *Tx) DeleteDue(id string) error { return remove(tx, duePlace(id)) }

// due gives the entries that a key's record calls for; none for nil.
func (r *KeyRecord) due() []*DueRecord {
	if r == nil {
		return nil
	}
	var entries []*DueRecord
	call := func(action DueAction, at time.Time) {
		if at.IsZero() {
			return
		}
		entries = append(entries, &DueRecord{
			Due: at, Action: action,
			Partition: r.Partition, Account: r.Account, Region: r.Region, KeyID: r.ID,
		})
	}
	switch r.State {
	case kms.KeyStatePendingDeletion:
		call(DueDeleteKey, r.DeletionDate)
	case kms.KeyStateEnabled:
		// A replica is rotated with its primary key.
		if r.Rotation != nil && r.Rotation.Enabled && !r.Replica() {
			call(DueRotateKey, r.Rotation.Next)
		}
	}
	call(DueExpireMaterial, r.firstExpiry())
	return entries
}

// firstExpiry is when the first material that is present expires; zero if none does.
func (r *KeyRecord) firstExpiry() (first time.Time) {
	for i := range r.Materials {
		if m := &r.Materials[i]; m.Present() && !m.ValidTo.IsZero() && (first.IsZero() || m.ValidTo.Before(first)) {
			first = m.ValidTo
		}
	}
	return first
}

// DueBy says whether the key's record calls for something until a time.
func (r *KeyRecord) DueBy(until time.Time) bool {
	return slices.ContainsFunc(r.due(), func(d *DueRecord) bool { return !d.Due.After(until) })
}

// Calls says whether the key's record calls for an entry.
func (r *KeyRecord) Calls(entry *DueRecord) bool {
	return slices.ContainsFunc(r.due(), func(d *DueRecord) bool { return d.ID() == entry.ID() })
}

// replaceDue brings the derived entries from what an old record called for to what the new one
// does. An entry may be missing: somebody may have taken it away, and that must not keep the key's
// record from being changed.
func (tx *Tx) replaceDue(old, now *KeyRecord) error {
	for _, d := range old.due() {
		if now != nil && now.Calls(d) {
			continue
		}
		if err := tx.DeleteDue(d.ID()); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	for _, d := range now.due() {
		if old != nil && old.Calls(d) {
			continue
		}
		if err := tx.PutDue(d); err != nil {
			return err
		}
	}
	return nil
}
