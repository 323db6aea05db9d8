package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// defaultDescribeKeyStores is the page size of DescribeCustomKeyStores without a Limit: more than
// there can be.
const defaultDescribeKeyStores = 100

// DescribeCustomKeyStores implements the operation DescribeCustomKeyStores: the stores of the caller's
// account in the request's Region, in the order of their ids, or one of them.
func (s *Service) DescribeCustomKeyStores(ctx context.Context, call *Call, in *kms.DescribeCustomKeyStoresRequest) (*kms.DescribeCustomKeyStoresResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	if in.CustomKeyStoreId != "" && in.CustomKeyStoreName != "" {
		return nil, kms.Errorf(kms.ValidationException, "You cannot specify CustomKeyStoreId and CustomKeyStoreName in the same request.")
	}
	after, err := openMarker(call.Operation, in.Marker)
	if err != nil {
		return nil, err
	}
	records, err := s.keyStores(ctx, call)
	if err != nil {
		return nil, err
	}
	if in.CustomKeyStoreId != "" || in.CustomKeyStoreName != "" {
		if records = oneKeyStore(records, in.CustomKeyStoreId, in.CustomKeyStoreName); len(records) == 0 {
			return nil, noSuchKeyStore(in.CustomKeyStoreId + in.CustomKeyStoreName)
		}
	}
	part, more := page(records, after, limitOr(in.Limit, defaultDescribeKeyStores), func(r *keystore.CustomKeyStoreRecord) string { return r.ID })
	out := &kms.DescribeCustomKeyStoresResponse{CustomKeyStores: make([]kms.CustomKeyStoresListEntry, 0, len(part)), Truncated: more}
	for _, r := range part {
		out.CustomKeyStores = append(out.CustomKeyStores, describeKeyStore(r))
	}
	if more {
		out.NextMarker = marker(call.Operation, part[len(part)-1].ID)
	}
	return out, nil
}

// keyStores gives the stores of the caller's account in the request's Region, in the order of their
// ids.
func (s *Service) keyStores(ctx context.Context, call *Call) ([]*keystore.CustomKeyStoreRecord, error) {
	ids, err := s.store.ScanCustomKeyStores(ctx)
	if err != nil {
		return nil, err
	}
	var records []*keystore.CustomKeyStoreRecord
	for _, id := range ids {
		if id != keyStoreID(call, id.ID) {
			continue
		}
		record, err := s.store.CustomKeyStore(ctx, id)
		if errors.Is(err, keystore.ErrNotFound) {
			continue // deleted since its id was read
		}
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}

func oneKeyStore(records []*keystore.CustomKeyStoreRecord, id, name string) []*keystore.CustomKeyStoreRecord {
	for i, r := range records {
		if r.ID == id || r.Name == name {
			return records[i : i+1]
		}
	}
	return nil
}

func describeKeyStore(r *keystore.CustomKeyStoreRecord) kms.CustomKeyStoresListEntry {
	entry := kms.CustomKeyStoresListEntry{
		CustomKeyStoreId:    r.ID,
		CustomKeyStoreName:  r.Name,
		CustomKeyStoreType:  r.Type,
		ConnectionState:     r.State,
		ConnectionErrorCode: r.ErrorCode,
		CreationDate:        kms.TimestampOf(r.Created),
	}
	if r.CloudHSM != nil {
		entry.CloudHsmClusterId, entry.TrustAnchorCertificate = r.CloudHSM.ClusterID, r.CloudHSM.TrustAnchor
	}
	if r.External != nil {
		entry.XksProxyConfiguration = &kms.XksProxyConfigurationType{
			Connectivity:            r.External.Connectivity,
			AccessKeyId:             r.External.AccessKeyID,
			UriEndpoint:             r.External.Endpoint,
			UriPath:                 r.External.Path,
			VpcEndpointServiceName:  r.External.VPCEndpointServiceName,
			VpcEndpointServiceOwner: r.External.VPCEndpointServiceOwner,
		}
	}
	return entry
}
