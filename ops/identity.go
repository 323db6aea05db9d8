package ops

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// ErrUnknownAccessKey is the error of Credential for an access key that does not exist or is
// disabled.
var ErrUnknownAccessKey = errors.New("unknown access key")

// sealPurpose binds a sealed secret to its access key.
func sealPurpose(accessKeyID string) string { return "access-key/" + accessKeyID }

// Credential gives the secret of an access key and the caller it stands for. Secrets are opened
// by the token once and kept in memory, as verifying a signature needs them, until the record
// changes.
func (s *Service) Credential(ctx context.Context, accessKeyID string) (secret string, caller *Caller, err error) {
	record, err := s.store.AccessKey(ctx, accessKeyID)
	if errors.Is(err, keystore.ErrNotFound) || err == nil && record.Disabled {
		return "", nil, ErrUnknownAccessKey
	}
	if err != nil {
		return "", nil, err
	}
	user, err := s.store.User(ctx, userOf(record))
	if errors.Is(err, keystore.ErrNotFound) {
		return "", nil, ErrUnknownAccessKey
	}
	if err != nil {
		return "", nil, err
	}
	if opened, ok := s.callers.get(accessKeyID); ok && opened.record == record && opened.user == user {
		return opened.secret, opened.caller, nil
	}
	plain, err := s.domain.Open(ctx, sealPurpose(accessKeyID), record.SealedSecret)
	if err != nil {
		return "", nil, tokenError(err)
	}
	opened := &openedKey{record: record, user: user, secret: string(plain)}
	clear(plain)
	if opened.caller, err = callerOf(user); err != nil {
		return "", nil, err
	}
	opened.caller.AccessKeyID = accessKeyID
	s.callers.put(accessKeyID, opened)
	return opened.secret, opened.caller, nil
}

// userOf names the user that an access key belongs to.
func userOf(record *keystore.AccessKeyRecord) keystore.UserID {
	parts := strings.SplitN(record.PrincipalARN, ":", 6)
	if len(parts) != 6 {
		return keystore.UserID{}
	}
	return keystore.UserID{Partition: parts[1], Account: record.Account, Name: strings.TrimPrefix(parts[5], "user/")}
}

func callerOf(user *keystore.UserRecord) (*Caller, error) {
	caller := &Caller{Principal: policy.Principal{ARN: user.ARN, Account: user.Account}}
	for name, text := range user.Policies {
		document, err := policy.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("ops: policy %q of %s: %w", name, user.ARN, err)
		}
		caller.Policies = append(caller.Policies, document)
	}
	return caller, nil
}

// openedKey is an access key with its secret opened. It is current while the store still gives
// the same records.
type openedKey struct {
	record *keystore.AccessKeyRecord
	user   *keystore.UserRecord
	secret string
	caller *Caller
}

type callerCache struct {
	mu     sync.RWMutex
	opened map[string]*openedKey
}

// callerCacheBound is the number of access keys kept opened.
const callerCacheBound = 10_000

func (c *callerCache) get(id string) (*openedKey, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	opened, ok := c.opened[id]
	return opened, ok
}

func (c *callerCache) put(id string, opened *openedKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened == nil || len(c.opened) >= callerCacheBound {
		c.opened = make(map[string]*openedKey)
	}
	c.opened[id] = opened
}

// AccessKey is a new access key; the secret is shown once and stored sealed.
type AccessKey struct {
	ID     string
	Secret string
}

// administratorPolicy allows every KMS action.
const administratorPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`

// CreateAdministrator makes the user "admin" of the default account with a policy that allows
// every KMS action, and an access key for it. It fails if the user exists.
func (s *Service) CreateAdministrator(ctx context.Context) (AccessKey, error) {
	const name = "admin"
	key, err := newAccessKey()
	if err != nil {
		return AccessKey{}, err
	}
	sealed, err := s.domain.Seal(ctx, sealPurpose(key.ID), []byte(key.Secret))
	if err != nil {
		return AccessKey{}, err
	}
	partition := kms.PartitionOf(s.region)
	user := &keystore.UserRecord{
		Partition: partition,
		Account:   s.account,
		Name:      name,
		ARN:       "arn:" + partition + ":iam::" + s.account + ":user/" + name,
		Created:   s.now(),
		Policies:  map[string]json.RawMessage{"administrator": json.RawMessage(administratorPolicy)},
	}
	err = s.store.Update(ctx, func(tx *keystore.Tx) error {
		if err := tx.CreateUser(user); err != nil {
			return err
		}
		return tx.CreateAccessKey(&keystore.AccessKeyRecord{
			ID: key.ID, Account: s.account, PrincipalARN: user.ARN, SealedSecret: sealed, Created: user.Created,
		})
	})
	return key, err
}

// newAccessKey makes an access key of AWS's form: "AKIA" and 16 characters of base 32, and a
// secret of 30 random bytes as 40 characters of base 64.
func newAccessKey() (AccessKey, error) {
	var id [10]byte
	var secret [30]byte
	if _, err := rand.Read(id[:]); err != nil {
		return AccessKey{}, err
	}
	if _, err := rand.Read(secret[:]); err != nil {
		return AccessKey{}, err
	}
	return AccessKey{
		ID:     "AKIA" + base32.StdEncoding.EncodeToString(id[:]),
		Secret: base64.StdEncoding.EncodeToString(secret[:]),
	}, nil
}
