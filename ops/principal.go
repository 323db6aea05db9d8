package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/kms"
)

// principalExists says whether an ARN of the form of principalARN is that of somebody, as far as can
// be known: see PrincipalExists.
func (s *Service) principalExists(ctx context.Context, arn string) (bool, error) {
	exists, _, err := s.PrincipalExists(ctx, arn)
	return exists, err
}

// principalNamed gives the caller that an ARN would be, with its policies, as CallerOf does.
func (s *Service) principalNamed(ctx context.Context, arn string) (*Caller, error) {
	if _, ok := parsePrincipal(arn); !ok {
		return nil, kms.Errorf(kms.ValidationException, "%s is not the ARN of a principal.", arn)
	}
	caller, err := s.CallerOf(ctx, arn)
	if errors.Is(err, NoSuchEntity) {
		return nil, kms.Errorf(kms.NotFoundException, "The principal %s is not found.", arn)
	}
	return caller, err
}
