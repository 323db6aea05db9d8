package ops

import (
	"slices"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// checkPrimary refuses a key that is not a multi-Region primary key.
func checkPrimary(k key) error {
	if k.MultiRegion == nil || k.Replica() {
		return kms.Errorf(kms.UnsupportedOperationException, "%s is not a multi-region primary key.", k.arn)
	}
	return nil
}

// checkRegion refuses to take a key to a Region that the server does not serve or that is in
// another partition. AWS's texts are not known.
func (s *Service) checkRegion(k key, member, region string) error {
	switch {
	case kms.PartitionOf(region) != k.Partition:
		return kms.Errorf(kms.ValidationException, "%s %s is not in the partition %s of the key.", member, region, k.Partition)
	case !s.Serves(region):
		return kms.Errorf(kms.ValidationException, "%s %s is not a Region that this server serves.", member, region)
	}
	return nil
}

// checkMovable refuses material that cannot be in several Regions: a resident key belongs to one
// token and to one record, with which it is destroyed.
func checkMovable(spec kms.KeySpec, materials ...keystore.KeyMaterial) error {
	if slices.ContainsFunc(materials, func(m keystore.KeyMaterial) bool { return len(m.ObjectID) > 0 }) {
		return kms.Errorf(kms.UnsupportedOperationException,
			"KeySpec %s is not supported for multi-Region keys: the token does not wrap such keys, so they cannot leave it.", spec)
	}
	return nil
}

// placesOf is the MultiRegion of the related key in one Region, for related keys that are here.
func placesOf(region, primary string, replicas []string) *keystore.MultiRegion {
	kind := kms.MultiRegionKeyTypeReplica
	if region == primary {
		kind = kms.MultiRegionKeyTypePrimary
	}
	return &keystore.MultiRegion{Type: kind, PrimaryRegion: primary, ReplicaRegions: slices.Clone(replicas)}
}

// tellRelatives writes what r's record says of the related keys' places into their own records.
func tellRelatives(tx *keystore.Tx, r *keystore.KeyRecord) error {
	return eachRelative(tx.Key, r, func(relative *keystore.KeyRecord) error {
		record := relative.Clone()
		record.MultiRegion = placesOf(record.Region, r.MultiRegion.PrimaryRegion, r.MultiRegion.ReplicaRegions)
		return tx.PutKey(record)
	})
}
