package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// RunRotations does what the rotations of domains call for until ctx ends, beginning with those that an
// earlier process left. It is for one goroutine of one node of a store; requests are served meanwhile.
func (s *Service) RunRotations(ctx context.Context) {
	for _, d := range s.allDomains() {
		if now, err := s.described(ctx, d); err == nil && now.Rotation != nil {
			s.log.Info("a rotation of the domain's keys goes on", "domain", d.ID(), "phase", string(now.Rotation.Phase))
		}
	}
	for {
		failed := false
		for _, d := range s.allDomains() {
			if err := s.advanceRotation(ctx, d); err != nil && ctx.Err() == nil {
				failed = true
				s.log.Error("a rotation of the domain's keys does not get on and will be tried again", "domain", d.ID(), "error", err)
				s.rotations.note(d.ID(), func(p *RotationProgress) { p.Problem = err.Error() })
			}
		}
		var again <-chan time.Time
		if failed {
			again = time.After(rotationRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.rotations.wake:
		case <-again:
		}
	}
}

// advanceRotation does what is to be done for a domain now.
func (s *Service) advanceRotation(ctx context.Context, d *hsm.Domain) error {
	defer s.rotations.lock(d.ID())()
	for {
		description, err := s.described(ctx, d)
		if err != nil {
			return err
		}
		if description.Rotation == nil {
			return nil
		}
		d.Follow(description)
		switch description.Rotation.Phase {
		case kms.RotationMaking:
			err = s.makeKeys(ctx, d)
		case kms.RotationWrapping:
			err = s.wrapAnew(ctx, d)
		case kms.RotationWaiting:
			return nil
		case kms.RotationDestroying:
			err = s.destroyKeys(ctx, d, description)
		default:
			err = fmt.Errorf("unknown phase %q", description.Rotation.Phase)
		}
		if err != nil {
			return err
		}
	}
}

// makeKeys makes the new keys and has everything new made by them. If that fails, or was interrupted, the
// rotation ends: nothing was changed by then.
func (s *Service) makeKeys(ctx context.Context, d *hsm.Domain) error {
	s.rotations.mu.Lock()
	pending := s.rotations.pending[d.ID()]
	s.rotations.mu.Unlock()
	err := errors.New("it was interrupted before the new keys were there: begin it again")
	if pending != nil {
		err = s.tryMakeKeys(ctx, d, pending)
	}
	if err == nil {
		s.dropPending(d.ID())
		return nil
	}
	if now, e := s.described(ctx, d); e != nil || now.Rotation == nil || now.Rotation.Phase != kms.RotationMaking {
		return errors.Join(err, e) // the header may have been written after all
	}
	clean := context.WithoutCancel(ctx)
	description, e := s.describe(clean, d, nil, func(after *kms.Domain) error {
		after.Rotation = nil
		return nil
	})
	if e != nil {
		return errors.Join(err, e)
	}
	s.dropPending(d.ID())
	if pending != nil && pending.made != nil {
		err = errors.Join(err, d.Drop(clean, description))
		for _, t := range pending.tokens {
			err = errors.Join(err, d.Erase(clean, t, pending.made))
		}
	}
	s.log.Error("the rotation of the domain's keys was given up; nothing was changed", "domain", d.ID(), "error", err)
	s.rotations.note(d.ID(), func(p *RotationProgress) { p.Problem = "given up, nothing was changed: " + err.Error() })
	return nil
}

func (s *Service) tryMakeKeys(ctx context.Context, d *hsm.Domain, pending *pendingRotation) error {
	if err := s.fitting(ctx, d, pending); err != nil {
		return err
	}
	renewed, err := d.Renew(ctx, hsm.Renewal{Tokens: pending.tokens, Fingerprints: pending.fingerprints})
	if err != nil {
		return err
	}
	pending.made = renewed.Keys[len(d.Describe().Keys):]
	renewed.Rotation.Phase = kms.RotationWrapping
	if err := d.Introduce(ctx, pending.tokens, renewed); err != nil {
		return err
	}
	_, err = s.describe(ctx, d, nil, func(after *kms.Domain) error {
		after.Keys, after.Rotation = renewed.Keys, renewed.Rotation
		return nil
	})
	if err != nil {
		return err
	}
	d.Switch()
	s.log.Info("the domain has new keys", "domain", d.ID())
	return nil
}

// fitting wants the tokens that join to do all that the domain's keys need.
func (s *Service) fitting(ctx context.Context, d *hsm.Domain, pending *pendingRotation) error {
	if len(pending.fingerprints) == 0 {
		return nil
	}
	var specs []kms.KeySpec
	var schemes []kms.DerivationScheme
	err := s.store.Secrets(ctx, func(secrets keystore.Secrets) {
		for _, m := range secrets.Materials {
			if !s.isOf(d, m) || secrets.Spec == "" {
				continue
			}
			if !slices.Contains(specs, secrets.Spec) {
				specs = append(specs, secrets.Spec)
			}
			if m.Scheme != "" && !slices.Contains(schemes, m.Scheme) {
				schemes = append(schemes, m.Scheme)
			}
		}
	})
	if err != nil {
		return err
	}
	for t := range pending.fingerprints {
		if err := d.Fits(ctx, t, specs, schemes); err != nil {
			return err
		}
	}
	return nil
}

// wrapAnew brings everything in the store to the new keys.
func (s *Service) wrapAnew(ctx context.Context, d *hsm.Domain) error {
	d.Switch()
	if err := s.renewTransferKey(ctx, d); err != nil {
		return err
	}
	if err := s.settle(ctx, d); err != nil {
		return err
	}
	s.rotations.note(d.ID(), func(p *RotationProgress) { p.Problem = "" })
	retire := s.now().UTC().Add(oldKeysServe)
	_, err := s.describe(ctx, d, func(tx *keystore.Tx) error { return tx.PutDue(s.retirement(d, retire)) }, func(after *kms.Domain) error {
		after.Rotation.Phase, after.Rotation.Retire = kms.RotationWaiting, retire
		return nil
	})
	if err == nil {
		s.log.Info("the store needs the domain's old keys no more", "domain", d.ID(), "destroyed after", retire)
		s.wake()
	}
	return err
}

// renewTransferKey gives a domain that has a transfer key a new one.
func (s *Service) renewTransferKey(ctx context.Context, d *hsm.Domain) error {
	if err := d.RenewTransferKey(ctx); err != nil {
		return err
	}
	made := d.Describe().Transfer
	now, err := s.described(ctx, d)
	if err != nil || made == nil || now.Transfer != nil && now.Transfer.ID == made.ID {
		return err
	}
	_, err = s.describe(ctx, d, nil, func(after *kms.Domain) error {
		after.Transfer = made
		return nil
	})
	return err
}

// settle goes over the store until a whole pass finds nothing that needs the old keys. A record that is
// not the service's own keeps it from ending: whoever repairs it may need them.
func (s *Service) settle(ctx context.Context, d *hsm.Domain) error {
	for pass := 1; ; pass++ {
		changed, missed := 0, 0
		var damaged []string
		s.rotations.note(d.ID(), func(p *RotationProgress) { p.Pass, p.Seen, p.Damaged = pass, 0, nil })
		for after := ""; ; {
			step, err := s.store.Rekey(ctx, after, rekeyBatch, func(ctx context.Context, secrets keystore.Secrets) (bool, error) {
				return s.bring(ctx, d, secrets)
			})
			if err != nil {
				return err
			}
			changed, missed, damaged = changed+step.Changed, missed+step.Missed, append(damaged, step.Damaged...)
			s.rotations.note(d.ID(), func(p *RotationProgress) {
				p.Seen += step.Seen
				p.Changed += step.Changed
				p.Damaged = damaged
			})
			if after = step.Next; after == "" {
				break
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if changed+missed > 0 {
			continue
		}
		if len(damaged) > 0 {
			return fmt.Errorf("%w: %s: the old keys are kept until it is repaired", keystore.ErrTampered, firstOf(damaged))
		}
		return nil
	}
}

// bring brings the secrets of one record to the newest keys of a domain.
func (s *Service) bring(ctx context.Context, d *hsm.Domain, secrets keystore.Secrets) (changed bool, err error) {
	for _, m := range secrets.Materials {
		if len(m.Blob) == 0 || !s.isOf(d, m) || m.DomainKey == d.WrappingVersion() {
			continue
		}
		moved, err := d.Rewrap(ctx, secrets.Spec, secrets.KeyID, *m)
		if err != nil {
			return false, err
		}
		*m, changed = moved, true
	}
	if d != s.domain {
		return changed, nil // the store's own domain seals what is stored
	}
	for _, sealed := range secrets.Sealed {
		if hsm.SealVersion(*sealed.Value) == d.SealingVersion() {
			continue
		}
		purpose, known := sealedPurposes()[sealed.Kind]
		if !known {
			return false, fmt.Errorf("a sealed secret of unknown kind %q", sealed.Kind)
		}
		plain, err := d.Open(ctx, purpose(sealed.Of), *sealed.Value)
		if err != nil {
			return false, fmt.Errorf("%s %s: %w", sealed.Kind, sealed.Of, err)
		}
		again, err := d.Seal(ctx, purpose(sealed.Of), plain)
		clear(plain)
		if err != nil {
			return false, err
		}
		*sealed.Value, changed = again, true
	}
	return changed, nil
}

// sealedPurposes are what the sealed secrets of records were sealed for.
func sealedPurposes() map[keystore.SealedKind]func(of string) string {
	return map[keystore.SealedKind]func(string) string{
		keystore.SealedAccessKey:     sealPurpose,
		keystore.SealedXksCredential: xksSealPurpose,
		keystore.SealedStoreSecret:   secretPurpose,
		keystore.SealedStorePassword: passwordPurpose,
	}
}

func (s *Service) domainByID(id string) *hsm.Domain {
	for _, d := range s.allDomains() {
		if d.ID() == id {
			return d
		}
	}
	return nil
}
