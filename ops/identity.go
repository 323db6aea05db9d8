package ops

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// ErrUnknownAccessKey is the error of Credential for an access key that does not exist or is
// disabled.
var ErrUnknownAccessKey = errors.New("unknown access key")

// sealPurpose binds a sealed secret to its access key.
func sealPurpose(accessKeyID string) string { return "access-key/" + accessKeyID }

// Credential gives the secret of a long-term access key and the caller it stands for. Secrets are
// opened by the token once and kept in memory, as verifying a signature needs them, until the
// record of the key or of its user changes.
func (s *Service) Credential(ctx context.Context, accessKeyID string) (secret string, caller *Caller, err error) {
	if secret, caller, ok := s.serviceCredential(accessKeyID); ok {
		return secret, caller, nil
	}
	if key, ok := s.files.Load().keys[accessKeyID]; ok {
		if key.disabled {
			return "", nil, ErrUnknownAccessKey
		}
		return key.secret, key.caller, nil
	}
	opened := s.callers.get(accessKeyID)
	if !opened.current() {
		if opened, err = s.openAccessKey(ctx, accessKeyID); err != nil {
			return "", nil, err
		}
		s.callers.put(opened.caller.AccessKeyID, opened)
	}
	return opened.secret, opened.caller, nil
}

// openAccessKey reads an access key of the store and its user.
func (s *Service) openAccessKey(ctx context.Context, id string) (*openedKey, error) {
	record, err := s.store.HoldAccessKey(ctx, id)
	if errors.Is(err, keystore.ErrNotFound) || err == nil && record.Record().Disabled {
		return nil, ErrUnknownAccessKey
	}
	if err != nil {
		return nil, err
	}
	user, err := s.store.HoldUser(ctx, userOf(record.Record()))
	if errors.Is(err, keystore.ErrNotFound) || err == nil && !owns(user.Record(), record.Record()) {
		return nil, ErrUnknownAccessKey
	}
	if err != nil {
		return nil, err
	}
	plain, err := s.domain.Open(ctx, sealPurpose(id), record.Record().SealedSecret)
	if err != nil {
		return nil, tokenError(err)
	}
	opened := &openedKey{record: record, user: user, secret: string(plain)}
	clear(plain)
	if opened.caller, err = s.userCaller(user.Record(), record.Record().ID); err != nil {
		return nil, err
	}
	opened.caller.writeIdentity()
	return opened, nil
}

// owns says whether an access key is one of a user's. A user of the first content version does not
// list its keys: then the key's word counts.
func owns(user *keystore.UserRecord, key *keystore.AccessKeyRecord) bool {
	return key.PrincipalARN == user.ARN && (user.ID == "" || slices.Contains(user.AccessKeys, key.ID))
}

// userOf names the user that an access key belongs to.
func userOf(record *keystore.AccessKeyRecord) keystore.UserID {
	name, _ := parsePrincipal(record.PrincipalARN)
	return keystore.UserID{Partition: name.partition, Account: record.Account, Name: name.name}
}

// openedKey is an access key with its secret opened.
type openedKey struct {
	record keystore.Held[keystore.AccessKeyRecord]
	user   keystore.Held[keystore.UserRecord]
	secret string
	caller *Caller
}

// current says whether the store still gives the same records.
func (k *openedKey) current() bool { return k != nil && k.record.Current() && k.user.Current() }

type callerCache struct {
	mu     sync.RWMutex
	opened map[string]*openedKey
}

// callerCacheBound is the number of access keys kept opened.
const callerCacheBound = 10_000

// get gives nil for an access key that is not kept.
func (c *callerCache) get(id string) *openedKey {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.opened[id]
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
	ID     string `json:"accessKeyId"`
	Secret string `json:"secretAccessKey"`
}

// administrator is the user that a new keystore has, in its default account.
const administrator = "admin"

// administratorPolicy allows every KMS action.
const administratorPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`

// CreateAdministrator makes the user "admin" of the default account with a policy that allows
// every KMS action, and an access key for it. It fails if the user exists.
func (s *Service) CreateAdministrator(ctx context.Context) (AccessKey, error) {
	key := newAccessKey(longKeyPrefix)
	sealed, err := s.domain.Seal(ctx, sealPurpose(key.ID), []byte(key.Secret))
	if err != nil {
		return AccessKey{}, err
	}
	partition := kms.PartitionOf(s.region)
	user := &keystore.UserRecord{
		Partition:  partition,
		Account:    s.account,
		Name:       administrator,
		ARN:        entityARN(partition, s.account, "user", "/", administrator),
		Created:    s.now(),
		ID:         newUniqueID(userIDPrefix),
		Identity:   keystore.Identity{Policies: map[string]json.RawMessage{"administrator": json.RawMessage(administratorPolicy)}},
		AccessKeys: []string{key.ID},
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
