package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// CreateKey implements the operation CreateKey. The token makes the material first and the record
// comes last: a fault in between leaves at most a resident object that no record names.
func (s *Service) CreateKey(ctx context.Context, call *Call, in *kms.CreateKeyRequest) (*kms.CreateKeyResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	spec, usage, err := specAndUsage(in)
	if err != nil {
		return nil, err
	}
	if err := s.checkOrigin(in); err != nil {
		return nil, err
	}
	tags, err := newTags(in.Tags)
	if err != nil {
		return nil, err
	}
	partition, account := kms.PartitionOf(call.Region), call.Caller.Principal.Account
	id, err := s.newKeyID(ctx, in.MultiRegion)
	if err != nil {
		return nil, err
	}
	arn := kms.KeyARN(call.Region, account, id).String()
	if err := s.authorizeTags(call, arn, in.Tags); err != nil {
		return nil, err
	}
	keyPolicy := in.Policy
	if keyPolicy == "" {
		keyPolicy = defaultKeyPolicy(partition, account)
	} else if err := checkKeyPolicy(call, arn, keyPolicy, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	material, err := s.domain.GenerateKey(ctx, hsm.KeyRequest{Spec: spec, Usage: usage, KeyID: id})
	if err != nil {
		return nil, creationError(spec, err)
	}
	now := s.now().UTC()
	material.Ordinal, material.Created = 1, now
	record := &keystore.KeyRecord{
		Partition:   partition,
		Account:     account,
		Region:      call.Region,
		ID:          id,
		Created:     now,
		Description: in.Description,
		Spec:        spec,
		Usage:       usage,
		Origin:      kms.OriginTypeAwsKms,
		Manager:     kms.KeyManagerTypeCustomer,
		State:       kms.KeyStateEnabled,
		Policy:      keyPolicy,
		Tags:        tags,
		Materials:   []keystore.KeyMaterial{{Material: material}},
		Current:     material.Ordinal,
	}
	if in.MultiRegion {
		record.MultiRegion = &keystore.MultiRegion{Type: kms.MultiRegionKeyTypePrimary, PrimaryRegion: call.Region}
	}
	if err := s.store.Update(ctx, func(tx *keystore.Tx) error { return tx.CreateKey(record) }); err != nil {
		return nil, errors.Join(err, s.abandon(ctx, record.KeyID(), &material))
	}
	return &kms.CreateKeyResponse{KeyMetadata: s.metadata(keyOf(record))}, nil
}

// abandon destroys the material of a key whose record could not be written. Where it cannot be told
// whether the record was written, the material stays: an orphan is better than a key without one.
func (s *Service) abandon(ctx context.Context, id keystore.KeyID, material *kms.Material) error {
	if _, err := s.store.Key(ctx, id); !errors.Is(err, keystore.ErrNotFound) {
		return nil
	}
	return s.domain.Destroy(ctx, material)
}

// authorizeTags decides whether the caller may tag the key that it is about to make.
func (s *Service) authorizeTags(call *Call, arn string, tags []kms.Tag) error {
	if len(tags) == 0 {
		return nil
	}
	request := policy.Request{
		Principal: call.Caller.Principal,
		Action:    "kms:TagResource",
		Resource:  arn,
		Owner:     call.Caller.Principal.Account,
	}
	return denial(request, policy.Evaluate(request, nil, call.Caller.Policies))
}

// specAndUsage reads KeySpec, its deprecated twin and KeyUsage with their defaults.
func specAndUsage(in *kms.CreateKeyRequest) (kms.KeySpec, kms.KeyUsageType, error) {
	name := in.KeySpec
	if in.CustomerMasterKeySpec != "" {
		if name != "" {
			return "", "", kms.Errorf(kms.ValidationException, "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
		}
		name = kms.KeySpec(in.CustomerMasterKeySpec)
	}
	if name == "" {
		name = kms.KeySpecSymmetricDefault
	}
	spec, ok := kms.SpecOf(name)
	if !ok {
		return "", "", kms.KMSInternalException.Err()
	}
	usage, err := spec.ResolveUsage(in.KeyUsage)
	return name, usage, err
}

// checkOrigin refuses origins and key stores that this version does not have.
func (s *Service) checkOrigin(in *kms.CreateKeyRequest) error {
	switch {
	case in.CustomKeyStoreId != "":
		return kms.CustomKeyStoreNotFoundException.Err()
	case in.XksKeyId != "":
		return kms.Errorf(kms.ValidationException, "XksKeyId is valid only for keys in an external key store.")
	case in.Origin != "" && in.Origin != kms.OriginTypeAwsKms:
		return kms.Errorf(kms.UnsupportedOperationException, "Origin %s is not supported by this version of kms11.", in.Origin)
	}
	return nil
}

func creationError(spec kms.KeySpec, err error) error {
	if errors.Is(err, hsm.ErrUnsupported) {
		return kms.Errorf(kms.UnsupportedOperationException, "KeySpec %s is not supported by the token: %v.", spec, err).Because(err)
	}
	return tokenError(err)
}

// newKeyID makes a key id of 122 random bits, or of 128 for a multi-Region key.
func (s *Service) newKeyID(ctx context.Context, multiRegion bool) (string, error) {
	random, err := s.domain.Random(ctx, 16)
	if err != nil {
		return "", tokenError(err)
	}
	if multiRegion {
		return kms.FormatKeyID([16]byte(random), true), nil
	}
	return kms.FormatUUID([16]byte(random)), nil
}
