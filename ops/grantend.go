package ops

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// RetireGrant implements the operation RetireGrant. The grant says who may; of the policies only
// explicit denials count, and those that an account gives to its own (AWS KMS Developer Guide,
// "Retiring and revoking grants").
func (s *Service) RetireGrant(ctx context.Context, call *Call, in *kms.RetireGrantRequest) error {
	id, err := s.retiredGrant(ctx, call, in)
	if err != nil {
		return err
	}
	k, err := s.resolve(ctx, call, id.Key.ARN())
	if err != nil {
		return err
	}
	record, err := s.currentGrant(ctx, call, k, id)
	if err != nil {
		return err
	}
	if err := s.authorizeRetiring(call, k, record); err != nil {
		return err
	}
	return s.endGrant(ctx, call, k, id, in.DryRun)
}

// retiredGrant gives the grant that a request names by a token or by its key and id.
func (s *Service) retiredGrant(ctx context.Context, call *Call, in *kms.RetireGrantRequest) (keystore.GrantID, error) {
	byID := in.KeyId != "" && in.GrantId != ""
	switch {
	case in.GrantToken != "" && in.KeyId == "" && in.GrantId == "":
		return s.openGrantToken(ctx, call, in.GrantToken)
	case in.GrantToken != "" || !byID:
		return keystore.GrantID{}, kms.Errorf(kms.ValidationException, "Specify either GrantToken, or KeyId and GrantId.")
	}
	if err := checkGrantID(in.GrantId); err != nil {
		return keystore.GrantID{}, err
	}
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return keystore.GrantID{}, err
	}
	return keystore.GrantID{Key: k.KeyID(), ID: in.GrantId}, nil
}

// authorizeRetiring decides whether the caller may retire a grant: the retiring principal, the
// grantee if the grant allows it, and the account that created it.
func (s *Service) authorizeRetiring(call *Call, k key, record *keystore.GrantRecord) error {
	request, decision, err := s.evaluate(call, call.Operation, k)
	if err != nil {
		return err
	}
	if decision.Effect != policy.Allowed && !decision.Effect.Implicit() {
		return denial(request, decision.Effect)
	}
	entitled := []string{record.Retiring(), record.IssuingAccount}
	if grantOf(record).Allows(policy.GrantRequest{Operation: kms.GrantOperationRetireGrant}) {
		entitled = append(entitled, record.Grantee())
	}
	for _, principal := range entitled {
		if policy.Acts(request, principal, call.Caller.policies(nil)) {
			return nil
		}
	}
	if own := call.Caller.Principal.Account; own != k.Account && record.IssuingAccount != accountARN(k.Partition, own) {
		return foreign(call) // as if there were no such grant
	}
	return denial(request, policy.NoIdentityAllow)
}

// RevokeGrant implements the operation RevokeGrant.
func (s *Service) RevokeGrant(ctx context.Context, call *Call, in *kms.RevokeGrantRequest) error {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return err
	}
	if err := checkGrantID(in.GrantId); err != nil {
		return err
	}
	id := keystore.GrantID{Key: k.KeyID(), ID: in.GrantId}
	if _, err := s.currentGrant(ctx, call, k, id); err != nil {
		return err
	}
	return s.endGrant(ctx, call, k, id, in.DryRun)
}

// endGrant deletes a grant that was there a moment ago.
func (s *Service) endGrant(ctx context.Context, call *Call, k key, id keystore.GrantID, dryRun bool) error {
	if err := checkState(k, call.Operation); err != nil {
		return err
	}
	if dryRun {
		return errDryRun()
	}
	err := s.update(ctx, call, func(tx *keystore.Tx) error { return tx.DeleteGrant(id) })
	if errors.Is(err, keystore.ErrNotFound) {
		return noSuchGrant(id.ID)
	}
	return err
}

// currentGrant gives a grant on a key. Of the keys of other accounts a caller does not learn which
// grants they lack.
func (s *Service) currentGrant(ctx context.Context, call *Call, k key, id keystore.GrantID) (*keystore.GrantRecord, error) {
	record, err := s.store.Grant(ctx, id)
	switch {
	case err != nil && !errors.Is(err, keystore.ErrNotFound):
		return nil, err
	case err == nil && grantCounts(record, k.KeyRecord):
		return record, nil
	case call.Caller.Principal.Account != k.Account && call.Operation == "RetireGrant":
		return nil, foreign(call)
	}
	return nil, noSuchGrant(id.ID)
}

func noSuchGrant(id string) error {
	return kms.Errorf(kms.NotFoundException, "Grant ID %s not found", id)
}

// checkGrantID refuses what no grant's id looks like: 64 lower-case hexadecimal digits.
func checkGrantID(id string) error {
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != grantIDSize || strings.ToLower(id) != id {
		return kms.Errorf(kms.InvalidGrantIdException, "The grant ID is not valid.")
	}
	return nil
}
