package ops

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// A domainTable says which tokens a service has beside those of the store: by Region, and all of them by
// id. It never changes; a new one takes its place. A Region with a domain that is not open has nil: its
// keys wait for their tokens and must not get others meanwhile.
type domainTable struct {
	byRegion map[string]*hsm.Domain
	byID     map[string]*hsm.Domain
}

func newDomainTable(regions map[string]*hsm.Domain) *domainTable {
	t := &domainTable{byRegion: maps.Clone(regions), byID: map[string]*hsm.Domain{}}
	for _, d := range regions {
		if d != nil {
			t.byID[d.ID()] = d
		}
	}
	return t
}

// OpenRegion gives a Region the domain that it was waiting for. It may be called while requests are
// served.
func (s *Service) OpenRegion(region string, d *hsm.Domain) {
	for {
		old := s.domains.Load()
		regions := maps.Clone(old.byRegion)
		if regions == nil {
			regions = map[string]*hsm.Domain{}
		}
		regions[region] = d
		if s.domains.CompareAndSwap(old, newDomainTable(regions)) {
			s.rotations.notify()
			return
		}
	}
}

// domainIn is the domain in which new key material of a Region is made: its own, or that of the store.
func (s *Service) domainIn(region string) (*hsm.Domain, error) {
	d, own := s.domains.Load().byRegion[region]
	switch {
	case !own:
		return s.domain, nil
	case d == nil:
		return nil, fmt.Errorf("%w: the tokens of Region %s are not there", hsm.ErrTokenDown, region)
	}
	return d, nil
}

// domainOf is the domain that holds a material or can unwrap it, which the material names. So a key whose
// Region got tokens of its own goes on with the material that it has.
func (s *Service) domainOf(m *kms.Material) (*hsm.Domain, error) {
	if m.Domain == "" || m.Domain == s.domain.ID() {
		return s.domain, nil
	}
	if d := s.domains.Load().byID[m.Domain]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("%w: the tokens of domain %s are not there", hsm.ErrTokenDown, m.Domain)
}

// tells is the domain that says what algorithms a key can do. Where the key's own is not there to be
// asked, that of the store stands for it: the key cannot be used anyway.
func (s *Service) tells(r *keystore.KeyRecord) *hsm.Domain {
	var d *hsm.Domain
	var err error
	if m := r.CurrentMaterial(); m != nil && (len(m.Blob) > 0 || len(m.ObjectID) > 0) {
		d, err = s.domainOf(m)
	} else {
		d, err = s.domainIn(r.Region)
	}
	if err != nil {
		return s.domain
	}
	return d
}

// random gives bytes of the random number generator of a Region's tokens.
func (s *Service) random(ctx context.Context, region string, n int) ([]byte, error) {
	d, err := s.domainIn(region)
	if err != nil {
		return nil, err
	}
	return d.Random(ctx, n)
}

// generate makes key material in the tokens of a key's Region.
func (s *Service) generate(ctx context.Context, region string, r hsm.KeyRequest) (kms.Material, error) {
	d, err := s.domainIn(region)
	if err != nil {
		return kms.Material{}, err
	}
	return d.GenerateKey(ctx, r)
}

// destroy ends what the tokens hold of a material.
func (s *Service) destroy(ctx context.Context, m *kms.Material) error {
	d, err := s.domainOf(m)
	if err != nil {
		if len(m.ObjectID) == 0 {
			return nil // no token holds anything of it
		}
		return err
	}
	return d.Destroy(ctx, m)
}

// forget drops the cached objects of a material in every domain.
func (s *Service) forget(id string) {
	s.domain.Forget(id)
	for _, d := range s.domains.Load().byID {
		d.Forget(id)
	}
}

// RegionStatus is how the tokens of a Region are that has some of its own.
type RegionStatus struct {
	Region  string `json:"region"`
	Domain  string `json:"domain,omitempty"` // empty if its tokens were not there yet
	Healthy bool   `json:"healthy"`
	Problem string `json:"problem,omitempty"`
}

// HasTokens says whether a Region has tokens of its own.
func (s *Service) HasTokens(region string) bool {
	_, own := s.domains.Load().byRegion[region]
	return own
}

// RegionsWithTokens are the Regions that have tokens of their own, in the order of their names.
func (s *Service) RegionsWithTokens() []string {
	return slices.Sorted(maps.Keys(s.domains.Load().byRegion))
}

// RegionHealth asks the tokens of a Region whether they answer, and the store, which every Region needs.
func (s *Service) RegionHealth(ctx context.Context, region string) error {
	if err := s.Health(ctx); err != nil {
		return err
	}
	d, err := s.domainIn(region)
	if err != nil || d == s.domain {
		return err
	}
	return d.Health(ctx)
}

// Regions says how the Regions are that have tokens of their own, in the order of their names.
func (s *Service) Regions(ctx context.Context) []RegionStatus {
	var all []RegionStatus
	for _, region := range s.RegionsWithTokens() {
		status := RegionStatus{Region: region}
		d, err := s.domainIn(region)
		if err == nil {
			status.Domain = d.ID()
			err = d.Health(ctx)
		}
		if status.Healthy = err == nil; err != nil {
			status.Problem = err.Error()
		}
		all = append(all, status)
	}
	return all
}
