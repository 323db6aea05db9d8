package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// XksTenantRecord is a URI prefix of the external key store proxy: who uses it is a tenant. A
// record that a Store gave out is shared: change a Clone.
type XksTenantRecord struct {
	Prefix  string    `json:"prefix"` // "/" for none, else "/" and segments
	Created time.Time `json:"created"`
	// RequestsPerSecond bounds the tenant's requests on each node; 0: nothing does.
	RequestsPerSecond int `json:"requestsPerSecond,omitempty"`
	// Rules say which requests are allowed; none: all.
	Rules []XksRule `json:"rules,omitempty"`
}

// XksRule allows the requests that fit each of its lists. An empty list fits all. The entries are
// patterns in which * stands for any text and ? for one byte.
type XksRule struct {
	Principals []string `json:"principals,omitempty"` // awsPrincipalArn
	KeyARNs    []string `json:"kmsKeyArns,omitempty"`
	Operations []string `json:"kmsOperations,omitempty"`
	SourceVPCs []string `json:"sourceVpcs,omitempty"`
	SourceVPCE []string `json:"sourceVpces,omitempty"`
	Services   []string `json:"viaServices,omitempty"`
	Keys       []string `json:"keys,omitempty"` // ids of external keys
}

func (r *XksRule) lists() []*[]string {
	return []*[]string{&r.Principals, &r.KeyARNs, &r.Operations, &r.SourceVPCs, &r.SourceVPCE, &r.Services, &r.Keys}
}

// XksKeyRecord is an external key: what a tenant's clients know by an id, and the key behind it.
type XksKeyRecord struct {
	ID       string    `json:"id"`     // unique in the store
	Prefix   string    `json:"prefix"` // of its tenant
	Created  time.Time `json:"created"`
	Disabled bool      `json:"disabled,omitempty"`
	// One of the two is set: the ARN of a KMS key of this store, or the PKCS #11 URI of a key object
	// in a token, without module and PIN.
	KeyARN string `json:"keyArn,omitempty"`
	Object string `json:"object,omitempty"`
}

// XksCredentialRecord is an access key of a tenant. A record that a Store gave out is shared: change
// a Clone.
type XksCredentialRecord struct {
	AccessKeyID  string    `json:"accessKeyId"`
	Prefix       string    `json:"prefix"`
	SealedSecret []byte    `json:"sealedSecret"` // by the domain's sealing key
	Created      time.Time `json:"created"`
	Disabled     bool      `json:"disabled,omitempty"`
}

// The id alone has to lead to each of these: a request's path or its signature says nothing else.
func xksTenantPlace(prefix string) engineKey    { return engineKey{kind: "xks-tenant", id: prefix} }
func xksKeyPlace(id string) engineKey           { return engineKey{kind: "xks-key", id: id} }
func xksCredentialPlace(id string) engineKey    { return engineKey{kind: "xks-credential", id: id} }
func (r *XksTenantRecord) place() engineKey     { return xksTenantPlace(r.Prefix) }
func (r *XksKeyRecord) place() engineKey        { return xksKeyPlace(r.ID) }
func (r *XksCredentialRecord) place() engineKey { return xksCredentialPlace(r.AccessKeyID) }

// Clone gives a copy that shares nothing with r.
func (r *XksTenantRecord) Clone() *XksTenantRecord {
	c := *r
	c.Rules = slices.Clone(r.Rules)
	for i := range c.Rules {
		for _, list := range c.Rules[i].lists() {
			*list = slices.Clone(*list)
		}
	}
	return &c
}

// Clone gives a copy that shares nothing with r.
func (r *XksCredentialRecord) Clone() *XksCredentialRecord {
	c := *r
	c.SealedSecret = bytes.Clone(r.SealedSecret)
	return &c
}

func (r *XksTenantRecord) prepare() (*XksTenantRecord, error) {
	if r.Prefix == "" || r.Prefix[0] != '/' || r.Created.IsZero() {
		return nil, errors.New("a member that every XKS tenant has is empty")
	}
	if r.RequestsPerSecond < 0 {
		return nil, errors.New("a rate is negative")
	}
	c := r.Clone()
	c.Created = utc(c.Created)
	for i := range c.Rules {
		for _, list := range c.Rules[i].lists() {
			if slices.ContainsFunc(*list, func(s string) bool { return s == "" || !utf8.ValidString(s) }) {
				return nil, fmt.Errorf("rule %d has a pattern that is empty or not UTF-8", i+1)
			}
		}
	}
	return c, nil
}

func (r *XksKeyRecord) prepare() (*XksKeyRecord, error) {
	if r.ID == "" || r.Prefix == "" || r.Created.IsZero() || (r.KeyARN == "") == (r.Object == "") {
		return nil, errors.New("a member that every XKS key has is empty, or it stands for two keys")
	}
	c := *r
	c.Created = utc(c.Created)
	return &c, nil
}

