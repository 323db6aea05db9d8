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
		Enabled:               k.state() == kms.KeyStateEnabled,
		Description:           k.Description,
		KeyUsage:              k.Usage,
		KeyState:              k.state(),
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
	// Nor does a key in a custom key store, which has one for ever.
	if material := k.CurrentMaterial(); material != nil && k.Spec == kms.KeySpecSymmetricDefault && k.State != kms.KeyStateCreating && k.store == nil {
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
	if k.store != nil {
		m.CustomKeyStoreId = k.store.ID
		if k.store.CloudHSM != nil {
			m.CloudHsmClusterId = k.store.CloudHSM.ClusterID
		}
		if k.XksKeyID != "" {
			m.XksKeyConfiguration = &kms.XksKeyConfigurationType{Id: k.XksKeyID}
		}
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
