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
	store, err := s.checkOrigin(ctx, call, in, spec, usage)
	if err != nil {
		return nil, err
	}
	tags, err := newTags(in.Tags)
	if err != nil {
		return nil, err
	}
	partition, account := kms.PartitionOf(call.Region), call.Caller.Principal.Account
	id, err := s.newKeyID(ctx, call.Region, in.MultiRegion)
	if err != nil {
		return nil, err
	}
	record := &keystore.KeyRecord{
		Partition:   partition,
		Account:     account,
		Region:      call.Region,
		ID:          id,
		Created:     s.now().UTC(),
		Description: in.Description,
		Spec:        spec,
		Usage:       usage,
		Origin:      cmp.Or(in.Origin, kms.OriginTypeAwsKms),
		Manager:     kms.KeyManagerTypeCustomer,
		State:       kms.KeyStateEnabled,
		Tags:        tags,
	}
	if in.MultiRegion {
		record.MultiRegion = placesOf(call.Region, call.Region, nil)
	}
	if err := s.authorizeTags(call, keyOf(record), in.Tags); err != nil {
		return nil, err
	}
	if record.Policy, err = s.newKeyPolicy(ctx, call, keyOf(record), in.Policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	// A look before the token makes something.
	if err := s.glanceAtKeyQuota(ctx, scopeOf(call)); err != nil {
		return nil, err
	}
	destroy := s.destroy
	if store != nil {
		record.CustomKeyStoreID, record.XksKeyID = store.ID, in.XksKeyId
		destroy, err = s.firstStoredMaterial(ctx, call, record, store)
	} else {
		err = s.firstMaterial(ctx, record)
	}
	if err != nil {
		return nil, err
	}
	call.touch(keyOf(record))
	err = s.update(ctx, call, func(tx *keystore.Tx) error {
		// Others may have made keys since the first look.
		if err := s.checkKeyQuota(tx, scopeOf(call)); err != nil {
			return err
		}
		return createKey(tx, record)
	})
	if err != nil {
		for i := range record.Materials {
			err = errors.Join(err, s.abandonIn(ctx, record.KeyID(), &record.Materials[i].Material, destroy))
		}
		return nil, err
	}
	made := keyOf(record)
	made.store = store
	return &kms.CreateKeyResponse{KeyMetadata: s.metadata(made)}, nil
}

// firstMaterial gives a new key its material. A key whose material is imported waits for it.
func (s *Service) firstMaterial(ctx context.Context, r *keystore.KeyRecord) error {
	if r.Origin == kms.OriginTypeExternal {
		r.State = kms.KeyStatePendingImport
		return nil
	}
	material, err := s.generate(ctx, r.Region, hsm.KeyRequest{Spec: r.Spec, Usage: r.Usage, KeyID: r.ID})
	if err != nil {
		return creationError(r.Spec, err)
	}
	material.Ordinal, material.Created = 1, r.Created
	r.Materials, r.Current = []keystore.KeyMaterial{{Material: material}}, material.Ordinal
	if r.MultiRegion != nil {
		if err := checkMovable(r.Spec, r.Materials...); err != nil {
			return errors.Join(err, s.destroy(ctx, &material))
		}
	}
	return nil
}

// abandon destroys a material that no record took. Where it cannot be told whether the key's record
// has it, it stays: an orphan is better than a record without its material.
func (s *Service) abandon(ctx context.Context, id keystore.KeyID, material *kms.Material) error {
	return s.abandonIn(ctx, id, material, s.destroy)
}

// abandonIn is abandon with what destroys a material where it is.
func (s *Service) abandonIn(ctx context.Context, id keystore.KeyID, material *kms.Material, destroy func(context.Context, *kms.Material) error) error {
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
	return destroy(ctx, material)
}

// authorizeTags decides whether the caller may tag the key that it is about to make. The key has no
// policy yet, and no tags that a condition could ask about.
func (s *Service) authorizeTags(call *Call, k key, tags []kms.Tag) error {
	if len(tags) == 0 {
		return nil
	}
	bare := *k.KeyRecord
	bare.Tags = nil
	return s.authorizeMaking(call, "TagResource", key{KeyRecord: &bare, arn: k.arn})
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

// checkOrigin refuses imported material for keys that can have none, and gives the custom key store
// that the key is to be in, nil for none.
func (s *Service) checkOrigin(ctx context.Context, call *Call, in *kms.CreateKeyRequest, spec kms.KeySpec, usage kms.KeyUsageType) (*keystore.CustomKeyStoreRecord, error) {
	if _, stored := storeTypes[in.Origin]; stored || in.CustomKeyStoreId != "" || in.XksKeyId != "" {
		return s.storeForKey(ctx, call, in, spec)
	}
	if in.Origin == kms.OriginTypeExternal {
		return nil, s.checkImportable(call.Region, spec, usage)
	}
	return nil, nil
}

func creationError(spec kms.KeySpec, err error) error {
	if errors.Is(err, hsm.ErrUnsupported) {
		return kms.Errorf(kms.UnsupportedOperationException, "KeySpec %s is not supported: %v.", spec, err).Because(err)
	}
	return tokenError(err)
}

// newKeyID makes a key id of 122 random bits, or of 128 for a multi-Region key.
func (s *Service) newKeyID(ctx context.Context, region string, multiRegion bool) (string, error) {
	random, err := s.random(ctx, region, 16)
	if err != nil {
		return "", tokenError(err)
	}
	if multiRegion {
		return kms.FormatKeyID([16]byte(random), true), nil
	}
	return kms.FormatUUID([16]byte(random)), nil
}
