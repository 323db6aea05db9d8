package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// Decrypt implements the operation Decrypt for symmetric encryption keys.
func (s *Service) Decrypt(ctx context.Context, call *Call, in *kms.DecryptRequest) (*kms.DecryptResponse, error) {
	source, err := s.openSource(ctx, call, sourceRequest{
		action:      "Decrypt",
		keyID:       in.KeyId,
		blob:        in.CiphertextBlob,
		algorithm:   in.EncryptionAlgorithm,
		grantTokens: in.GrantTokens,
		dryRun:      in.DryRun,
		modifiers:   in.DryRunModifiers,
	})
	if err != nil {
		return nil, err
	}
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	if source.blind {
		return nil, errDryRun()
	}
	plaintext, err := s.unseal(ctx, source, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		clear(plaintext)
		return nil, errDryRun()
	}
	return &kms.DecryptResponse{
		KeyId:               source.key.arn,
		Plaintext:           plaintext,
		EncryptionAlgorithm: kms.EncryptionAlgorithmSpecSymmetricDefault,
		KeyMaterialId:       source.material.ID,
	}, nil
}

// source is a ciphertext with the key that opens it.
type source struct {
	key        key
	material   *kms.Material
	ciphertext ciphertext
	header     []byte // of the blob
	blind      bool   // a dry run that ignores the ciphertext: there is none
}

// sourceRequest is what Decrypt and the source side of ReEncrypt have in common.
type sourceRequest struct {
	action      string // the permission needed: Decrypt or ReEncryptFrom
	keyID       string // optional
	blob        []byte
	algorithm   kms.EncryptionAlgorithmSpec
	grantTokens []string
	dryRun      bool
	modifiers   []kms.DryRunModifierType
}

// openSource finds the key of a ciphertext and takes it through authorisation, usage and state.
// AWS authorises before it looks at the ciphertext itself (AWS KMS Cryptographic Details,
// "Decrypt").
func (s *Service) openSource(ctx context.Context, call *Call, in sourceRequest) (source, error) {
	blind, err := checkModifiers(in)
	if err != nil {
		return source{}, err
	}
	found := source{blind: blind}
	if in.keyID != "" {
		if found.key, err = s.resolve(ctx, call, in.keyID); err != nil {
			return found, err
		}
	}
	var formErr error
	if !blind {
		found.ciphertext, formErr = parseCiphertext(in.blob)
	}
	if in.keyID == "" {
		if formErr != nil {
			return found, kms.InvalidCiphertextException.Err().Because(formErr)
		}
		if found.key, err = s.keyNamedBy(ctx, call, found.ciphertext); err != nil {
			return found, err
		}
	}
	if err := checkGrantTokens(in.grantTokens); err != nil {
		return found, err
	}
	if err := s.authorizeAction(call, in.action, found.key); err != nil {
		return found, err
	}
	// AWS answers for a source key as for Decrypt: a key that cannot decrypt is the wrong key.
	if err := kms.CheckUsage("Decrypt", found.key.arn, found.key.Usage); err != nil {
		return found, err
	}
	if err := checkAlgorithm(found.key, in.algorithm); err != nil {
		return found, err
	}
	if err := checkState(found.key, call.Operation); err != nil {
		return found, err
	}
	if blind {
		return found, nil
	}
	if formErr != nil {
		return found, kms.InvalidCiphertextException.Err().Because(formErr)
	}
	id, multiRegion, _ := kms.KeyIDBytes(found.key.ID)
	if found.ciphertext.key != id || found.ciphertext.multiRegion != multiRegion {
		return found, kms.Errorf(kms.IncorrectKeyException, "The key ID in the request does not identify a CMK that can perform this operation.")
	}
	found.header = in.blob[:headerSize]
	found.material = found.key.Material(found.ciphertext.ordinal)
	if found.material == nil || found.material.Scheme != found.ciphertext.scheme {
		return found, kms.InvalidCiphertextException.Err()
	}
	return found, nil
}

// keyNamedBy finds the key that a ciphertext names. To a caller who may not see it, a key that is
// missing looks like one that is forbidden.
func (s *Service) keyNamedBy(ctx context.Context, call *Call, c ciphertext) (key, error) {
	record, err := s.store.Key(ctx, keystore.KeyID{
		Partition: kms.PartitionOf(call.Region),
		Account:   call.Caller.Principal.Account,
		Region:    call.Region,
		ID:        kms.FormatKeyID(c.key, c.multiRegion),
	})
	if errors.Is(err, keystore.ErrNotFound) {
		return key{}, kms.Errorf(kms.AccessDeniedException, "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
	}
	if err != nil {
		return key{}, err
	}
	return keyOf(record), nil
}

// checkModifiers reads DryRunModifiers and reports whether the request comes without a
// ciphertext (API reference, Decrypt: IGNORE_CIPHERTEXT needs DryRun and a KeyId).
func checkModifiers(in sourceRequest) (blind bool, err error) {
	if len(in.modifiers) > 0 {
		if !in.dryRun {
			return false, kms.Errorf(kms.ValidationException, "DryRunModifiers can only be specified when DryRun is true.")
		}
		if in.keyID == "" {
			return false, kms.Errorf(kms.ValidationException, "A key ID is required when the IGNORE_CIPHERTEXT modifier is specified.")
		}
		return true, nil
	}
	return false, nil
}

// unseal decrypts in the token.
func (s *Service) unseal(ctx context.Context, from source, context map[string]string) ([]byte, error) {
	aad := appendContext(append([]byte(nil), from.header...), context)
	plaintext, err := s.domain.Decrypt(ctx, from.material, hsm.Sealed{
		Nonce:      from.ciphertext.nonce,
		IV:         from.ciphertext.iv,
		Ciphertext: from.ciphertext.sealed,
	}, aad)
	return plaintext, tokenError(err)
}
