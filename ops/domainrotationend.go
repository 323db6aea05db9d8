package ops

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func (s *Service) retirement(d *hsm.Domain, at time.Time) *keystore.DueRecord {
	return &keystore.DueRecord{
		Due: at, Action: keystore.DueRetireDomainKeys,
		Partition: s.partition(), Account: s.account, Region: s.region, KeyID: d.ID(),
	}
}

// retireDomainKeys takes the old keys out of a domain when their time has come and nothing needs them, and
// destroys them.
func (s *Service) retireDomainKeys(ctx context.Context, entry *keystore.DueRecord, now time.Time) error {
	d := s.domainByID(entry.KeyID)
	if d == nil {
		return fmt.Errorf("%w: the tokens of domain %s are not there", hsm.ErrTokenDown, entry.KeyID)
	}
	err := s.retireKeys(ctx, d, now)
	if err != nil {
		s.rotations.note(d.ID(), func(p *RotationProgress) { p.Problem = err.Error() })
		return err
	}
	return s.store.Update(ctx, func(tx *keystore.Tx) error { return dropDue(tx, entry) })
}

func (s *Service) retireKeys(ctx context.Context, d *hsm.Domain, now time.Time) error {
	defer s.rotations.lock(d.ID())()
	description, err := s.described(ctx, d)
	if err != nil {
		return err
	}
	r := description.Rotation
	if r != nil && r.Phase == kms.RotationWaiting && !r.Retire.After(now) {
		// A request that was under way when the keys changed may have written something late.
		if err := s.settle(ctx, d); err != nil {
			return err
		}
		if err := s.filesNeed(d, r); err != nil {
			return err
		}
		description, err = s.describe(ctx, d, nil, func(after *kms.Domain) error {
			after.Rotation.Phase = kms.RotationDestroying
			after.Keys = slices.DeleteFunc(after.Keys, func(k kms.DomainKey) bool { return after.Rotation.Retires(k.Role, k.Version) })
			return nil
		})
		if err != nil {
			return err
		}
		r = description.Rotation
	}
	if r != nil && r.Phase == kms.RotationDestroying {
		return s.destroyKeys(ctx, d, description)
	}
	return nil
}

// filesNeed says which access keys of the identities directory are still sealed by an old sealing key.
func (s *Service) filesNeed(d *hsm.Domain, r *kms.DomainRotation) error {
	if d != s.domain {
		return nil
	}
	var needed []string
	for id, key := range s.files.Load().keys {
		if key.sealedBy != 0 && r.Retires(kms.RoleSeal, key.sealedBy) {
			needed = append(needed, id)
		}
	}
	if len(needed) == 0 {
		return nil
	}
	slices.Sort(needed)
	return fmt.Errorf("secrets in the identities directory are sealed by the old sealing key, which is kept until they are sealed anew (kms11 iam seal): %s", firstOf(needed))
}

// destroyKeys destroys the old keys in every token that had them, and ends the rotation.
func (s *Service) destroyKeys(ctx context.Context, d *hsm.Domain, description kms.Domain) error {
	leaving, err := s.leavingTokens(ctx, d, description.Rotation)
	if err != nil {
		return err
	}
	if err := d.Drop(ctx, description); err != nil {
		return err
	}
	for _, t := range append(leaving, d.Holders()...) {
		if err := d.Erase(ctx, t, description.Rotation.Old); err != nil {
			return err
		}
	}
	_, err = s.describe(ctx, d, nil, func(after *kms.Domain) error {
		after.Rotation = nil
		return nil
	})
	if err != nil {
		return err
	}
	s.rotations.note(d.ID(), func(p *RotationProgress) { p.Finished, p.Problem = true, "" })
	s.log.Info("the domain's old keys are destroyed", "domain", d.ID())
	return nil
}

// leavingTokens are the tokens that leave a domain, open.
func (s *Service) leavingTokens(ctx context.Context, d *hsm.Domain, r *kms.DomainRotation) ([]*hsm.Token, error) {
	var tokens []*hsm.Token
	for _, uri := range r.Leaving {
		holders := d.Holders()
		if i := slices.IndexFunc(holders, func(t *hsm.Token) bool { return t.URI().String() == uri }); i >= 0 {
			tokens = append(tokens, holders[i])
			continue
		}
		if s.rotations.openToken == nil {
			return nil, fmt.Errorf("%w: %s, whose old keys are to be destroyed", hsm.ErrTokenDown, uri)
		}
		t, err := s.rotations.openToken(ctx, uri)
		if err != nil {
			return nil, fmt.Errorf("the old keys are still in a token that was taken out: %w", err)
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}

// AbandonTokens ends a rotation that waits only for tokens which were taken out and are lost: their old keys
// stay in them.
func (s *Service) AbandonTokens(ctx context.Context, region string) error {
	d, err := s.domainFor(region)
	if err != nil {
		return err
	}
	_, err = s.describe(ctx, d, nil, func(after *kms.Domain) error {
		if after.Rotation == nil || after.Rotation.Phase != kms.RotationDestroying || len(after.Rotation.Leaving) == 0 {
			return rotationError("no rotation waits for a token that was taken out")
		}
		after.Rotation.Leaving = nil
		return nil
	})
	if err == nil {
		s.log.Warn("old keys are left in tokens that were taken out of the domain", "domain", d.ID())
		s.rotations.notify()
	}
	return err
}
