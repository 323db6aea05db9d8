package ops

import (
	"context"
	"errors"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// key is a KMS key on its way through a request: the record, which is shared and must not be
// changed, its ARN, and the custom key store that it is in, nil for a key in none.
type key struct {
	*keystore.KeyRecord
	arn   string
	store *keystore.CustomKeyStoreRecord
}

func keyOf(record *keystore.KeyRecord) key {
	return key{KeyRecord: record, arn: record.ARN()}
}

// resolve finds the key that a KeyId of the request names: a key id, a key ARN, an alias name or
// an alias ARN, as far as the operation takes them. A key of another account is refused here
// unless the operation works across accounts.
func (s *Service) resolve(ctx context.Context, call *Call, keyID string) (key, error) {
	return s.resolveFor(ctx, call, call.Operation, keyID)
}

// resolveFor is resolve for an action that is not named as the operation is: ReEncryptFrom or
// ReEncryptTo.
func (s *Service) resolveFor(ctx context.Context, call *Call, action, keyID string) (key, error) {
	ref, err := kms.ParseKeyID(keyID)
	if err != nil {
		return key{}, err
	}
	operation, _ := kms.OperationByName(call.Operation)
	if operation.KeyIDs != kms.KeyIDAnyForm {
		if err := ref.NoAlias(); err != nil {
			return key{}, err
		}
	}
	owner, err := ref.Owner(call.Region, call.Caller.Principal.Account)
	if err != nil {
		return key{}, err
	}
	if owner != call.Caller.Principal.Account && !operation.CrossAccount {
		return key{}, unseen(call.Caller.Principal, "kms:"+action)
	}
	call.asked.named(action, ref.Alias)
	if ref.Alias != "" {
		return s.resolveAlias(ctx, call, action, kms.AliasARN(call.Region, owner, ref.Alias))
	}
	record, err := s.store.Key(ctx, keystore.KeyID{Partition: kms.PartitionOf(call.Region), Account: owner, Region: call.Region, ID: ref.KeyID})
	if errors.Is(err, keystore.ErrNotFound) {
		return key{}, missing(call, action, kms.KeyARN(call.Region, owner, ref.KeyID), kms.NoSuchKey)
	}
	if err != nil {
		return key{}, err
	}
	k, err := s.housed(ctx, keyOf(s.present(record)))
	call.touch(k)
	return k, err
}

// resolveAlias finds the key that an alias stands for: two records, nearly always cached.
func (s *Service) resolveAlias(ctx context.Context, call *Call, action string, alias kms.ARN) (key, error) {
	record, err := s.store.KeyByAlias(ctx, aliasID(alias))
	if identity, managed := s.managedAlias(call, alias); managed && errors.Is(err, keystore.ErrNotFound) {
		if err := s.createManagedKey(ctx, call, alias, identity); err != nil {
			return key{}, err
		}
		record, err = s.store.KeyByAlias(ctx, aliasID(alias))
	}
	if errors.Is(err, keystore.ErrNotFound) {
		return key{}, missing(call, action, alias, kms.NoSuchAlias)
	}
	if err != nil {
		return key{}, err
	}
	k, err := s.housed(ctx, keyOf(s.present(record)))
	call.touch(k)
	return k, err
}

func aliasID(alias kms.ARN) keystore.AliasID {
	return keystore.AliasID{
		Partition: alias.Partition,
		Account:   alias.Account,
		Region:    alias.Region,
		Name:      strings.TrimPrefix(alias.Resource, aliasPrefix),
	}
}

// missing is the error for a key or an alias that does not exist. Whether one of another account
// exists is not told: AWS answers as for a key that the caller may not use.
func missing(call *Call, action string, arn kms.ARN, own func(kms.ARN) *kms.Error) error {
	if arn.Account == call.Caller.Principal.Account {
		return own(arn)
	}
	return unseen(call.Caller.Principal, "kms:"+action)
}

// foreign is unseen for the operation itself.
func foreign(call *Call) error { return unseen(call.Caller.Principal, "kms:"+call.Operation) }

// unseen is the error for a key of another account that is not open to the caller. It is the same
// whether the key exists or not.
func unseen(who policy.Principal, action string) error { return unseenOn(who, action, thisResource) }

// thisResource is the resource that a request names.
const thisResource = "this resource"

// unseenOn is unseen with words for the resource.
func unseenOn(who policy.Principal, action, words string) error {
	return kms.Errorf(kms.AccessDeniedException,
		"User: %s is not authorized to perform: %s on %s because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
		who.ARN, action, words)
}
