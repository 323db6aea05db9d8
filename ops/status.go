package ops

import (
	"context"

	"github.com/kms11/kms11/audit"
)

// Status is what the service says of itself to its administrator.
type Status struct {
	Domain   string `json:"domain"`
	StoreID  string `json:"storeId"`
	Revision uint64 `json:"revision"`
	Account  string `json:"account"`
	Region   string `json:"region"`
	// Rotations are those of domain keys that are under way or were begun by this process.
	Rotations []RotationStatus `json:"rotations,omitempty"`
	// Identities is about the identities directory; nil where there is none.
	Identities *IdentityStatus `json:"identities,omitempty"`

	Audit *audit.Status `json:"audit,omitempty"`
}

// Status names what the service serves and reads the store's header. With an error it holds what is
// known without the store.
func (s *Service) Status(ctx context.Context) (Status, error) {
	status := Status{Domain: s.domain.Describe().ID, Account: s.account, Region: s.region, Identities: s.identityStatus()}
	if s.audit != nil {
		trail := s.audit.Status()
		status.Audit = &trail
	}
	header, err := s.store.Header(ctx)
	if err != nil {
		return status, err
	}
	if status.Rotations, err = s.Rotations(ctx); err != nil {
		return status, err
	}
	status.StoreID, status.Revision = header.StoreID, header.Revision
	return status, nil
}

// Health asks every token and the store whether they answer, and the audit trail whether it can be
// written.
func (s *Service) Health(ctx context.Context) error {
	if err := s.auditHealth(); err != nil {
		return err
	}
	if err := s.domain.Health(ctx); err != nil {
		return err
	}
	_, err := s.store.Header(ctx)
	return err
}
