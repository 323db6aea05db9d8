package ops

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// A grant token names a grant. It is base64 of a sealed value (see docs/formats.md), so that nobody
// can make one and no two are the same. Sealed is
//
//	offset  bytes  field
//	     0      1  version: 0x01
//	     1     32  grant id
//	    33      n  ARN of the key
const (
	grantTokenVersion = 1
	grantTokenHead    = 1 + grantIDSize
	grantIDSize       = 32
	// grantTokenPurpose binds the sealed value to its use.
	grantTokenPurpose = "grant-token"
)

// newGrantToken makes one more token of a grant.
func (s *Service) newGrantToken(ctx context.Context, id keystore.GrantID) (string, error) {
	raw, err := hex.DecodeString(id.ID)
	if err != nil {
		return "", err
	}
	plain := append([]byte{grantTokenVersion}, raw...)
	plain = append(plain, id.Key.ARN()...)
	sealed, err := s.domain.Seal(ctx, grantTokenPurpose, plain)
	if err != nil {
		return "", tokenError(err)
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// openGrantToken gives the grant that a token of the call's Region names. The grant may be gone.
func (s *Service) openGrantToken(ctx context.Context, call *Call, token string) (keystore.GrantID, error) {
	sealed, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || base64.StdEncoding.EncodedLen(len(sealed)) != len(token) { // the decoder skips line breaks
		return keystore.GrantID{}, badGrantToken(err)
	}
	plain, err := s.domain.Open(ctx, grantTokenPurpose, sealed)
	if errors.Is(err, hsm.ErrBadCiphertext) {
		return keystore.GrantID{}, badGrantToken(err)
	}
	if err != nil {
		return keystore.GrantID{}, tokenError(err)
	}
	if len(plain) <= grantTokenHead || plain[0] != grantTokenVersion {
		return keystore.GrantID{}, badGrantToken(nil)
	}
	arn, err := kms.ParseARN(string(plain[grantTokenHead:]))
	if err != nil || arn.KeyID() == "" || arn.Region != call.Region {
		return keystore.GrantID{}, badGrantToken(err)
	}
	return keystore.GrantID{
		Key: keystore.KeyID{Partition: arn.Partition, Account: arn.Account, Region: arn.Region, ID: arn.KeyID()},
		ID:  hex.EncodeToString(plain[1:grantTokenHead]),
	}, nil
}

// openGrantTokens gives the grants that the tokens of a request name. A token of a grant that is
// gone is as bad as a forged one.
func (s *Service) openGrantTokens(ctx context.Context, call *Call, tokens []string) ([]*keystore.GrantRecord, error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	records := make([]*keystore.GrantRecord, 0, len(tokens))
	for _, token := range tokens {
		id, err := s.openGrantToken(ctx, call, token)
		if err != nil {
			return nil, err
		}
		record, err := s.store.Grant(ctx, id)
		if errors.Is(err, keystore.ErrNotFound) {
			return nil, badGrantToken(err)
		}
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}

func badGrantToken(cause error) error {
	return kms.Errorf(kms.InvalidGrantTokenException, "The grant token is not valid.").Because(cause)
}
