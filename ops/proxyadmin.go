package ops

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// The administration of a Proxy. Names have to be well-formed already: package xks knows the form.
// What is changed counts from the next request on. Errors are texts for the administrator.

// ErrProxyConflict: what is to be made exists, or what is to be deleted is in use.
var ErrProxyConflict = errors.New("conflict")

// XksRule allows the requests of a tenant that fit each of its lists.
type XksRule = keystore.XksRule

// XksTenantSettings is what an administrator sets of a tenant.
type XksTenantSettings struct {
	RequestsPerSecond int       `json:"requestsPerSecond"`
	Rules             []XksRule `json:"rules,omitempty"`
}

// CreateTenant makes a tenant of a prefix.
func (p *Proxy) CreateTenant(ctx context.Context, call *Call, prefix string, settings XksTenantSettings) error {
	err := p.service.update(ctx, call, func(tx *keystore.Tx) error {
		return tx.CreateXksTenant(&keystore.XksTenantRecord{
			Prefix: prefix, Created: p.service.now(), RequestsPerSecond: settings.RequestsPerSecond, Rules: settings.Rules,
		})
	})
	return namely(err, "tenant "+prefix)
}

// UpdateTenant changes what change says of a tenant's settings.
func (p *Proxy) UpdateTenant(ctx context.Context, call *Call, prefix string, change func(*XksTenantSettings)) error {
	err := p.service.update(ctx, call, func(tx *keystore.Tx) error {
		record, err := tx.XksTenant(prefix)
		if err != nil {
			return err
		}
		record = record.Clone()
		settings := XksTenantSettings{record.RequestsPerSecond, record.Rules}
		change(&settings)
		record.RequestsPerSecond, record.Rules = settings.RequestsPerSecond, settings.Rules
		return tx.PutXksTenant(record)
	})
	return namely(err, "tenant "+prefix)
}

// Tenants lists all tenants.
func (p *Proxy) Tenants(ctx context.Context) ([]*keystore.XksTenantRecord, error) {
	return listed(ctx, p.service.store.ScanXksTenants, p.service.store.XksTenant)
}

// DeleteTenant deletes a tenant that has neither keys nor credentials.
func (p *Proxy) DeleteTenant(ctx context.Context, call *Call, prefix string) error {
	keys, err := p.Keys(ctx)
	if err != nil {
		return err
	}
	credentials, err := p.Credentials(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Prefix == prefix {
			return fmt.Errorf("%w: tenant %s has the key %s: delete its keys first", ErrProxyConflict, prefix, k.ID)
		}
	}
	for _, c := range credentials {
		if c.Prefix == prefix {
			return fmt.Errorf("%w: tenant %s has the credential %s: delete its credentials first", ErrProxyConflict, prefix, c.AccessKeyID)
		}
	}
	err = p.service.update(ctx, call, func(tx *keystore.Tx) error { return tx.DeleteXksTenant(prefix) })
	return namely(err, "tenant "+prefix)
}

// XksKeyFact is an external key with what is behind it.
type XksKeyFact struct {
	ID       string `json:"id"`
	Prefix   string `json:"prefix"`
	Disabled bool   `json:"disabled,omitempty"`
	KeyARN   string `json:"keyArn,omitempty"`
	Object   string `json:"object,omitempty"`
	// Enabled says whether a request for it can succeed now; Problem why not.
	Enabled bool     `json:"enabled"`
	Problem string   `json:"problem,omitempty"`
	Uses    []string `json:"uses,omitempty"`
	// Warnings are what makes a key object worth less than one that never left its token.
	Warnings []string `json:"warnings,omitempty"`
}

// XksKeyRequest says what an external key stands for: one of KeyID, the id or ARN of a KMS key of
// the default account and Region, or Object, a PKCS #11 URI.
type XksKeyRequest struct {
	ID, Prefix string
	KeyID      string
	Object     string
	// Generate makes the key object first.
	Generate bool
}

