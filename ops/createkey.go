package ops

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"

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
	if err := s.checkOrigin(in, spec, usage); err != nil {
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
	keyPolicy, err := newKeyPolicy(call, arn, in.Policy, in.BypassPolicyLockoutSafetyCheck)
	if err != nil {
		return nil, err
	}
	now := s.now().UTC()
	record := &keystore.KeyRecord{
		Partition:   partition,
		Account:     account,
		Region:      call.Region,
		ID:          id,
		Created:     now,
		Description: in.Description,
		Spec:        spec,
		Usage:       usage,
		Origin:      cmp.Or(in.Origin, kms.OriginTypeAwsKms),
		Manager:     kms.KeyManagerTypeCustomer,
		State:       kms.KeyStateEnabled,
		Policy:      keyPolicy,
		Tags:        tags,
	}
	if in.MultiRegion {
		record.MultiRegion = placesOf(call.Region, call.Region, nil)
	}
	if err := s.firstMaterial(ctx, record); err != nil {
		return nil, err
	}
	call.touch(keyOf(record))
	if err := s.update(ctx, call, func(tx *keystore.Tx) error { return tx.CreateKey(record) }); err != nil {
		for i := range record.Materials {
			err = errors.Join(err, s.abandon(ctx, record.KeyID(), &record.Materials[i].Material))
		}
		return nil, err
	}
	return &kms.CreateKeyResponse{KeyMetadata: s.metadata(keyOf(record))}, nil
}

// firstMaterial gives a new key its material. A key whose material is imported waits for it.
func (s *Service) firstMaterial(ctx context.Context, r *keystore.KeyRecord) error {
	if r.Origin == kms.OriginTypeExternal {
		r.State = kms.KeyStatePendingImport
		return nil
	}
	material, err := s.domain.GenerateKey(ctx, hsm.KeyRequest{Spec: r.Spec, Usage: r.Usage, KeyID: r.ID})
	if err != nil {
		return creationError(r.Spec, err)
	}
	material.Ordinal, material.Created = 1, r.Created
	r.Materials, r.Current = []keystore.KeyMaterial{{Material: material}}, material.Ordinal
	if r.MultiRegion != nil {
		if err := checkMovable(r.Spec, r.Materials...); err != nil {
			return errors.Join(err, s.domain.Destroy(ctx, &material))
		}
	}
	return nil
}

// abandon destroys a material that no record took. Where it cannot be told whether the key's record
// has it, it stays: an orphan is better than a record without its material.
func (s *Service) abandon(ctx context.Context, id keystore.KeyID, material *kms.Material) error {
	record, err := s.store.Key(ctx, id)
	if err != nil && !errors.Is(err, keystore.ErrNotFound) {
		return nil
	}
	has := func(m keystore.KeyMaterial) bool {
		return m.ID == material.ID && bytes.Equal(m.ObjectID, material.ObjectID)
	}
	if err == nil && slices.ContainsFunc(record.Materials, has) {
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

// checkOrigin refuses origins and key stores that this version does not have, and imported material
// for keys that can have none.
func (s *Service) checkOrigin(in *kms.CreateKeyRequest, spec kms.KeySpec, usage kms.KeyUsageType) error {
	switch {
	case in.CustomKeyStoreId != "":
		return kms.CustomKeyStoreNotFoundException.Err()
	case in.XksKeyId != "":
		return kms.Errorf(kms.ValidationException, "XksKeyId is valid only for keys in an external key store.")
	case in.Origin == kms.OriginTypeExternal:
		return s.checkImportable(spec, usage)
	case in.Origin != "" && in.Origin != kms.OriginTypeAwsKms:
		return kms.Errorf(kms.UnsupportedOperationException, "Origin %s is not supported by this version of kms11.", in.Origin)
	}
	return nil
}

func creationError(spec kms.KeySpec, err error) error {
	if errors.Is(err, hsm.ErrUnsupported) {
		return kms.Errorf(kms.UnsupportedOperationException, "KeySpec %s is not supported: %v.", spec, err).Because(err)
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