func (r *XksCredentialRecord) prepare() (*XksCredentialRecord, error) {
	if r.AccessKeyID == "" || r.Prefix == "" || len(r.SealedSecret) == 0 || r.Created.IsZero() {
		return nil, errors.New("a member that every XKS credential has is empty")
	}
	c := r.Clone()
	c.Created = utc(c.Created)
	return c, nil
}

// XksTenant gives the tenant of a prefix, ErrNotFound if there is none. The record is shared and
// must not be changed. From the cache this takes no lock and allocates nothing, as XksKey and
// XksCredential do.
func (s *Store) XksTenant(ctx context.Context, prefix string) (*XksTenantRecord, error) {
	return load(ctx, s, xksTenantKind, xksTenantPlace(prefix))
}

// XksKey gives an external key, ErrNotFound if there is none. The record is shared and must not be
// changed.
func (s *Store) XksKey(ctx context.Context, id string) (*XksKeyRecord, error) {
	return load(ctx, s, xksKeyKind, xksKeyPlace(id))
}

// XksCredential gives an access key of a tenant, ErrNotFound if there is none. The record is shared
// and must not be changed.
func (s *Store) XksCredential(ctx context.Context, accessKeyID string) (*XksCredentialRecord, error) {
	return load(ctx, s, xksCredentialKind, xksCredentialPlace(accessKeyID))
}

// ScanXksTenants lists prefixes as ScanKeys lists ids.
func (s *Store) ScanXksTenants(ctx context.Context, after string, limit int) (prefixes []string, more bool, err error) {
	return s.scanIDs(ctx, xksTenantPlace(""), after, nil, limit)
}

// ScanXksKeys lists the ids of the external keys of all tenants as ScanKeys does.
func (s *Store) ScanXksKeys(ctx context.Context, after string, limit int) (ids []string, more bool, err error) {
	return s.scanIDs(ctx, xksKeyPlace(""), after, nil, limit)
}

// ScanXksCredentials lists the ids of the access keys of all tenants as ScanKeys does.
func (s *Store) ScanXksCredentials(ctx context.Context, after string, limit int) (ids []string, more bool, err error) {
	return s.scanIDs(ctx, xksCredentialPlace(""), after, nil, limit)
}

// XksTenant gives the tenant of a prefix, ErrNotFound if there is none. The record must not be
// changed.
func (tx *Tx) XksTenant(prefix string) (*XksTenantRecord, error) {
	return get(tx, xksTenantKind, xksTenantPlace(prefix))
}

// CreateXksTenant writes a new tenant, ErrExists if the prefix has one.
func (tx *Tx) CreateXksTenant(r *XksTenantRecord) error { return create(tx, xksTenantKind, r) }

// PutXksTenant writes a tenant in place of the one that was there, if any.
func (tx *Tx) PutXksTenant(r *XksTenantRecord) error { return put(tx, xksTenantKind, r) }

// DeleteXksTenant removes a tenant, ErrNotFound if there is none. Its keys and access keys stay.
func (tx *Tx) DeleteXksTenant(prefix string) error { return remove(tx, xksTenantPlace(prefix)) }

// XksKey gives an external key, ErrNotFound if there is none. The record must not be changed.
func (tx *Tx) XksKey(id string) (*XksKeyRecord, error) { return get(tx, xksKeyKind, xksKeyPlace(id)) }

// CreateXksKey writes a new external key, ErrExists if there is one of that id.
func (tx *Tx) CreateXksKey(r *XksKeyRecord) error { return create(tx, xksKeyKind, r) }

// PutXksKey writes an external key in place of the one that was there, if any.
func (tx *Tx) PutXksKey(r *XksKeyRecord) error { return put(tx, xksKeyKind, r) }

// DeleteXksKey removes an external key, ErrNotFound if there is none.
func (tx *Tx) DeleteXksKey(id string) error { return remove(tx, xksKeyPlace(id)) }

// XksCredential gives an access key of a tenant, ErrNotFound if there is none. The record must not
// be changed.
func (tx *Tx) XksCredential(accessKeyID string) (*XksCredentialRecord, error) {
	return get(tx, xksCredentialKind, xksCredentialPlace(accessKeyID))
}

// CreateXksCredential writes a new access key of a tenant, ErrExists if there is one of that id.
func (tx *Tx) CreateXksCredential(r *XksCredentialRecord) error {
	return create(tx, xksCredentialKind, r)
}

// PutXksCredential writes an access key of a tenant in place of the one that was there, if any.
func (tx *Tx) PutXksCredential(r *XksCredentialRecord) error { return put(tx, xksCredentialKind, r) }

// DeleteXksCredential removes an access key of a tenant, ErrNotFound if there is none.
func (tx *Tx) DeleteXksCredential(accessKeyID string) error {
	return remove(tx, xksCredentialPlace(accessKeyID))
}
