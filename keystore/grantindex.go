package keystore

import (
	"context"
	"errors"
	"strings"
)

// grantRef is the content of an index entry: it says that a principal has to do with a grant. An
// entry is found by its place and never read: whoever goes by it reads the grant.
type grantRef struct {
	Partition string `json:"partition"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	KeyID     string `json:"keyId"`
	Principal string `json:"principal"`
	GrantID   string `json:"grantId"`
}

func (r *grantRef) check() error {
	for _, member := range []string{r.Partition, r.Account, r.Region, r.KeyID, r.Principal, r.GrantID} {
		if member == "" || strings.Contains(member, grantSeparator) {
			return errors.New("a member of a grant's index entry is empty or has a semicolon")
		}
	}
	return nil
}

// granteeRecord leads from a key and a grantee to a grant: what a decision needs.
type granteeRecord struct {
	grantRef
	Selector string `json:"selector"` // see selectorOf
}

func (r *GrantRecord) granteeEntry() *granteeRecord {
	return &granteeRecord{grantRef{r.Partition, r.Account, r.Region, r.KeyID, r.Grantee(), r.ID}, r.selector()}
}

func (r *granteeRecord) place() engineKey {
	return keyedPlace(KeyID{r.Partition, r.Account, r.Region, r.KeyID}, "grantee",
		strings.Join([]string{r.Principal, r.Selector, r.GrantID}, grantSeparator))
}

func (r *granteeRecord) prepare() (*granteeRecord, error) { return r, r.check() }

// retiringRecord leads from a retiring principal to its grants, on the keys of all accounts.
type retiringRecord struct{ grantRef }

func (r *GrantRecord) retiringEntry() *retiringRecord {
	return &retiringRecord{grantRef{r.Partition, r.Account, r.Region, r.KeyID, r.Retiring(), r.ID}}
}

func (r *retiringRecord) place() engineKey {
	return engineKey{partition: r.Partition, region: r.Region, kind: "retiring",
		id: strings.Join([]string{r.Principal, r.Account, r.KeyID, r.GrantID}, grantSeparator)}
}

func (r *retiringRecord) prepare() (*retiringRecord, error) { return r, r.check() }

// grantNameRecord leads from what a grant was asked for with, its name included, to the grant.
type grantNameRecord struct {
	Partition string `json:"partition"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	KeyID     string `json:"keyId"`
	Digest    string `json:"digest"`
	GrantID   string `json:"grantId"`
}

func grantNamePlace(key KeyID, digest string) engineKey { return keyedPlace(key, "grant-name", digest) }

func (r *grantNameRecord) place() engineKey {
	return grantNamePlace(KeyID{r.Partition, r.Account, r.Region, r.KeyID}, r.Digest)
}

func (r *grantNameRecord) prepare() (*grantNameRecord, error) {
	if r.Partition == "" || r.Account == "" || r.Region == "" || r.KeyID == "" || r.Digest == "" || r.GrantID == "" {
		return nil, errors.New("a member of a grant's name entry is empty")
	}
	return r, nil
}

