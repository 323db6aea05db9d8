package keystore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kms11/kms11/kms"
)

// RegionDomain is a Region whose key material is in tokens of its own: a domain beside that of the
// store, whose record key authenticates what is said here. It stands in the header, because there it
// cannot be taken away alone: a Region whose domain was lost must not get a new one.
type RegionDomain struct {
	Region  string     `json:"region"`
	Created time.Time  `json:"created"`
	Domain  kms.Domain `json:"domain"`
}

func compareRegions(a, b RegionDomain) int { return strings.Compare(a.Region, b.Region) }

// checkRegionDomains refuses a header in which a Region or a domain is there twice. It gives the
// times the form in which they are written.
func checkRegionDomains(c *headerContent) error {
	c.Regions = slices.Clone(c.Regions)
	ids := map[string]bool{c.Domain.ID: true}
	for i := range c.Regions {
		r := &c.Regions[i]
		r.Created = utc(r.Created)
		switch {
		case r.Region == "" || r.Created.IsZero() || r.Domain.ID == "":
			return errors.New("a Region's domain needs a Region, a time and an id")
		case i > 0 && c.Regions[i-1].Region >= r.Region:
			return errors.New("the Regions are not in ascending order")
		case ids[r.Domain.ID]:
			return fmt.Errorf("domain %s is there twice", r.Domain.ID)
		}
		ids[r.Domain.ID] = true
	}
	return nil
}

// RegionDomain gives the domain of a Region's own tokens, nil if it has none.
func (h *Header) RegionDomain(region string) *RegionDomain {
	for i := range h.Regions {
		if h.Regions[i].Region == region {
			return &h.Regions[i]
		}
	}
	return nil
}

// PutRegionDomain gives a Region a domain of its own, or describes anew the one that it has: another
// domain for a Region that has one would leave its keys without their tokens and is refused with
// ErrExists.
func (tx *Tx) PutRegionDomain(r RegionDomain) error {
	regions := slices.Clone(tx.content.Regions)
	at, found := slices.BinarySearchFunc(regions, r, compareRegions)
	switch {
	case !found:
		regions = slices.Insert(regions, at, r)
	case regions[at].Domain.ID != r.Domain.ID:
		return tx.fail(fmt.Errorf("domain of Region %s: %w: it has domain %s", r.Region, ErrExists, regions[at].Domain.ID))
	default:
		regions[at] = r
	}
	tx.content.Regions = regions
	tx.domainSet = true
	return nil
}
