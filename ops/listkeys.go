package ops

import (
	"context"
	"encoding/base64"

	"github.com/kms11/kms11/keystore"
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
	limit := in.Limit
	if limit == 0 {
		limit = defaultListKeys
	}
	scope := keystore.Scope{Partition: kms.PartitionOf(call.Region), Account: call.Caller.Principal.Account, Region: call.Region}
	ids, more, err := s.store.ScanKeys(ctx, scope, after, limit)
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

// marker says where the next page of an operation begins. It is opaque to clients and good for
// that operation only.
func marker(operation, last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(operation + "/" + last))
}

// openMarker is the inverse of marker; no marker is the beginning.
func openMarker(operation, marker string) (after string, err error) {
	if marker == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil || len(text) <= len(operation) || string(text[:len(operation)+1]) != operation+"/" {
		return "", kms.Errorf(kms.InvalidMarkerException, "The marker is not valid.")
	}
	return string(text[len(operation)+1:]), nil
}
