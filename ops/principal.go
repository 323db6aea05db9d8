package ops

import (
	"context"
	"errors"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// principalExists says whether an ARN of the form of principalARN is that of somebody. What is known
// here are the users of accounts that have any: one of them has to be there. Accounts always exist,
// and of other accounts' users, of roles and of sessions nothing is known but how they are written.
func (s *Service) principalExists(ctx context.Context, arn string) (bool, error) {
	id, user := userIDOf(arn)
	if !user {
		return true, nil
	}
	_, err := s.store.User(ctx, id)
	if err == nil || !errors.Is(err, keystore.ErrNotFound) {
		return err == nil, err
	}
	known, err := s.hasUsers(ctx, id.Partition, id.Account)
	return !known, err
}

// principalNamed gives the caller that an ARN would be, with its policies: a user that is known here
// or an account's root user.
func (s *Service) principalNamed(ctx context.Context, arn string) (*Caller, error) {
	parts := principalARN.FindStringSubmatch(arn)
	if parts == nil {
		return nil, kms.Errorf(kms.ValidationException, "%s is not the ARN of a principal.", arn)
	}
	if parts[3] == "root" {
		return RootCaller(parts[1], parts[2]), nil
	}
	id, user := userIDOf(arn)
	if !user {
		return nil, kms.Errorf(kms.ValidationException, "%s is neither a user nor the root user of an account.", arn)
	}
	record, err := s.store.User(ctx, id)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, kms.Errorf(kms.NotFoundException, "The user %s is not found.", arn)
	}
	if err != nil {
		return nil, err
	}
	return callerOf(record)
}

// userIDOf names the user of an ARN; not ok if it is none of a user.
func userIDOf(arn string) (id keystore.UserID, ok bool) {
	parts := principalARN.FindStringSubmatch(arn)
	if parts == nil {
		return id, false
	}
	name, ok := strings.CutPrefix(parts[3], "user/")
	return keystore.UserID{Partition: parts[1], Account: parts[2], Name: name}, ok
}

// hasUsers says whether an account's users are kept here.
func (s *Service) hasUsers(ctx context.Context, partition, account string) (bool, error) {
	if account == s.account {
		return true, nil
	}
	users, _, err := s.store.ScanUsers(ctx, partition, account, "", 1)
	return len(users) > 0, err
}
