package keystore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kms11/kms11/kms"
)

// GrantID names a grant: ID is what AWS calls the GrantId.
type GrantID struct {
	Key KeyID
	ID  string
}

// grantSeparator parts the names within an id. No key id, account, principal or grant id has it.
const grantSeparator = ";"

func (id GrantID) place() engineKey { return keyedPlace(id.Key, "grant", id.ID) }

// keyedPlace is where a record lies that belongs to a key.
func keyedPlace(key KeyID, kind, name string) engineKey {
	return engineKey{partition: key.Partition, account: key.Account, region: key.Region, kind: kind, id: key.ID + grantSeparator + name}
}

// GrantRecord is a grant on a KMS key. It never changes: it is created and deleted, with its index
// entries, by Tx.CreateGrant and Tx.DeleteGrant and by nothing else.
type GrantRecord struct {
	Partition string `json:"partition"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	KeyID     string `json:"keyId"`

	ID      string    `json:"id,omitempty"` // 64 hex digits
	Created time.Time `json:"created,omitzero"`
	Name    string    `json:"name,omitempty"`

	// One of the first two is set, and at most one of the others: principals are ARNs, service
	// principals names such as "rds.amazonaws.com".
	GranteePrincipal         string `json:"granteePrincipal,omitempty"`
	GranteeServicePrincipal  string `json:"granteeServicePrincipal,omitempty"`
	RetiringPrincipal        string `json:"retiringPrincipal,omitempty"`
	RetiringServicePrincipal string `json:"retiringServicePrincipal,omitempty"`
	// IssuingAccount is the ARN of the root user of the account that created the grant.
	IssuingAccount string `json:"issuingAccount"`

	Operations []kms.GrantOperation `json:"operations"`
	// The constraints; nil and empty are the same: no constraint.
	EncryptionContextEquals map[string]string `json:"encryptionContextEquals,omitempty"`
	EncryptionContextSubset map[string]string `json:"encryptionContextSubset,omitempty"`
	SourceARN               string            `json:"sourceArn,omitempty"`
}

// GrantID is the name of the grant that r describes.
func (r *GrantRecord) GrantID() GrantID { return GrantID{r.Key(), r.ID} }

// Key is the name of the key that the grant is on.
func (r *GrantRecord) Key() KeyID { return KeyID{r.Partition, r.Account, r.Region, r.KeyID} }

// Grantee is who gets the permissions.
func (r *GrantRecord) Grantee() string { return r.GranteePrincipal + r.GranteeServicePrincipal }

// Retiring is who may retire the grant, empty if it names nobody.
func (r *GrantRecord) Retiring() string { return r.RetiringPrincipal + r.RetiringServicePrincipal }

func (r *GrantRecord) place() engineKey { return r.GrantID().place() }

func (r *GrantRecord) prepare() (*GrantRecord, error) {
	if slices.Contains([]string{r.Partition, r.Account, r.Region, r.KeyID, r.IssuingAccount}, "") ||
		r.Created.IsZero() || len(r.Operations) == 0 {
		return nil, errors.New("a member that every grant has is empty")
	}
	if id, err := hex.DecodeString(r.ID); err != nil || len(id) != 32 || strings.ToLower(r.ID) != r.ID {
		return nil, errors.New("a grant's id is not 64 lower-case hexadecimal digits")
	}
	if (r.GranteePrincipal == "") == (r.GranteeServicePrincipal == "") || r.RetiringPrincipal != "" && r.RetiringServicePrincipal != "" {
		return nil, errors.New("a grant has one grantee and at most one who retires it")
	}
	for _, name := range []string{r.Account, r.KeyID, r.Grantee(), r.Retiring()} {
		if strings.Contains(name, grantSeparator) {
			return nil, errors.New("a name in a grant has a semicolon")
		}
	}
	for _, context := range []map[string]string{r.EncryptionContextEquals, r.EncryptionContextSubset} {
		for key, value := range context {
			if !utf8.ValidString(key) || !utf8.ValidString(value) {
				return nil, errors.New("a constraint is not UTF-8")
			}
		}
	}
	c := *r
	c.Created = utc(c.Created)
	c.Operations = slices.Clone(c.Operations)
	c.EncryptionContextEquals, c.EncryptionContextSubset = maps.Clone(c.EncryptionContextEquals), maps.Clone(c.EncryptionContextSubset)
	return &c, nil
}

// digest is the same for two grants that were asked for with the same name and parameters, by the
// same account: SHA-256 of the content without id and time and with the operations in order.
func (r *GrantRecord) digest() (string, error) {
	c := *r
	c.ID, c.Created = "", time.Time{}
	c.Operations = slices.Sorted(slices.Values(c.Operations))
	content, err := encodeJSON(&c)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

// Grant gives a grant, ErrNotFound if there is none. The record is shared and must not be changed.
func (s *Store) Grant(ctx context.Context, id GrantID) (*GrantRecord, error) {
	return load(ctx, s, grantKind, id.place())
}

// Grant gives a grant, ErrNotFound if there is none. The record must not be changed.
func (tx *Tx) Grant(id GrantID) (*GrantRecord, error) { return get(tx, grantKind, id.place()) }

// CreateGrant writes a new grant and its index entries and counts it, ErrExists if there is one of
// that id.
func (tx *Tx) CreateGrant(r *GrantRecord) error {
	if err := create(tx, grantKind, r); err != nil {
		return err
	}
	if err := put(tx, granteeKind, r.granteeEntry()); err != nil {
		return err
	}
	if r.Retiring() != "" {
		if err := put(tx, retiringKind, r.retiringEntry()); err != nil {
			return err
		}
	}
	if r.Name != "" {
		digest, err := r.digest()
		if err != nil {
			return tx.fail(err)
		}
		if err := put(tx, grantNameKind, &grantNameRecord{r.Partition, r.Account, r.Region, r.KeyID, digest, r.ID}); err != nil {
			return err
		}
	}
	return tx.countGrant(r.Key(), +1)
}

// DeleteGrant removes a grant and its index entries, ErrNotFound if there is none. Index entries
// that somebody took away do not keep it from being deleted.
func (tx *Tx) DeleteGrant(id GrantID) error {
	r, err := tx.Grant(id)
	if err != nil {
		return err
	}
	if err := tx.removeGrant(r); err != nil {
		return err
	}
	return tx.countGrant(id.Key, -1)
}

// SweepGrant is DeleteGrant for a grant whose key is gone, and its number of grants with it. One
// that cannot be read goes too; its index entries then lead nowhere.
func (tx *Tx) SweepGrant(id GrantID) error {
	r, err := tx.Grant(id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrTampered):
		return remove(tx, id.place())
	case err != nil:
		return err
	}
	return tx.removeGrant(r)
}

func (tx *Tx) removeGrant(r *GrantRecord) error {
	if err := remove(tx, r.place()); err != nil {
		return err
	}
	entries := []engineKey{r.granteeEntry().place()}
	if r.Retiring() != "" {
		entries = append(entries, r.retiringEntry().place())
	}
	if r.Name != "" {
		digest, err := r.digest()
		if err != nil {
			return tx.fail(err)
		}
		// The entry may be that of a grant that was created after this one.
		place := grantNamePlace(r.Key(), digest)
		if named, err := get(tx, grantNameKind, place); err == nil && named.GrantID == r.ID {
			entries = append(entries, place)
		}
	}
	for _, entry := range entries {
		if err := remove(tx, entry); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
