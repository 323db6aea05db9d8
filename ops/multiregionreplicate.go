package ops

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
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
	arn := kms.KeyARN(in.ReplicaRegion, primary.Account, primary.ID).String()
	likeness := key{KeyRecord: likenessOf(primary.KeyRecord, in.ReplicaRegion), arn: arn}
	if err := s.authorizeByIdentity(&creating, "CreateKey", "*", primary.Account, likeness); err != nil {
		return nil, err
	}
	if err := s.authorizeTags(&creating, likeness, in.Tags); err != nil {
		return nil, err
	}
	if err := s.checkRegion(primary, "ReplicaRegion", in.ReplicaRegion); err != nil {
		return nil, err
	}
	own := &keystore.KeyRecord{Region: in.ReplicaRegion, Created: s.now().UTC(), Description: in.Description}
	document, policyErr := (*policy.Document)(nil), error(nil)
	if own.Policy = in.Policy; own.Policy == "" {
		own.Policy = defaultKeyPolicy(primary.Partition, call.Caller.Principal.Account)
	} else {
		document, policyErr = s.readKeyPolicy(ctx, primary.Partition, own.Policy)
	}
	check := func(primary key) (err error) {
		if err := checkReplicable(primary, call.Operation); err != nil {
			return err
		}
		if own.Tags, err = newTags(in.Tags); err != nil {
			return err
		}
		if policyErr != nil {
			return policyErr
		}
		like := keyOf(replicaOf(primary.KeyRecord, own))
		return s.checkLockout(&creating, like, document, in.BypassPolicyLockoutSafetyCheck || in.Policy == "")
	}
	// Nothing is made in a token for a request that is refused anyway.
	if err := check(primary); err != nil {
		return nil, err
	}
	copies := moved{}
	if err := s.transferToReplica(ctx, primary, in.ReplicaRegion, copies); err != nil {
		return nil, err
	}
	var replica *keystore.KeyRecord
	err = s.withTransfers(ctx, call, primary.KeyRecord, copies, func(tx *keystore.Tx) error {
		current, err := currentKey(tx, primary)
		if err != nil {
			return err
		}
		if err := check(current); err != nil {
			return err
		}
		if err := s.checkKeyQuota(tx, scopeOf(&creating)); err != nil {
			return err
		}
		replica = replicaOf(current.KeyRecord, own)
		if err := s.settleMaterials(replica, copies); err != nil {
			return err
		}
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

// transferToReplica has the tokens of a new replica's Region get the key's material, unless there is a
// replica already: then the transaction says so.
func (s *Service) transferToReplica(ctx context.Context, primary key, region string, copies moved) error {
	if _, err := s.relative(ctx, primary, region); err == nil {
		return nil
	}
	if err := s.checkTransferable(primary.KeyRecord, region); err != nil {
		return err
	}
	if primary.Origin == kms.OriginTypeExternal {
		return nil // it is imported there, too
	}
	return transferError(s.transfer(ctx, primary.KeyRecord, region, presentMaterials(primary.KeyRecord), copies))
}

// settleMaterials gives the record of a new replica its materials as its Region's tokens have them.
func (s *Service) settleMaterials(replica *keystore.KeyRecord, copies moved) error {
	for i := range replica.Materials {
		m := &replica.Materials[i]
		if !m.Present() {
			continue
		}
		material, err := s.in(replica.Region, m.Material, copies)
		if err != nil {
			return err
		}
		m.Material = material
	}
	return nil
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

// likenessOf is what conditions may know of a replica that is to be made.
func likenessOf(primary *keystore.KeyRecord, region string) *keystore.KeyRecord {
	r := *primary
	r.Region, r.Tags, r.Aliases = region, nil, nil
	if r.MultiRegion != nil {
		r.MultiRegion = placesOf(region, r.MultiRegion.PrimaryRegion, r.MultiRegion.ReplicaRegions)
	}
	return &r
}

// forgetImport leaves of an imported material what names it.
func forgetImport(m *keystore.KeyMaterial) {
	m.Domain, m.Wrap, m.DomainKey, m.Length, m.Blob, m.ObjectID = "", "", 0, 0, nil, nil
	m.ExpirationModel, m.ValidTo = "", time.Time{}
}
