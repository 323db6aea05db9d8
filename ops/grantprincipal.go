package ops

import (
	"context"
	"errors"
	"regexp"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// principalARN is the ARN of a principal that a grant can name: an account, a user, a role, or a
// session. The groups are partition, account and what follows it. Nothing writes to it.
var principalARN = regexp.MustCompile(`^arn:(aws[a-z-]*):(?:iam::([0-9]{12}):(root|user/[\w+=,.@/-]+|role/[\w+=,.@/-]+)|` +
	`sts::([0-9]{12}):(assumed-role/[\w+=,.@-]+/[\w+=,.@-]+|federated-user/[\w+=,.@-]+))$`)

// serviceForm is the name of a service principal, such as rds.amazonaws.com.
var serviceForm = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)

// checkPrincipal refuses a principal that does not exist. What is known here are the users of
// accounts that have any; an account always exists, and of other accounts' users, of roles and of
// sessions nothing is known but how they are written. An empty text is no principal and passes.
func (s *Service) checkPrincipal(ctx context.Context, partition, arn string) error {
	if arn == "" {
		return nil
	}
	parts := principalARN.FindStringSubmatch(arn)
	if parts == nil || parts[1] != partition {
		return noPrincipal(arn)
	}
	account, resource := parts[2], parts[3]
	const user = "user/"
	if len(resource) <= len(user) || resource[:len(user)] != user {
		return nil
	}
	_, err := s.store.User(ctx, keystore.UserID{Partition: partition, Account: account, Name: resource[len(user):]})
	if err == nil || !errors.Is(err, keystore.ErrNotFound) {
		return err
	}
	known, err := s.hasUsers(ctx, partition, account)
	if err != nil {
		return err
	}
	if known {
		return noPrincipal(arn)
	}
	return nil
}

// hasUsers says whether an account's users are kept here.
func (s *Service) hasUsers(ctx context.Context, partition, account string) (bool, error) {
	if account == s.account {
		return true, nil
	}
	users, _, err := s.store.ScanUsers(ctx, partition, account, "", 1)
	return len(users) > 0, err
}

func noPrincipal(arn string) error {
	return kms.Errorf(kms.InvalidArnException, "ARN does not refer to a valid principal: %s", arn)
}

func checkService(name string) error {
	if name != "" && !serviceForm.MatchString(name) {
		return kms.Errorf(kms.ValidationException, "%s is not the name of a service principal.", name)
	}
	return nil
}
