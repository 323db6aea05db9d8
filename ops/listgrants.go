package ops

import (
	"context"
	"errors"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// defaultListGrants is the page size of ListGrants and ListRetirableGrants without a Limit.
const defaultListGrants = 50

// ListGrants implements the operation ListGrants: the grants on a key, or those to one grantee, or
// the one that has an id.
func (s *Service) ListGrants(ctx context.Context, call *Call, in *kms.ListGrantsRequest) (*kms.ListGrantsResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return nil, err
	}
	grantee, err := oneOf("GranteePrincipal", in.GranteePrincipal, "GranteeServicePrincipal", in.GranteeServicePrincipal)
	if err != nil {
		return nil, err
	}
	from, err := openMarker(call.Operation, in.Marker)
	if err != nil {
		return nil, err
	}
	var ids []string
	var next string
	if in.GrantId != "" {
		ids, err = []string{in.GrantId}, checkGrantID(in.GrantId)
	} else {
		ids, next, err = s.store.ScanGrants(ctx, k.KeyID(), grantee, from, limitOr(in.Limit, defaultListGrants))
	}
	if err != nil {
		return nil, err
	}
	out := &kms.ListGrantsResponse{Grants: make([]kms.GrantListEntry, 0, len(ids)), Truncated: next != ""}
	for _, id := range ids {
		record, err := s.store.Grant(ctx, keystore.GrantID{Key: k.KeyID(), ID: id})
		if errors.Is(err, keystore.ErrNotFound) {
			continue // deleted since its id was read
		}
		if err != nil {
			return nil, err
		}
		if grantCounts(record, k.KeyRecord) && (grantee == "" || grantee == record.Grantee()) {
			out.Grants = append(out.Grants, grantEntry(record))
		}
	}
	if next != "" {
		out.NextMarker = marker(call.Operation, next)
	}
	return out, nil
}

// ListRetirableGrants implements the operation ListRetirableGrants: the grants in the request's
// Region that name a retiring principal of the caller's account, whosever keys they are on. A
// service principal is of no account: for one the grants on the keys of the caller's account are
// listed.
func (s *Service) ListRetirableGrants(ctx context.Context, call *Call, in *kms.ListRetirableGrantsRequest) (*kms.ListGrantsResponse, error) {
	// A service has no policies; it may ask for the grants that it can retire itself.
	if call.Caller.Principal.Service == "" || call.Caller.Principal.Service != in.RetiringServicePrincipal {
		if err := s.authorizeAccount(call); err != nil {
			return nil, err
		}
	}
	retiring, err := oneOf("RetiringPrincipal", in.RetiringPrincipal, "RetiringServicePrincipal", in.RetiringServicePrincipal)
	if err != nil {
		return nil, err
	}
	if retiring == "" {
		return nil, kms.Errorf(kms.ValidationException, "Specify either RetiringPrincipal or RetiringServicePrincipal.")
	}
	scope := scopeOf(call)
	ofAccount := ""
	if in.RetiringServicePrincipal != "" {
		ofAccount = scope.Account
	} else if err := ownPrincipal(call, scope.Partition, retiring); err != nil {
		return nil, err
	}
	after, err := openGrantMarker(call, in.Marker)
	if err != nil {
		return nil, err
	}
	ids, more, err := s.store.ScanRetirable(ctx, scope.Partition, scope.Region, retiring, ofAccount, after, limitOr(in.Limit, defaultListGrants))
	if err != nil {
		return nil, err
	}
	out := &kms.ListGrantsResponse{Grants: make([]kms.GrantListEntry, 0, len(ids)), Truncated: more}
	for _, id := range ids {
		record, err := s.liveGrant(ctx, id)
		if errors.Is(err, keystore.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if record.Retiring() == retiring {
			out.Grants = append(out.Grants, grantEntry(record))
		}
	}
	if more {
		last := ids[len(ids)-1]
		out.NextMarker = marker(call.Operation, strings.Join([]string{last.Key.Account, last.Key.ID, last.ID}, ","))
	}
	return out, nil
}

// liveGrant gives a grant if its key is there, ErrNotFound otherwise.
func (s *Service) liveGrant(ctx context.Context, id keystore.GrantID) (*keystore.GrantRecord, error) {
	record, err := s.store.Grant(ctx, id)
	if err != nil {
		return nil, err
	}
	k, err := s.store.Key(ctx, id.Key)
	if err != nil {
		return nil, err
	}
	if !grantCounts(record, k) {
		return nil, keystore.ErrNotFound
	}
	return record, nil
}

// openGrantMarker gives the grant behind which a page of ListRetirableGrants begins.
func openGrantMarker(call *Call, marker string) (*keystore.GrantID, error) {
	text, err := openMarker(call.Operation, marker)
	if err != nil || text == "" {
		return nil, err
	}
	parts := strings.Split(text, ",")
	if len(parts) != 3 {
		return nil, kms.Errorf(kms.InvalidMarkerException, "The marker is not valid.")
	}
	return &keystore.GrantID{Key: keystore.KeyID{Account: parts[0], ID: parts[1]}, ID: parts[2]}, nil
}

// ownPrincipal refuses a principal of another account than the caller's.
func ownPrincipal(call *Call, partition, arn string) error {
	parts := principalARN.FindStringSubmatch(arn)
	if parts == nil || parts[1] != partition {
		return noPrincipal(arn)
	}
	if parts[2]+parts[4] == call.Caller.Principal.Account {
		return nil
	}
	return denial(&policy.Request{Principal: call.Caller.Principal, Action: "kms:" + call.Operation, Resource: arn}, policy.NoIdentityAllow)
}

// oneOf gives the one of two members that is set, or "", and refuses both.
func oneOf(name, value, otherName, other string) (string, error) {
	if value != "" && other != "" {
		return "", kms.Errorf(kms.ValidationException, "%s and %s cannot both be specified.", name, otherName)
	}
	return value + other, nil
}

// grantEntry is what a list says of a grant.
func grantEntry(r *keystore.GrantRecord) kms.GrantListEntry {
	entry := kms.GrantListEntry{
		KeyId:                    r.Key().ARN(),
		GrantId:                  r.ID,
		Name:                     r.Name,
		CreationDate:             kms.TimestampOf(r.Created),
		GranteePrincipal:         r.GranteePrincipal,
		GranteeServicePrincipal:  r.GranteeServicePrincipal,
		RetiringPrincipal:        r.RetiringPrincipal,
		RetiringServicePrincipal: r.RetiringServicePrincipal,
		IssuingAccount:           r.IssuingAccount,
		Operations:               r.Operations,
	}
	if len(r.EncryptionContextEquals)+len(r.EncryptionContextSubset) > 0 || r.SourceARN != "" {
		entry.Constraints = &kms.GrantConstraints{
			EncryptionContextEquals: r.EncryptionContextEquals,
			EncryptionContextSubset: r.EncryptionContextSubset,
			SourceArn:               r.SourceARN,
		}
	}
	return entry
}
