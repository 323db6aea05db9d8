package ops

import (
	"context"
	"encoding/hex"
	"errors"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// CreateGrant implements the operation CreateGrant. With a name, a request that the same account
// repeats gives the grant that is there, with a new token.
func (s *Service) CreateGrant(ctx context.Context, call *Call, in *kms.CreateGrantRequest) (*kms.CreateGrantResponse, error) {
	for {
		out, err := s.createGrant(ctx, call, in)
		if !errors.Is(err, errPolicyChanged) {
			return out, err
		}
	}
}

// errPolicyChanged says that a key's policy is not the one that allowed the request any more.
var errPolicyChanged = errors.New("the key policy has changed since the request was authorised")

// createGrant is one attempt of CreateGrant. What allowed it is decided before the transaction,
// which must not read the store beside itself; a policy that changed meanwhile is decided anew.
func (s *Service) createGrant(ctx context.Context, call *Call, in *kms.CreateGrantRequest) (*kms.CreateGrantResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	asked := requestedGrant(call, k, in)
	if err := s.authorizeUse(ctx, call, call.Operation, k, byGrant{tokens: in.GrantTokens, create: grantOf(asked)}); err != nil {
		return nil, err
	}
	if err := s.checkGrant(ctx, k, asked); err != nil {
		return nil, err
	}
	if err := checkState(k, call.Operation); err != nil {
		return nil, err
	}
	id, err := s.domain.Random(ctx, grantIDSize)
	if err != nil {
		return nil, tokenError(err)
	}
	asked.ID, asked.Created = hex.EncodeToString(id), s.now()
	var made keystore.GrantID
	err = s.update(ctx, call, func(tx *keystore.Tx) error {
		current, err := currentKey(tx, k)
		if err != nil {
			return err
		}
		if current.Policy != k.Policy {
			return errPolicyChanged
		}
		if err := checkState(current, call.Operation); err != nil {
			return err
		}
		made, err = s.addGrant(tx, current, asked, in.DryRun)
		return err
	})
	if err != nil {
		return nil, err
	}
	token, err := s.newGrantToken(ctx, made)
	if err != nil {
		return nil, err
	}
	return &kms.CreateGrantResponse{GrantToken: token, GrantId: made.ID}, nil
}

// addGrant writes a grant, unless it was asked for before by the same name, and gives the one
// that is there then.
func (s *Service) addGrant(tx *keystore.Tx, k key, asked *keystore.GrantRecord, dryRun bool) (keystore.GrantID, error) {
	if asked.Name != "" {
		earlier, err := tx.GrantLike(asked)
		if err != nil && !errors.Is(err, keystore.ErrNotFound) {
			return keystore.GrantID{}, err
		}
		if err == nil && grantCounts(earlier, k.KeyRecord) {
			if dryRun {
				return keystore.GrantID{}, errDryRun()
			}
			return earlier.GrantID(), nil
		}
	}
	n, err := tx.GrantCount(k.KeyID())
	if err == nil {
		err = s.checkGrantQuota(n)
	}
	if err == nil && dryRun {
		err = errDryRun()
	}
	if err != nil {
		return keystore.GrantID{}, err
	}
	if asked.Created.Before(k.Created) { // by another node's clock
		asked.Created = k.Created
	}
	return asked.GrantID(), tx.CreateGrant(asked)
}

// requestedGrant is the grant that a request asks for, without an id.
func requestedGrant(call *Call, k key, in *kms.CreateGrantRequest) *keystore.GrantRecord {
	r := &keystore.GrantRecord{
		Partition: k.Partition, Account: k.Account, Region: k.Region, KeyID: k.ID,
		Name:                     in.Name,
		GranteePrincipal:         in.GranteePrincipal,
		GranteeServicePrincipal:  in.GranteeServicePrincipal,
		RetiringPrincipal:        in.RetiringPrincipal,
		RetiringServicePrincipal: in.RetiringServicePrincipal,
		IssuingAccount:           accountARN(k.Partition, call.Caller.Principal.Account),
	}
	seen := make(map[kms.GrantOperation]bool, len(in.Operations))
	for _, operation := range in.Operations {
		if !seen[operation] {
			r.Operations = append(r.Operations, operation)
		}
		seen[operation] = true
	}
	if c := in.Constraints; c != nil {
		r.EncryptionContextEquals, r.EncryptionContextSubset, r.SourceARN = c.EncryptionContextEquals, c.EncryptionContextSubset, c.SourceArn
	}
	return r
}
