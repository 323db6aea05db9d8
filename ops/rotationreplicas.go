package ops

import (
	"slices"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// putRotation writes a key whose material or schedule changed and hands both to its replicas, which
// share them (AWS KMS Developer Guide, "Multi-Region keys in AWS KMS: shared properties"). As it is
// one transaction, no Region encrypts with material that another one lacks. A Region with tokens of its
// own gets new material from copies; the error is a lackError if it is not among them.
func (s *Service) putRotation(tx *keystore.Tx, primary *keystore.KeyRecord, copies moved) error {
	if err := tx.PutKey(primary); err != nil {
		return err
	}
	return eachRelative(tx.Key, primary, func(relative *keystore.KeyRecord) (err error) {
		replica := relative.Clone()
		shared := primary.Clone()
		replica.Rotation, replica.Current = shared.Rotation, shared.Current
		if primary.Origin != kms.OriginTypeExternal {
			if replica.Materials, err = s.sharedMaterials(replica, shared, copies); err != nil {
				return err
			}
			return tx.PutKey(replica)
		}
		// Material is imported in each Region by itself, and may expire at different times.
		for i := range replica.Materials {
			m := &replica.Materials[i]
			if same := sameMaterial(primary, m); same != nil {
				m.Rotated, m.RotationType = same.Rotated, same.RotationType
			}
		}
		return tx.PutKey(replica)
	})
}

// sharedMaterials gives the materials of a primary key as a replica has them: those that it has stay in
// its own domain, wherever that is; of the others it gets copies. shared is taken over.
func (s *Service) sharedMaterials(replica, shared *keystore.KeyRecord, copies moved) ([]keystore.KeyMaterial, error) {
	for i := range shared.Materials {
		m := &shared.Materials[i]
		if own := sameMaterial(replica, m); own != nil {
			m.Material = own.Material
			continue
		}
		material, err := s.in(replica.Region, m.Material, copies)
		if err != nil {
			return nil, err
		}
		m.Material = material
	}
	return shared.Materials, nil
}

// heldByAll says whether an imported key has this material of its, and every related key too.
func heldByAll(get keyGetter, r *keystore.KeyRecord, m *keystore.KeyMaterial) (bool, error) {
	all := m.Present()
	err := eachRelative(get, r, func(relative *keystore.KeyRecord) error {
		theirs := sameMaterial(relative, m)
		all = all && theirs != nil && theirs.Present()
		return nil
	})
	return all, err
}

// sameMaterial gives a record's own entry for a material of a related key, nil if it has none.
// Ciphertexts name the ordinal, so that is the same in every Region, as the id is.
func sameMaterial(r *keystore.KeyRecord, m *keystore.KeyMaterial) *keystore.KeyMaterial {
	i := slices.IndexFunc(r.Materials, func(o keystore.KeyMaterial) bool { return o.ID == m.ID && o.Ordinal == m.Ordinal })
	if i < 0 {
		return nil
	}
	return &r.Materials[i]
}