// CreateKey makes an external key. What it stands for has to be there and be fit for it.
func (p *Proxy) CreateKey(ctx context.Context, call *Call, in XksKeyRequest) (XksKeyFact, error) {
	record := &keystore.XksKeyRecord{ID: in.ID, Prefix: in.Prefix, Created: p.service.now()}
	if in.Object != "" {
		object, err := plainObject(in.Object)
		if err != nil {
			return XksKeyFact{}, err
		}
		record.Object, in.Object = object, object
	}
	if in.KeyID != "" {
		ref, err := kms.ParseKeyID(in.KeyID)
		if err != nil || ref.Alias != "" {
			return XksKeyFact{}, errors.New("the KMS key is named by its id or its ARN")
		}
		arn := ref.ARN
		if arn == (kms.ARN{}) {
			arn = kms.KeyARN(p.service.region, p.service.account, ref.KeyID)
		}
		record.KeyARN = arn.String()
	}
	if _, err := p.service.store.XksTenant(ctx, in.Prefix); err != nil {
		return XksKeyFact{}, namely(err, "tenant "+in.Prefix)
	}
	if _, err := p.service.store.XksKey(ctx, in.ID); !errors.Is(err, keystore.ErrNotFound) {
		if err == nil {
			err = keystore.ErrExists
		}
		return XksKeyFact{}, namely(err, "key "+in.ID)
	}
	if in.Generate {
		if err := p.objects.Generate(ctx, in.Object); err != nil {
			return XksKeyFact{}, err
		}
	}
	fact := p.fact(ctx, record)
	if !fact.Enabled {
		return fact, fmt.Errorf("key %s is of no use: %s", in.ID, fact.Problem)
	}
	err := p.service.update(ctx, call, func(tx *keystore.Tx) error {
		if _, err := tx.XksTenant(in.Prefix); err != nil {
			return err
		}
		return tx.CreateXksKey(record)
	})
	return fact, namely(err, "key "+in.ID)
}

// plainObject gives a PKCS #11 URI without what it says of how a token is reached, which is the
// configuration's.
func plainObject(text string) (string, error) {
	u, err := hsm.ParseURI(text)
	u.ModulePath, u.PINSource, u.MaxSessions = "", "", 0
	return u.String(), err // String leaves out pin-value
}

// fact looks at what is behind an external key now.
func (p *Proxy) fact(ctx context.Context, record *keystore.XksKeyRecord) XksKeyFact {
	fact := XksKeyFact{ID: record.ID, Prefix: record.Prefix, Disabled: record.Disabled, KeyARN: record.KeyARN, Object: record.Object}
	key, err := p.open(ctx, record)
	if err == nil {
		fact.Enabled, fact.Uses, err = key.Status(ctx)
	}
	switch {
	case err != nil:
		fact.Enabled, fact.Problem = false, problemOf(record, err)
	case !fact.Enabled:
		fact.Problem = ErrExternalKeyState.Error()
	case !slices.Contains(fact.Uses, "ENCRYPT") || !slices.Contains(fact.Uses, "DECRYPT"):
		fact.Enabled, fact.Problem = false, "it may not both encrypt and decrypt"
	}
	if key == nil {
		return fact
	}
	if object, ok := key.behind.(proxiedObject); ok {
		fact.Warnings = object.warnings(ctx)
	}
	return fact
}

// problemOf says why nothing can be done with what an external key stands for.
func problemOf(record *keystore.XksKeyRecord, err error) string {
	switch {
	case errors.Is(err, ErrNoExternalKey) && record.KeyARN != "":
		return "there is no KMS key " + record.KeyARN
	case errors.Is(err, hsm.ErrNoToken):
		return "no configured token fits its PKCS #11 URI: tokens of key objects are named under tokens or xks.tokens"
	case errors.Is(err, ErrNoExternalKey):
		return "the token has no such key object, which --generate would make"
	}
	return err.Error()
}

// warnings are what makes the key worth less than one that never left its token.
func (k proxiedObject) warnings(ctx context.Context) []string {
	fact, err := k.key.Fact(ctx)
	if err != nil {
		return nil
	}
	var all []string
	for _, w := range []struct {
		is   bool
		text string
	}{
		{fact.Readable, "its value can be read by whoever logs in to the token"},
		{fact.Extractable && !fact.Readable, "it can leave the token wrapped under another key"},
		{fact.Foreign, "it was not made in this token, or could leave it once: others may have it"},
		{slices.Contains(fact.Uses, "WRAP") || slices.Contains(fact.Uses, "UNWRAP"), "it may wrap keys too: who is logged in can decrypt its ciphertexts around the proxy's rules"},
	} {
		if w.is {
			all = append(all, w.text)
		}
	}
	return all
}

// KeyFacts lists the external keys of a tenant, or of all for an empty prefix.
func (p *Proxy) KeyFacts(ctx context.Context, prefix string) ([]XksKeyFact, error) {
	records, err := p.Keys(ctx)
	if err != nil {
		return nil, err
	}
	facts := []XksKeyFact{}
	for _, record := range records {
		if prefix == "" || record.Prefix == prefix {
			facts = append(facts, p.fact(ctx, record))
		}
	}
	return facts, nil
}

