package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// key is a KMS key on its way through a request: the record, which is shared and must not be
// changed, and its ARN.
type key struct {
	*keystore.KeyRecord
	arn string
}

func keyOf(record *keystore.KeyRecord) key {
	return key{record, arnOf(record.KeyID())}
}

func arnOf(id keystore.KeyID) string {
	return kms.ARN{Partition: id.Partition, Region: id.Region, Account: id.Account, Resource: "key/" + id.ID}.String()
}

// resolve finds the key that a KeyId of the request names: a key id, a key ARN, an alias name or
// an alias ARN, as far as the operation takes them.
func (s *Service) resolve(ctx context.Context, call *Call, keyID string) (key, error) {
	ref, err := kms.ParseKeyID(keyID)
	if err != nil {
		return key{}, err
	}
	if operation, ok := kms.OperationByName(call.Operation); ok && operation.KeyIDs == kms.KeyIDNoAlias {
		if err := ref.NoAlias(); err != nil {
			return key{}, err
		}
	}
	arn, err := ref.Resolve(call.Region, call.Caller.Principal.Account)
	if err != nil {
		return key{}, err
	}
	if ref.Alias != "" {
		return key{}, kms.NoSuchAlias(arn)
	}
	record, err := s.store.Key(ctx, keystore.KeyID{Partition: arn.Partition, Account: arn.Account, Region: arn.Region, ID: ref.KeyID})
	if errors.Is(err, keystore.ErrNotFound) {
		return key{}, missing(call, arn)
	}
	if err != nil {
		return key{}, err
	}
	return key{record, arn.String()}, nil
}

// missing is the error for a key that does not exist. Whether a key of another account exists is
// not told: AWS answers as for a key that the caller may not use.
func missing(call *Call, arn kms.ARN) error {
	if arn.Account == call.Caller.Principal.Account {
		return kms.NoSuchKey(arn)
	}
	return kms.Errorf(kms.AccessDeniedException,
		"User: %s is not authorized to perform: kms:%s on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
		call.Caller.Principal.ARN, call.Operation)
}