// grantCountRecord is how many grants a key has: there is none for a key without grants.
type grantCountRecord struct {
	Partition string `json:"partition"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	KeyID     string `json:"keyId"`
	Grants    int    `json:"grants"`
}

func grantCountPlace(key KeyID) engineKey {
	return engineKey{partition: key.Partition, account: key.Account, region: key.Region, kind: "grant-count", id: key.ID}
}

func (r *grantCountRecord) place() engineKey {
	return grantCountPlace(KeyID{r.Partition, r.Account, r.Region, r.KeyID})
}

func (r *grantCountRecord) prepare() (*grantCountRecord, error) {
	if r.Partition == "" || r.Account == "" || r.Region == "" || r.KeyID == "" || r.Grants < 1 {
		return nil, errors.New("a member of a number of grants is empty or less than 1")
	}
	return r, nil
}

// GrantLike gives the grant that was created with the same name and parameters, by the same
// account, as r asks for; ErrNotFound if there is none.
func (tx *Tx) GrantLike(r *GrantRecord) (*GrantRecord, error) {
	digest, err := r.digest()
	if err != nil {
		return nil, err
	}
	place := grantNamePlace(r.Key(), digest)
	named, err := get(tx, grantNameKind, place)
	if err != nil {
		return nil, err
	}
	found, err := tx.Grant(GrantID{r.Key(), named.GrantID})
	if err != nil {
		return nil, err
	}
	if have, err := found.digest(); err != nil || have != digest {
		return nil, tampered(place.String(), errors.New("it names a grant that was asked for otherwise"))
	}
	return found, nil
}

// GrantCount is the number of grants that a key has.
func (tx *Tx) GrantCount(key KeyID) (int, error) {
	r, err := get(tx, grantCountKind, grantCountPlace(key))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return r.Grants, nil
}

// ForgetGrants removes the number of grants of a key that is being deleted and says whether there
// was one. The grants themselves are left to SweepGrant.
func (tx *Tx) ForgetGrants(key KeyID) (had bool, err error) {
	err = remove(tx, grantCountPlace(key))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (tx *Tx) countGrant(key KeyID, change int) error {
	n, err := tx.GrantCount(key)
	if err != nil {
		return tx.fail(err)
	}
	if n += change; n > 0 {
		return put(tx, grantCountKind, &grantCountRecord{key.Partition, key.Account, key.Region, key.ID, n})
	}
	_, err = tx.ForgetGrants(key)
	return err
}

// ScanGrants lists the ids of a key's grants in a fixed order, at most limit (from 1) of them,
// beginning where a call before it ended, or at the first for "". It says where to go on, "" at the
// end. With a grantee it lists the grants to that one only. It reads no records: see ScanKeys.
func (s *Store) ScanGrants(ctx context.Context, key KeyID, grantee, from string, limit int) (ids []string, next string, err error) {
	kind, prefix := "grant", ""
	if grantee != "" {
		kind, prefix = "grantee", grantee+grantSeparator
	}
	rests, more, err := s.scanPrefix(ctx, keyedPlace(key, kind, prefix), from, limit)
	if more {
		next = rests[len(rests)-1]
	}
	for i := range rests {
		rests[i] = rests[i][strings.LastIndex(rests[i], grantSeparator)+1:]
	}
	return rests, next, err
}

// ScanRetirable lists the grants in a Region that a principal may retire as their retiring
// principal, in a fixed order, beginning behind the grant after (nil for the first), at most limit
// (from 1) of them, and says whether there are more. With an account it lists those on the keys of
// that one only. It reads no records: see ScanKeys.
func (s *Store) ScanRetirable(ctx context.Context, partition, region, principal, account string, after *GrantID, limit int) (grants []GrantID, more bool, err error) {
	prefix := principal + grantSeparator
	if account != "" {
		prefix += account + grantSeparator
	}
	start := ""
	if after != nil {
		start = strings.TrimPrefix(strings.Join([]string{principal, after.Key.Account, after.Key.ID, after.ID}, grantSeparator), prefix)
	}
	first := engineKey{partition: partition, region: region, kind: "retiring", id: prefix}
	rests, more, err := s.scanPrefix(ctx, first, start, limit)
	if err != nil {
		return nil, false, err
	}
	for _, rest := range rests {
		parts := strings.Split(strings.TrimPrefix(prefix, principal+grantSeparator)+rest, grantSeparator)
		if len(parts) != 3 {
			return nil, false, tampered(first.String()+rest, errors.New("it is no place of a retiring principal's grant"))
		}
		grants = append(grants, GrantID{KeyID{partition, parts[0], region, parts[1]}, parts[2]})
	}
	return grants, more, nil
}

// scanPrefix lists what follows the id of first, which ends in a separator, in the ids of its
// scope that begin with it.
func (s *Store) scanPrefix(ctx context.Context, first engineKey, after string, limit int) (rests []string, more bool, err error) {
	end := first.append(nil)
	end[len(end)-1] = grantSeparator[0] + 1
	ids, more, err := s.scanIDs(ctx, first, first.id+after, end, limit)
	for i := range ids {
		ids[i] = strings.TrimPrefix(ids[i], first.id)
	}
	return ids, more, err
}
