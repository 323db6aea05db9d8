package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// defaultListKeys is the page size of ListKeys without a Limit.
const defaultListKeys = 100

// ListKeys implements the operation ListKeys: the keys of the caller's account in the request's
// Region, in the order of their ids.
func (s *Service) ListKeys(ctx context.Context, call *Call, in *kms.ListKeysRequest) (*kms.ListKeysResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	after, err := openMarker(call.Operation, in.Marker)
	if err != nil {
		return nil, err
	}
	scope := scopeOf(call)
	ids, more, err := s.store.ScanKeys(ctx, scope, after, limitOr(in.Limit, defaultListKeys))
	if err != nil {
		return nil, err
	}
	out := &kms.ListKeysResponse{Keys: make([]kms.KeyListEntry, 0, len(ids)), Truncated: more}
	for _, id := range ids {
		out.Keys = append(out.Keys, kms.KeyListEntry{KeyId: id, KeyArn: kms.KeyARN(scope.Region, scope.Account, id).String()})
	}
	if more {
		out.NextMarker = marker(call.Operation, ids[len(ids)-1])
	}
	return out, nil
}
