package ops

import (
	"context"
	"errors"
	"fmt"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// moved are materials of one key as they are for the domains of other Regions, by domain id and material
// id. They are made before the transaction that writes them, by the tokens, and until then nothing but
// this process has them: whatever ends it leaves no trace.
type moved map[string]map[string]kms.Material

func (m moved) put(domain string, materials ...kms.Material) {
	if m[domain] == nil {
		m[domain] = map[string]kms.Material{}
	}
	for _, material := range materials {
		m[domain][material.ID] = material
	}
}

// A lackError says that a record is to be written with a material that its Region's domain does not have
// yet. Whoever gets it transfers the material and begins the transaction anew.
type lackError struct {
	region   string
	material kms.Material // as one of the related keys has it
}

func (e *lackError) Error() string {
	return fmt.Sprintf("material %d is missing in the tokens of Region %s", e.material.Ordinal, e.region)
}

// in gives a material of a related key as it is for a Region: itself if the Region's domain can use it,
// else a copy. The error is a lackError if there is none.
func (s *Service) in(region string, material kms.Material, copies moved) (kms.Material, error) {
	d, err := s.domainIn(region)
	if err != nil {
		return kms.Material{}, err
	}
	if s.domainIDOf(&material) == d.ID() {
		return material, nil
	}
	moved, ok := copies[d.ID()][material.ID]
	if !ok {
		return kms.Material{}, &lackError{region: region, material: material}
	}
	moved.Ordinal, moved.Created = material.Ordinal, material.Created
	return moved, nil
}

// domainIDOf is the id of the domain that a material names.
func (s *Service) domainIDOf(m *kms.Material) string {
	if m.Domain == "" {
		return s.domain.ID()
	}
	return m.Domain
}

// transfer has the tokens pass those materials of a key to a Region's domain that it cannot use and that
// are not among the copies, to which they are added. Materials of one domain go together.
func (s *Service) transfer(ctx context.Context, r *keystore.KeyRecord, region string, materials []kms.Material, copies moved) error {
	to, err := s.domainIn(region)
	if err != nil {
		return err
	}
	var order []string
	parcels := map[string][]kms.Material{}
	for _, m := range materials {
		_, there := copies[to.ID()][m.ID]
		from := s.domainIDOf(&m)
		if there || from == to.ID() {
			continue
		}
		if parcels[from] == nil {
			order = append(order, from)
		}
		parcels[from] = append(parcels[from], m)
	}
	for _, id := range order {
		parcel := parcels[id]
		from, err := s.domainOf(&parcel[0])
		if err != nil {
			return err
		}
		got, err := hsm.Transfer(ctx, from, to, hsm.TransferRequest{Spec: r.Spec, KeyID: r.ID, Materials: parcel})
		if err != nil {
			return err
		}
		copies.put(to.ID(), got...)
	}
	return nil
}

// presentMaterials are the materials of a key that a token can use.
func presentMaterials(r *keystore.KeyRecord) []kms.Material {
	var all []kms.Material
	for i := range r.Materials {
		if r.Materials[i].Present() {
			all = append(all, r.Materials[i].Material)
		}
	}
	return all
}

// maxTransfers bounds how often one request follows changes that others make to a key meanwhile. Each
// takes a rotation or a replication of the key.
const maxTransfers = 16

// withTransfers runs a call's transaction on a key, again after a transfer for each lackError that it ends with.
func (s *Service) withTransfers(ctx context.Context, call *Call, r *keystore.KeyRecord, copies moved, update func(*keystore.Tx) error) error {
	var err error
	for range maxTransfers {
		err = s.update(ctx, call, update)
		var lack *lackError
		if !errors.As(err, &lack) {
			return err
		}
		if err := s.transfer(ctx, r, lack.region, []kms.Material{lack.material}, copies); err != nil {
			return transferError(err)
		}
	}
	return err
}

// transferError says to a client why material cannot pass to a Region.
func transferError(err error) error {
	if errors.Is(err, hsm.ErrUnsupported) {
		return kms.Errorf(kms.UnsupportedOperationException, "The key material cannot be transferred to the tokens of the other Region: %v.", err).Because(err)
	}
	return err
}

// checkTransferable refuses a Region whose tokens cannot have or use the material of a key, with AWS's
// error for a token that lacks something.
func (s *Service) checkTransferable(r *keystore.KeyRecord, region string) error {
	to, err := s.domainIn(region)
	if err != nil {
		return err
	}
	from, err := s.domainIn(r.Region)
	materials := make([]kms.Material, 0, len(r.Materials))
	same := err == nil && from == to
	for i := range r.Materials {
		m := &r.Materials[i].Material
		materials = append(materials, *m)
		same = same && s.domainIDOf(m) == to.ID()
	}
	if same {
		return nil
	}
	return transferError(to.CanReceive(r.Spec, materials...))
}

// sharedScheme is the derivation scheme that new material of a multi-Region key has to have, since the
// tokens of all its Regions know that of the material before; empty for another key.
func sharedScheme(r *keystore.KeyRecord) kms.DerivationScheme {
	if r.MultiRegion == nil || len(r.Materials) == 0 {
		return ""
	}
	return r.Materials[len(r.Materials)-1].Scheme
}