// Keys lists the external keys of all tenants.
func (p *Proxy) Keys(ctx context.Context) ([]*keystore.XksKeyRecord, error) {
	return listed(ctx, p.service.store.ScanXksKeys, p.service.store.XksKey)
}

// SetKeyDisabled disables or enables an external key; what is behind it stays as it is.
func (p *Proxy) SetKeyDisabled(ctx context.Context, call *Call, id string, disabled bool) error {
	err := p.service.update(ctx, call, func(tx *keystore.Tx) error {
		record, err := tx.XksKey(id)
		if err != nil {
			return err
		}
		changed := *record
		changed.Disabled = disabled
		return tx.PutXksKey(&changed)
	})
	return namely(err, "key "+id)
}

// DeleteKey deletes an external key; what is behind it stays.
func (p *Proxy) DeleteKey(ctx context.Context, call *Call, id string) error {
	err := p.service.update(ctx, call, func(tx *keystore.Tx) error { return tx.DeleteXksKey(id) })
	return namely(err, "key "+id)
}

// CreateCredential makes an access key of a tenant. Its secret, 256 random bits, is shown once and
// stored sealed.
func (p *Proxy) CreateCredential(ctx context.Context, call *Call, prefix string) (AccessKey, error) {
	var id [15]byte
	var secret [32]byte
	_, _ = rand.Read(id[:]) // crypto/rand never fails
	_, _ = rand.Read(secret[:])
	key := AccessKey{ID: base32.StdEncoding.EncodeToString(id[:]), Secret: base64.StdEncoding.EncodeToString(secret[:])}
	sealed, err := p.service.domain.Seal(ctx, xksSealPurpose(key.ID), []byte(key.Secret))
	if err != nil {
		return AccessKey{}, err
	}
	err = p.service.update(ctx, call, func(tx *keystore.Tx) error {
		if _, err := tx.XksTenant(prefix); err != nil {
			return err
		}
		call.answer(jsonMembers{{"accessKeyId", key.ID}})
		return tx.CreateXksCredential(&keystore.XksCredentialRecord{
			AccessKeyID: key.ID, Prefix: prefix, SealedSecret: sealed, Created: p.service.now(),
		})
	})
	return key, namely(err, "tenant "+prefix)
}

// Credentials lists the access keys of all tenants.
func (p *Proxy) Credentials(ctx context.Context) ([]*keystore.XksCredentialRecord, error) {
	return listed(ctx, p.service.store.ScanXksCredentials, p.service.store.XksCredential)
}

// SetCredentialDisabled disables or enables an access key.
func (p *Proxy) SetCredentialDisabled(ctx context.Context, call *Call, accessKeyID string, disabled bool) error {
	err := p.service.update(ctx, call, func(tx *keystore.Tx) error {
		record, err := tx.XksCredential(accessKeyID)
		if err != nil {
			return err
		}
		record = record.Clone()
		record.Disabled = disabled
		return tx.PutXksCredential(record)
	})
	return namely(err, "credential "+accessKeyID)
}

// DeleteCredential deletes an access key.
func (p *Proxy) DeleteCredential(ctx context.Context, call *Call, accessKeyID string) error {
	err := p.service.update(ctx, call, func(tx *keystore.Tx) error { return tx.DeleteXksCredential(accessKeyID) })
	return namely(err, "credential "+accessKeyID)
}

// namely says of what a record of the store is missing or there already.
func namely(err error, what string) error {
	switch {
	case errors.Is(err, keystore.ErrNotFound):
		return fmt.Errorf("%w: there is no %s", keystore.ErrNotFound, what)
	case errors.Is(err, keystore.ErrExists):
		return fmt.Errorf("%w: there is a %s already", ErrProxyConflict, what)
	}
	return err
}

// listed reads all records of a kind. One that goes meanwhile is left out.
func listed[R any](ctx context.Context, scan func(context.Context, string, int) ([]string, bool, error), load func(context.Context, string) (*R, error)) ([]*R, error) {
	const page = 1000
	var all []*R
	for after, more := "", true; more; {
		var ids []string
		var err error
		if ids, more, err = scan(ctx, after, page); err != nil {
			return nil, err
		}
		for _, id := range ids {
			record, err := load(ctx, id)
			if errors.Is(err, keystore.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all = append(all, record)
			after = id
		}
		if len(ids) > 0 {
			after = ids[len(ids)-1]
		}
	}
	return all, nil
}
