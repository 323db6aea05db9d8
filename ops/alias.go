package ops

import (
	"context"
	"errors"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const (
	aliasPrefix = "alias/"
	// reservedPrefix begins the aliases of AWS managed keys.
	reservedPrefix = "alias/aws/"
)

// CreateAlias implements the operation CreateAlias.
func (s *Service) CreateAlias(ctx context.Context, call *Call, in *kms.CreateAliasRequest) error {
	alias, err := parseAlias(call, in.AliasName)
	if err != nil {
		return err
	}
	target, err := s.resolveTarget(ctx, call, in.TargetKeyId)
	if err != nil {
		return err
	}
	if err := s.authorizeAlias(call, alias, target); err != nil {
		return err
	}
	now := s.now()
	return s.update(ctx, call, func(tx *keystore.Tx) error {
		current, err := currentKey(tx, target)
		if err != nil {
			return err
		}
		if err := s.authorizeKeyIn(tx, call, current); err != nil {
			return err
		}
		if err := checkState(current, call.Operation); err != nil {
			return err
		}
		id := aliasID(alias)
		switch _, err := tx.Alias(id); {
		case err == nil:
			return kms.Errorf(kms.AlreadyExistsException, "An alias with the name %s already exists", alias)
		case !errors.Is(err, keystore.ErrNotFound):
			return err
		}
		if err := s.checkAliasQuota(current); err != nil {
			return err
		}
		return tx.CreateAlias(&keystore.AliasRecord{
			Partition: id.Partition, Account: id.Account, Region: id.Region, Name: id.Name,
			TargetKeyID: target.ID, Created: now, Updated: now,
		})
	})
}

// UpdateAlias implements the operation UpdateAlias. The state of the key that the alias leaves does
// not matter.
func (s *Service) UpdateAlias(ctx context.Context, call *Call, in *kms.UpdateAliasRequest) error {
	alias, err := parseAlias(call, in.AliasName)
	if err != nil {
		return err
	}
	old, err := s.resolveAlias(ctx, call, call.Operation, alias)
	if err != nil {
		return err
	}
	target, err := s.resolveTarget(ctx, call, in.TargetKeyId)
	if err != nil {
		return err
	}
	if err := s.authorizeAlias(call, alias, old, target); err != nil {
		return err
	}
	now := s.now()
	return s.update(ctx, call, func(tx *keystore.Tx) error {
		old, err := s.currentTarget(tx, call, alias)
		if err != nil {
			return err
		}
		current, err := currentKey(tx, target)
		if err != nil {
			return err
		}
		if err := s.authorizeKeyIn(tx, call, current); err != nil {
			return err
		}
		if err := checkAliasMove(old, current); err != nil {
			return err
		}
		if err := checkState(current, call.Operation); err != nil {
			return err
		}
		if current.ID != old.ID {
			if err := s.checkAliasQuota(current); err != nil {
				return err
			}
		}
		return tx.MoveAlias(aliasID(alias), current.ID, now)
	})
}

// DeleteAlias implements the operation DeleteAlias.
func (s *Service) DeleteAlias(ctx context.Context, call *Call, in *kms.DeleteAliasRequest) error {
	alias, err := parseAlias(call, in.AliasName)
	if err != nil {
		return err
	}
	target, err := s.resolveAlias(ctx, call, call.Operation, alias)
	if err != nil {
		return err
	}
	if err := s.authorizeAlias(call, alias, target); err != nil {
		return err
	}
	return s.update(ctx, call, func(tx *keystore.Tx) error {
		current, err := s.currentTarget(tx, call, alias)
		if err != nil {
			return err
		}
		if err := checkState(current, call.Operation); err != nil {
			return err
		}
		return tx.DeleteAlias(aliasID(alias))
	})
}

// parseAlias checks the name of an alias of the caller beyond what the model's pattern says. The
// order and the texts are those of the service; that a name of nothing but the prefix gets the
// text about the prefix is a guess.
func parseAlias(call *Call, name string) (kms.ARN, error) {
	switch {
	case !strings.HasPrefix(name, aliasPrefix) || name == aliasPrefix:
		return kms.ARN{}, kms.Errorf(kms.ValidationException, `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case strings.HasPrefix(name, reservedPrefix):
		return kms.ARN{}, kms.NotAuthorizedException.Err()
	case strings.Contains(name, ":"): // which the pattern allows
		return kms.ARN{}, kms.Errorf(kms.ValidationException, "%s contains invalid characters for an alias", name)
	}
	return kms.AliasARN(call.Region, call.Caller.Principal.Account, name), nil
}

// resolveTarget finds the key that an alias is to stand for.
func (s *Service) resolveTarget(ctx context.Context, call *Call, keyID string) (key, error) {
	if ref, err := kms.ParseKeyID(keyID); err == nil && ref.Alias != "" {
		return key{}, kms.Errorf(kms.ValidationException, "Aliases must refer to keys. Not aliases")
	}
	return s.resolve(ctx, call, keyID)
}

// authorizeAlias decides an operation on an alias: the caller's identity policies must allow it
// on the alias, which has no policy of its own, and each key must allow it too (AWS KMS Developer
// Guide, "Controlling access to aliases").
func (s *Service) authorizeAlias(call *Call, alias kms.ARN, keys ...key) error {
	if err := s.authorizeByIdentity(call, call.Operation, alias.String(), alias.Account, key{}); err != nil {
		return err
	}
	for _, k := range keys {
		if err := s.authorizeKey(call, k); err != nil {
			return err
		}
	}
	return nil
}

// currentTarget gives the key that an alias stands for in a transaction. It may be another one
// than a moment ago, so it is authorised here.
func (s *Service) currentTarget(tx *keystore.Tx, call *Call, alias kms.ARN) (key, error) {
	record, err := tx.KeyByAlias(aliasID(alias))
	if errors.Is(err, keystore.ErrNotFound) {
		return key{}, kms.NoSuchAlias(alias)
	}
	if err != nil {
		return key{}, err
	}
	k := keyOf(record)
	return k, s.authorizeKeyIn(tx, call, k)
}

// checkAliasMove refuses to move an alias between keys that clients cannot use in the same way: both
// are symmetric, asymmetric or HMAC keys, of the same usage (API reference, UpdateAlias).
func checkAliasMove(from, to key) error {
	if from.Usage == to.Usage && typeOf(from) == typeOf(to) {
		return nil
	}
	return kms.Errorf(kms.ValidationException,
		"The alias cannot be moved from %s to %s: the key type and the key usage of both must be the same.", from.arn, to.arn)
}

// typeOf is what UpdateAlias calls the type of a key.
func typeOf(k key) string {
	spec, _ := kms.SpecOf(k.Spec)
	if spec.Family.Asymmetric() {
		return "asymmetric"
	}
	return string(spec.Family)
}
