package ops

import (
	"context"
	"errors"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// defaultListAliases is the page size of ListAliases without a Limit.
const defaultListAliases = 50

// ListAliases implements the operation ListAliases: the aliases of the caller's account in the
// request's Region, or those of one key, in the order of their names.
func (s *Service) ListAliases(ctx context.Context, call *Call, in *kms.ListAliasesRequest) (*kms.ListAliasesResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	after, err := openMarker(call.Operation, in.Marker)
	if err != nil {
		return nil, err
	}
	limit := limitOr(in.Limit, defaultListAliases)
	scope := scopeOf(call)
	var names []string
	var more bool
	if in.KeyId == "" {
		names, more, err = s.store.ScanAliases(ctx, scope, after, limit)
		names, more = s.withManaged(names, more, after, limit)
	} else {
		names, more, err = s.aliasesOfKey(ctx, call, in.KeyId, after, limit)
	}
	if err != nil {
		return nil, err
	}
	out := &kms.ListAliasesResponse{Aliases: make([]kms.AliasListEntry, 0, len(names)), Truncated: more}
	for _, name := range names {
		record, err := s.store.Alias(ctx, keystore.AliasID{Partition: scope.Partition, Account: scope.Account, Region: scope.Region, Name: name})
		if errors.Is(err, keystore.ErrNotFound) {
			if strings.HasPrefix(name, keystore.ReservedAliases) { // its key has not been made yet
				out.Aliases = append(out.Aliases, kms.AliasListEntry{
					AliasName: aliasPrefix + name, AliasArn: kms.AliasARN(scope.Region, scope.Account, aliasPrefix+name).String(),
				})
			}
			continue // deleted since its name was read
		}
		if err != nil {
			return nil, err
		}
		out.Aliases = append(out.Aliases, kms.AliasListEntry{
			AliasName:       aliasPrefix + name,
			AliasArn:        kms.AliasARN(scope.Region, scope.Account, aliasPrefix+name).String(),
			TargetKeyId:     record.TargetKeyID,
			CreationDate:    kms.TimestampOf(record.Created),
			LastUpdatedDate: kms.TimestampOf(record.Updated),
		})
	}
	if more {
		out.NextMarker = marker(call.Operation, names[len(names)-1])
	}
	return out, nil
}

// aliasesOfKey gives a page of the names of a key's aliases. The key's record has them all, so no
// other record is looked at.
func (s *Service) aliasesOfKey(ctx context.Context, call *Call, keyID, after string, limit int) (names []string, more bool, err error) {
	k, err := s.resolve(ctx, call, keyID)
	if err != nil {
		return nil, false, err
	}
	names, more = page(k.Aliases, after, limit, func(name string) string { return name })
	return names, more, nil
}
