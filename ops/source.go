package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// source is a ciphertext of a request with the key that opens it.
type source struct {
	recipe
	material   *kms.Material
	blob       []byte
	ciphertext ciphertext // of a symmetric key
	blind      bool       // a dry run that ignores the ciphertext: there is none
}

// materialID is the KeyMaterialId of an answer: symmetric keys only.
func (s source) materialID() string {
	if !s.symmetric() {
		return ""
	}
	return s.material.ID
}

// sourceRequest is what Decrypt and the source side of ReEncrypt have in common.
type sourceRequest struct {
	action      string // the permission needed: Decrypt or ReEncryptFrom
	keyID       string // optional for symmetric keys
	blob        []byte
	algorithm   kms.EncryptionAlgorithmSpec
	context     map[string]string
	grantTokens []string
	dryRun      bool
	modifiers   []kms.DryRunModifierType
}

// source finds the key of a ciphertext and takes it through authorisation, usage, algorithm and
// state, then the ciphertext through what can be seen without decrypting it. AWS authorises before
// it looks at the ciphertext itself (AWS KMS Cryptographic Details, "Decrypt").
func (s *Service) source(ctx context.Context, call *Call, in sourceRequest) (source, error) {
	blind, err := checkModifiers(in)
	if err != nil {
		return source{}, err
	}
	from := source{blob: in.blob, blind: blind, recipe: recipe{algorithm: encryptionAlgorithm(in.algorithm), context: in.context}}
	var formErr error
	if !blind && from.symmetric() {
		from.ciphertext, formErr = parseCiphertext(in.blob)
	}
	if in.keyID != "" {
		from.key, err = s.resolveFor(ctx, call, in.action, in.keyID)
	} else {
		from.key, err = s.keyNamedBy(ctx, call, in.action, from, formErr)
	}
	if err != nil {
		return from, err
	}
	words := ""
	if in.keyID == "" && from.key.Account != call.Caller.Principal.Account {
		words = keyOfCiphertext // which does not tell a stranger whose key it is
	}
	if err := s.authorizeUseOf(ctx, call, in.action, from.key, byGrant{tokens: in.grantTokens, context: in.context}, words); err != nil {
		return from, err
	}
	call.uses(from.key)
	// AWS answers for a source key as for Decrypt: a key that cannot decrypt is the wrong key.
	if err := kms.CheckUsage("Decrypt", from.key.arn, from.key.Usage); err != nil {
		return from, err
	}
	if err := s.checkAlgorithm(from.key, from.algorithm); err != nil {
		return from, err
	}
	if err := checkState(from.key, call.Operation); err != nil {
		return from, err
	}
	if err := from.checkContext(); err != nil || blind {
		return from, err
	}
	if err := from.choose(formErr); err != nil {
		return from, err
	}
	return from, s.admitUse(from.key)
}

// choose finds the material that opens the ciphertext.
func (s *source) choose(formErr error) error {
	if formErr != nil {
		return kms.InvalidCiphertextException.Err().Because(formErr)
	}
	if !s.symmetric() {
		s.material = s.key.CurrentMaterial()
		return nil
	}
	id, multiRegion, _ := kms.KeyIDBytes(s.key.ID)
	if s.ciphertext.key != id || s.ciphertext.multiRegion != multiRegion {
		return kms.Errorf(kms.IncorrectKeyException, "The key ID in the request does not identify a CMK that can perform this operation.")
	}
	s.material = s.key.Material(s.ciphertext.ordinal)
	if s.material == nil || s.material.Scheme != s.ciphertext.scheme || s.ciphertext.external != (s.key.XksKeyID != "") {
		return kms.InvalidCiphertextException.Err()
	}
	return nil
}

// keyNamedBy finds the key that a symmetric ciphertext names. To a caller who may not see it, a
// key that is missing looks like one that is forbidden. Other ciphertexts name no key.
func (s *Service) keyNamedBy(ctx context.Context, call *Call, action string, from source, formErr error) (key, error) {
	if formErr != nil || !from.symmetric() {
		return key{}, kms.InvalidCiphertextException.Err().Because(formErr)
	}
	partition, id := kms.PartitionOf(call.Region), kms.FormatKeyID(from.ciphertext.key, from.ciphertext.multiRegion)
	record, err := s.store.Key(ctx, keystore.KeyID{Partition: partition, Account: call.Caller.Principal.Account, Region: call.Region, ID: id})
	if errors.Is(err, keystore.ErrNotFound) {
		record, err = s.store.FindKey(ctx, partition, call.Region, id)
	}
	if errors.Is(err, keystore.ErrNotFound) {
		return key{}, unseenOn(call.Caller.Principal, "kms:"+action, keyOfCiphertext)
	}
	if err != nil {
		return key{}, err
	}
	k, err := s.housed(ctx, keyOf(s.present(record)))
	call.touch(k)
	return k, err
}

// keyOfCiphertext stands in texts for a key that the caller may not know of (AWS IAM Identity Center User
// Guide, "Troubleshoot customer managed keys", shows such a text; AWS's answers of 2023 and later have the
// others). Before, AWS had one text for them all: "The ciphertext refers to a customer master key that
// does not exist, does not exist in this region, or you are not allowed to access."
const keyOfCiphertext = "the resource associated with this ciphertext"

// checkModifiers reads DryRunModifiers and reports whether the request comes without a
// ciphertext (API reference, Decrypt: IGNORE_CIPHERTEXT needs DryRun and a KeyId).
func checkModifiers(in sourceRequest) (blind bool, err error) {
	switch {
	case len(in.modifiers) == 0:
		return false, nil
	case !in.dryRun:
		return false, kms.Errorf(kms.ValidationException, "DryRunModifiers can only be specified when DryRun is true.")
	case in.keyID == "":
		return false, kms.Errorf(kms.ValidationException, "A key ID is required when the IGNORE_CIPHERTEXT modifier is specified.")
	}
	return true, nil
}
