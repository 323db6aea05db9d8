package ops

import (
	"context"
	"regexp"

	"github.com/kms11/kms11/kms"
)

// principalARN is the ARN of a principal that a grant can name: an account, a user, a role, or a
// session. The groups are partition, account and what follows it. Nothing writes to it.
var principalARN = regexp.MustCompile(`^arn:(aws[a-z-]*):(?:iam::([0-9]{12}):(root|user/[\w+=,.@/-]+|role/[\w+=,.@/-]+)|` +
	`sts::([0-9]{12}):(assumed-role/[\w+=,.@-]+/[\w+=,.@-]+|federated-user/[\w+=,.@-]+))$`)

// serviceForm is the name of a service principal, such as rds.amazonaws.com.
var serviceForm = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)

// checkPrincipal refuses a principal that does not exist; see principalExists. An empty text is no
// principal and passes.
func (s *Service) checkPrincipal(ctx context.Context, partition, arn string) error {
	if arn == "" {
		return nil
	}
	parts := principalARN.FindStringSubmatch(arn)
	if parts == nil || parts[1] != partition {
		return noPrincipal(arn)
	}
	exists, err := s.principalExists(ctx, arn)
	if err == nil && !exists {
		err = noPrincipal(arn)
	}
	return err
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
