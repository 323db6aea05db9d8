package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// An Orphan is an object in a token that belongs to a domain and that nothing in the store names.
type Orphan struct {
	Token   string `json:"token"` // its URI
	Domain  string `json:"domain"`
	Role    string `json:"role"` // "resident", or that of a domain's key, with Version
	Version uint32 `json:"version,omitempty"`
	ID      string `json:"id"`    // CKA_ID in hexadecimal digits
	Label   string `json:"label"` // of a resident key: the id of the KMS key it was made for
}

// Orphans finds what an interruption left in the tokens: resident keys whose record was never written, and
// versions of domain keys that the header does not have. A key that is being made at this moment may be among
// them. A token that is down is left out and part of the error.
func (s *Service) Orphans(ctx context.Context) ([]Orphan, error) {
	orphans := []Orphan{}
	var errs []error
	for _, d := range s.allDomains() {
		found := map[*hsm.Token][]hsm.ObjectInfo{}
		// The tokens come first: what is written to the store meanwhile counts.
		for _, t := range d.Holders() {
			objects, err := hsm.DomainObjects(ctx, t, d.ID())
			errs = append(errs, err)
			found[t] = objects
		}
		description, err := s.described(ctx, d)
		if err != nil {
			return nil, err
		}
		named, err := s.residents(ctx, d)
		if err != nil {
			return nil, err
		}
		for _, t := range d.Holders() {
			for _, o := range found[t] {
				if _, ok := named[o.ID]; ok && o.Role == "resident" || o.Role != "resident" && isListed(&description, o) {
					continue
				}
				orphans = append(orphans, Orphan{Token: t.URI().String(), Domain: o.Domain, Role: o.Role, Version: o.Version, ID: o.ID, Label: o.Label})
			}
		}
	}
	return orphans, errors.Join(errs...)
}

// isListed says whether a domain has a key, or is about to have it or to lose it.
func isListed(d *kms.Domain, o hsm.ObjectInfo) bool {
	newest := uint32(0)
	for _, k := range d.Keys {
		if string(k.Role) == o.Role {
			if k.Version == o.Version {
				return true
			}
			newest = max(newest, k.Version)
		}
	}
	return d.Rotation.Retires(kms.DomainKeyRole(o.Role), o.Version) ||
		d.Rotation != nil && d.Rotation.Phase == kms.RotationMaking && o.Version == newest+1
}

// ReportOrphans writes what Orphans finds to the log.
func (s *Service) ReportOrphans(ctx context.Context) {
	orphans, err := s.Orphans(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("not all tokens could be searched for objects that nothing names", "error", err)
	}
	if len(orphans) > 0 {
		s.log.Warn("the tokens have objects that no record names: kms11 hsm orphans lists them", "objects", len(orphans))
	}
}
