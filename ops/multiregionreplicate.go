package ops

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// ReplicateKey implements the operation ReplicateKey. The caller needs kms:ReplicateKey on the
// primary key and, in the Region of the replica, what CreateKey needs. As at AWS the answer shows
// the replica while it is being created; here it is ready by then.
func (s *Service) ReplicateKey(ctx context.Context, call *Call, in *kms.ReplicateKeyRequest) (*kms.ReplicateKeyResponse, error) {
	primary, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeKey(call, primary); err != nil {
		return nil, err
	}
	creating := *call
	creating.Operation, creating.Region = "CreateKey", in.ReplicaRegion
	if err := s.authorizeAccount(&creating); err != nil {
		return nil, err
	}
	arn := kms.KeyARN(in.ReplicaRegion, primary.Account, primary.ID).String()
	if err := s.authorizeTags(&creating, arn, in.Tags); err != nil {
		return nil, err
	}
	if err := s.checkRegion(primary, "ReplicaRegion", in.ReplicaRegion); err != nil {
		return nil, err
	}
	own := &keystore.KeyRecord{Region: in.ReplicaRegion, Created: s.now().UTC(), Description: in.Description}
	var replica *keystore.KeyRecord
	err = s.update(ctx, call, func(tx *keystore.Tx) error {
		current, err := currentKey(tx, primary)
		if err != nil {
			return err
		}
		if err := checkReplicable(current, call.Operation); err != nil {
			return err
		}
		if own.Tags, err = newTags(in.Tags); err != nil {
			return err
		}
		if own.Policy, err = newKeyPolicy(&creating, arn, in.Policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
			return err
		}
		replica = replicaOf(current.KeyRecord, own)
		if err := tx.CreateKey(replica); err != nil {
			return err
		}
		return tellRelatives(tx, replica)
	})
	if errors.Is(err, keystore.ErrExists) {
		return nil, kms.Errorf(kms.AlreadyExistsException, "Key '%s' already exists", arn)
	}
	if err != nil {
		return nil, err
	}
	metadata := s.metadata(keyOf(replica))
	metadata.KeyState, metadata.Enabled, metadata.CurrentKeyMaterialId = kms.KeyStateCreating, false, ""
	return &kms.ReplicateKeyResponse{ReplicaKeyMetadata: metadata, ReplicaPolicy: replica.Policy, ReplicaTags: in.Tags}, nil
}

// checkReplicable refuses a key of which there can be no replica, or none in its present state.
func checkReplicable(k key, operation string) error {
	if err := checkPrimary(k); err != nil {
		return err
	}
	if err := checkMovable(k.Spec, k.Materials...); err != nil {
		return err
	}
	return checkState(k, operation)
}

// replicaOf makes the record of a new replica from what it shares with its primary key and from
// what is its own: Region, time, description, tags and policy (AWS KMS Developer Guide,
// "Multi-Region keys in AWS KMS": shared properties). Imported material is shared by name only,
// until it has been imported in the replica's Region too.
func replicaOf(primary, own *keystore.KeyRecord) *keystore.KeyRecord {
	shared := primary.Clone()
	m := shared.MultiRegion
	replica := &keystore.KeyRecord{
		Partition: shared.Partition, Account: shared.Account, ID: shared.ID,
		Spec: shared.Spec, Usage: shared.Usage, Origin: shared.Origin, Manager: shared.Manager,
		Materials: shared.Materials, Current: shared.Current, Rotation: shared.Rotation,
		MultiRegion: placesOf(own.Region, m.PrimaryRegion, append(m.ReplicaRegions, own.Region)),
		State:       kms.KeyStateEnabled,

		Region: own.Region, Created: own.Created,
		Description: own.Description, Tags: slices.Clone(own.Tags), Policy: own.Policy,
	}
	if replica.Origin == kms.OriginTypeExternal {
		replica.State = kms.KeyStatePendingImport
		for i := range replica.Materials {
			forgetImport(&replica.Materials[i])
		}
	}
	return replica
}

// forgetImport leaves of an imported material what names it.
func forgetImport(m *keystore.KeyMaterial) {
	m.Wrap, m.DomainKey, m.Length, m.Blob, m.ObjectID = "", 0, 0, nil, nil
	m.ExpirationModel, m.ValidTo = "", time.Time{}
}
