package ops

import "context"

// Status is what the service says of itself to its administrator.
type Status struct {
	Domain   string `json:"domain"`
	StoreID  string `json:"storeId"`
	Revision uint64 `json:"revision"`
	Account  string `json:"account"`
	Region   string `json:"region"`
}

// Status reads the store's header and names what the service serves.
func (s *Service) Status(ctx context.Context) (Status, error) {
	header, err := s.store.Header(ctx)
	if err != nil {
		return Status{}, err
	}
	return Status{
		Domain:   header.Domain.ID,
		StoreID:  header.StoreID,
		Revision: header.Revision,
		Account:  s.account,
		Region:   s.region,
	}, nil
}

// Health asks every token and the store whether they answer.
func (s *Service) Health(ctx context.Context) error {
	if err := s.domain.Health(ctx); err != nil {
		return err
	}
	_, err := s.store.Header(ctx)
	return err
}
