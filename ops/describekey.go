package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// DescribeKey implements the operation DescribeKey.
func (s *Service) DescribeKey(ctx context.Context, call *Call, in *kms.DescribeKeyRequest) (*kms.DescribeKeyResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeUse(ctx, call, call.Operation, k, byGrant{tokens: in.GrantTokens}); err != nil {
		return nil, err
	}
	return &kms.DescribeKeyResponse{KeyMetadata: s.metadata(k)}, nil
}

// metadata says of a key what DescribeKey and CreateKey tell.
func (s *Service) metadata(k key) *kms.KeyMetadata {
	m := &kms.KeyMetadata{
		AWSAccountId:          k.Account,
		KeyId:                 k.ID,
		Arn:                   k.arn,
		CreationDate:          kms.TimestampOf(k.Created),
		Enabled:               k.State == kms.KeyStateEnabled,
		Description:           k.Description,
		KeyUsage:              k.Usage,
		KeyState:              k.State,
		Origin:                k.Origin,
		KeyManager:            k.Manager,
		KeySpec:               k.Spec,
		CustomerMasterKeySpec: kms.CustomerMasterKeySpec(k.Spec),
		MultiRegion:           k.MultiRegion != nil,
	}
	use := s.algorithms(k)
	m.EncryptionAlgorithms = use.Encryption
	m.SigningAlgorithms = use.Signing
	m.MacAlgorithms = use.Mac
	m.KeyAgreementAlgorithms = use.KeyAgreement
	m.EncapsulationAlgorithms = use.Encapsulation
	// A replica in the making does not tell its material.
	if material := k.CurrentMaterial(); material != nil && k.Spec == kms.KeySpecSymmetricDefault && k.State != kms.KeyStateCreating {
		m.CurrentKeyMaterialId = material.ID
	}
	model, validTo := importedValidity(k.KeyRecord)
	m.ExpirationModel, m.ValidTo = model, kms.TimestampOf(validTo)
	if k.State == kms.KeyStatePendingDeletion {
		m.DeletionDate = kms.TimestampOf(k.DeletionDate)
	}
	if k.State == kms.KeyStatePendingReplicaDeletion {
		m.PendingDeletionWindowInDays = int(k.PendingWindowInDays)
	}
	if k.MultiRegion != nil {
		m.MultiRegionConfiguration = multiRegionConfiguration(k)
	}
	return m
}

// multiRegionConfiguration says of a multi-Region key which Regions hold it.
func multiRegionConfiguration(k key) *kms.MultiRegionConfiguration {
	place := func(region string) kms.MultiRegionKey {
		return kms.MultiRegionKey{Arn: kms.KeyARN(region, k.Account, k.ID).String(), Region: region}
	}
	primary := place(k.MultiRegion.PrimaryRegion)
	c := &kms.MultiRegionConfiguration{
		MultiRegionKeyType: k.MultiRegion.Type,
		PrimaryKey:         &primary,
		ReplicaKeys:        []kms.MultiRegionKey{},
	}
	for _, region := range k.MultiRegion.ReplicaRegions {
		c.ReplicaKeys = append(c.ReplicaKeys, place(region))
	}
	return c
}
