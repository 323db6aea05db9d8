package keystore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kms11/kms11/kms"
)

// CustomKeyStoreID names a custom key store.
type CustomKeyStoreID struct{ Partition, Account, Region, ID string }

// customKeyStoreSeparator parts the id of a custom key store among those of all accounts and Regions.
const customKeyStoreSeparator = ","

// place takes no account and Region: one scan has to find all stores when a process starts.
func (id CustomKeyStoreID) place() engineKey {
	return engineKey{kind: "key-store", id: id.text()}
}

func (id CustomKeyStoreID) text() string {
	return strings.Join([]string{id.Partition, id.Account, id.Region, id.ID}, customKeyStoreSeparator)
}

// parseCustomKeyStoreID undoes text; ok is false for what text does not write.
func parseCustomKeyStoreID(text string) (id CustomKeyStoreID, ok bool) {
	parts := strings.Split(text, customKeyStoreSeparator)
	if len(parts) != 4 {
		return id, false
	}
	return CustomKeyStoreID{parts[0], parts[1], parts[2], parts[3]}, true
}

// CustomKeyStoreRecord is a custom key store with the state of its connection. A record that a
// Store gave out is shared: change a Clone.
type CustomKeyStoreRecord struct {
	Partition string `json:"partition"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	ID        string `json:"id"` // cks- and 17 hexadecimal digits

	Name    string                 `json:"name"`
	Type    kms.CustomKeyStoreType `json:"type"`
	Created time.Time              `json:"created"`

	// State is what clients are told: never DISCONNECTING, because disconnecting takes no time.
	State kms.ConnectionStateType `json:"state"`
	// ErrorCode says why, in the state FAILED only.
	ErrorCode kms.ConnectionErrorCodeType `json:"errorCode,omitempty"`
	// Generation counts the changes of what a connection is made with and the connections asked for. A
	// connection of an older one is not used any more.
	Generation uint32 `json:"generation"`

	CloudHSM *CloudHSMRecord `json:"cloudHsm,omitempty"` // of AWS_CLOUDHSM
	External *ExternalRecord `json:"external,omitempty"` // of EXTERNAL_KEY_STORE
}

// CloudHSMRecord is what a store of the type AWS_CLOUDHSM is connected with.
type CloudHSMRecord struct {
	ClusterID   string `json:"clusterId"`
	TrustAnchor string `json:"trustAnchor"` // PEM, as it was given
	// SealedPassword is the token's user PIN, sealed by the domain.
	SealedPassword []byte `json:"sealedPassword"`
	// Verified says that the token has accepted the password.
	Verified bool `json:"verified,omitempty"`
	// Trying is when a login began with a password that the token has not accepted yet. It is set
	// before the token sees the password, so that it never sees a wrong one again.
	Trying time.Time `json:"trying,omitzero"`
	// Refused says with which code the token refused the password. It is not tried again.
	Refused kms.ConnectionErrorCodeType `json:"refused,omitempty"`
	// Anchored says that the token has the store's anchor object.
	Anchored bool `json:"anchored,omitempty"`
}

// ExternalRecord is what a store of the type EXTERNAL_KEY_STORE is connected with.
type ExternalRecord struct {
	Connectivity            kms.XksProxyConnectivityType `json:"connectivity"`
	Endpoint                string                       `json:"endpoint"`
	Path                    string                       `json:"path"`
	VPCEndpointServiceName  string                       `json:"vpcEndpointServiceName,omitempty"`
	VPCEndpointServiceOwner string                       `json:"vpcEndpointServiceOwner,omitempty"`
	AccessKeyID             string                       `json:"accessKeyId"`
	// SealedSecret is the raw secret access key, sealed by the domain.
	SealedSecret []byte `json:"sealedSecret"`
}

// CustomKeyStoreID is the name of the store that r describes.
func (r *CustomKeyStoreRecord) CustomKeyStoreID() CustomKeyStoreID {
	return CustomKeyStoreID{r.Partition, r.Account, r.Region, r.ID}
}

// Scope is where the store is.
func (r *CustomKeyStoreRecord) Scope() Scope { return Scope{r.Partition, r.Account, r.Region} }

func (r *CustomKeyStoreRecord) place() engineKey { return r.CustomKeyStoreID().place() }

// Clone gives a copy that shares nothing with r.
func (r *CustomKeyStoreRecord) Clone() *CustomKeyStoreRecord {
	c := *r
	if r.CloudHSM != nil {
		hsm := *r.CloudHSM
		hsm.SealedPassword = bytes.Clone(hsm.SealedPassword)
		c.CloudHSM = &hsm
	}
	if r.External != nil {
		external := *r.External
		external.SealedSecret = bytes.Clone(external.SealedSecret)
		c.External = &external
	}
	return &c
}

func (r *CustomKeyStoreRecord) prepare() (*CustomKeyStoreRecord, error) {
	levels := []string{r.Partition, r.Account, r.Region, r.ID}
	if slices.Contains(append(levels, r.Name, string(r.Type), string(r.State)), "") || r.Created.IsZero() {
		return nil, errors.New("a member that every custom key store has is empty")
	}
	if slices.ContainsFunc(levels, func(s string) bool { return strings.Contains(s, customKeyStoreSeparator) }) {
		return nil, errors.New("a part of a custom key store's place has a comma")
	}
	if (r.CloudHSM == nil) == (r.External == nil) || (r.CloudHSM != nil) != (r.Type == kms.CustomKeyStoreTypeAwsCloudhsm) {
		return nil, errors.New("a custom key store has the settings of another type")
	}
	if (r.ErrorCode != "") != (r.State == kms.ConnectionStateTypeFailed) {
		return nil, errors.New("a custom key store has an error code in the state FAILED, and only there")
	}
	c := r.Clone()
	c.Created = utc(c.Created)
	if c.CloudHSM != nil {
		c.CloudHSM.Trying = utc(c.CloudHSM.Trying)
	}
	return c, nil
}

// CustomKeyStore gives a store's record, ErrNotFound if there is none. The record is shared and must
// not be changed. From the cache this takes no lock and allocates little.
func (s *Store) CustomKeyStore(ctx context.Context, id CustomKeyStoreID) (*CustomKeyStoreRecord, error) {
	return load(ctx, s, customKeyStoreKind, id.place())
}

// ScanCustomKeyStores lists the stores of all accounts and Regions. There are few: AWS allows ten in
// a Region of an account. It reads no records: a record is genuine only when CustomKeyStore has given
// it.
func (s *Store) ScanCustomKeyStores(ctx context.Context) (ids []CustomKeyStoreID, err error) {
	first := CustomKeyStoreID{}.place()
	first.id = ""
	const batch = 1000
	for after, more := "", true; more; {
		var texts []string
		if texts, more, err = s.scanIDs(ctx, first, after, nil, batch); err != nil {
			return nil, err
		}
		for _, text := range texts {
			if id, ok := parseCustomKeyStoreID(text); ok {
				ids = append(ids, id)
			}
			after = text
		}
	}
	return ids, nil
}

// CustomKeyStore gives a store's record, ErrNotFound if there is none. The record must not be
// changed: put a changed Clone.
func (tx *Tx) CustomKeyStore(id CustomKeyStoreID) (*CustomKeyStoreRecord, error) {
	return get(tx, customKeyStoreKind, id.place())
}

// CustomKeyStores gives the records of all stores in all accounts and Regions, in the order of their
// places. They must not be changed. A store that another transaction makes at the same time is not
// missed by both.
func (tx *Tx) CustomKeyStores() ([]*CustomKeyStoreRecord, error) {
	first := CustomKeyStoreID{}.place()
	scope := first.appendScope(nil)
	end := append(bytes.Clone(scope[:len(scope)-1]), '/'+1)
	var places []string
	for pair, err := range tx.engine.Scan(scope, end) {
		if err != nil {
			return nil, tx.fail(err)
		}
		places = append(places, string(pair.Key[len(scope):]))
	}
	records := make([]*CustomKeyStoreRecord, 0, len(places))
	for _, level := range places {
		text, err := parseLevel(level)
		id, ok := parseCustomKeyStoreID(text)
		if err != nil || !ok {
			return nil, tx.fail(tampered(string(scope)+level, errors.New("it is not the place of a custom key store")))
		}
		record, err := tx.CustomKeyStore(id)
		if err != nil {
			return nil, tx.fail(err)
		}
		records = append(records, record)
	}
	return records, nil
}

// CreateCustomKeyStore writes the record of a new store, ErrExists if there is one of that id. The
// rules about names and endpoints are the caller's to check with CustomKeyStores.
func (tx *Tx) CreateCustomKeyStore(r *CustomKeyStoreRecord) error {
	return create(tx, customKeyStoreKind, r)
}

// PutCustomKeyStore writes a store's record in place of the one that was there.
func (tx *Tx) PutCustomKeyStore(r *CustomKeyStoreRecord) error { return put(tx, customKeyStoreKind, r) }

// DeleteCustomKeyStore removes a store's record and what its token was still to destroy, which is
// given; ErrNotFound if there is no such store. That it has no keys is the caller's to check.
func (tx *Tx) DeleteCustomKeyStore(id CustomKeyStoreID) (orphans []*KeyStoreOrphanRecord, err error) {
	if err := remove(tx, id.place()); err != nil {
		return nil, err
	}
	if orphans, err = tx.KeyStoreOrphans(id); err != nil {
		return nil, err
	}
	for _, orphan := range orphans {
		if err := tx.DeleteKeyStoreOrphan(orphan); err != nil {
			return nil, err
		}
	}
	return orphans, nil
}
