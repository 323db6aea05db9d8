package ops

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// The rotation of a domain's keys is work of the running server: docs/domain-rotation.md. How far it is
// stands in the store's header (kms.DomainRotation), so after an end at any point it goes on where it was:
//
//	making      only this process knows the tokens; an interruption ends the rotation, nothing was changed
//	wrapping    passes over the store, until one finds nothing more to do
//	waiting     until what was handed out before has expired; a due entry reminds of it
//	destroying  the old keys are out of the header, and are being destroyed in the tokens

const (
	// oldKeysServe is how long old keys stay after nothing in the store needs them any more: import tokens
	// are good for 24 hours, session tokens for 12. The minutes are for requests that were under way.
	oldKeysServe = 24*time.Hour + 5*time.Minute
	// rekeyBatch is how many records are read at a time, and written in one transaction at most. Other
	// writers wait for a transaction: its cost is a MAC for each record.
	rekeyBatch = 32
	// rotationRetry is the pause after a step that failed.
	rotationRetry = 10 * time.Second
)

// A RotationRequest asks for new keys of a domain.
type RotationRequest struct {
	Region string `json:"region,omitempty"` // one with tokens of its own; empty: the store's domain
	// Tokens are the URIs of all tokens that are to hold the domain; empty: those that do.
	Tokens []string `json:"tokens,omitempty"`
	// Fingerprints are those that were confirmed of tokens that join.
	Fingerprints []string `json:"fingerprints,omitempty"`
}

// A RotationPlan is what a request would do.
type RotationPlan struct {
	Domain  string         `json:"domain"`
	Staying []string       `json:"staying"`
	Joining []JoiningToken `json:"joining,omitempty"`
	Leaving []string       `json:"leaving,omitempty"`
}

// A JoiningToken is a token that is to join a domain.
type JoiningToken struct {
	URI         string `json:"uri"`
	Fingerprint string `json:"fingerprint"`
}

// ErrRotation: a rotation cannot begin. The text says why.
var ErrRotation = errors.New("the domain's keys are not rotated")

func rotationError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRotation}, args...)...)
}

// planned is a plan with its tokens.
type planned struct {
	RotationPlan
	domain  *hsm.Domain
	tokens  []*hsm.Token
	leaving []*hsm.Token
	joining []*hsm.Token
}

// domainFor is the domain that a Region of a request stands for.
func (s *Service) domainFor(region string) (*hsm.Domain, error) {
	if region == "" {
		return s.domain, nil
	}
	if !s.HasTokens(region) {
		return nil, rotationError("Region %s has no tokens of its own", region)
	}
	return s.domainIn(region)
}

// plan finds or opens the tokens of a request and says what it would do.
func (s *Service) plan(ctx context.Context, r RotationRequest) (*planned, error) {
	d, err := s.domainFor(r.Region)
	if err != nil {
		return nil, err
	}
	p := &planned{RotationPlan: RotationPlan{Domain: d.ID()}, domain: d}
	holders := d.Holders()
	uris := r.Tokens
	if len(uris) == 0 {
		for _, t := range holders {
			uris = append(uris, t.URI().String())
		}
	}
	for _, text := range uris {
		if err := s.planToken(ctx, p, holders, text); err != nil {
			return nil, err
		}
	}
	for _, t := range holders {
		if !slices.Contains(p.tokens, t) {
			p.leaving = append(p.leaving, t)
			p.Leaving = append(p.Leaving, t.URI().String())
		}
	}
	if len(p.Staying) == 0 {
		return nil, rotationError("a token that holds the domain now has to stay, to bring its keys over: add the new tokens first, and take the old ones out in a second rotation")
	}
	return p, s.keepResidents(ctx, p)
}

func (s *Service) planToken(ctx context.Context, p *planned, holders []*hsm.Token, text string) error {
	uri, err := hsm.ParseURI(text)
	if err != nil {
		return rotationError("%w", err)
	}
	canonical := uri.String()
	i := slices.IndexFunc(holders, func(t *hsm.Token) bool { return t.URI().String() == canonical })
	if i >= 0 {
		if slices.Contains(p.tokens, holders[i]) {
			return rotationError("%s is named twice", canonical)
		}
		p.tokens, p.Staying = append(p.tokens, holders[i]), append(p.Staying, canonical)
		return nil
	}
	if uri.PINSource == "" {
		return rotationError("%s has no pin-source: the server has to find the PIN again after a restart", canonical)
	}
	if s.rotations.openToken == nil {
		return rotationError("this server opens no further tokens")
	}
	t, err := s.rotations.openToken(ctx, canonical)
	if err != nil {
		return rotationError("%w", err)
	}
	for _, other := range append(slices.Clone(holders), p.joining...) {
		same, err := sameToken(ctx, t, other)
		if err != nil {
			return err
		}
		if same {
			return rotationError("%s and %s are one token: write it as the configuration does", canonical, other.URI())
		}
	}
	fingerprint, err := hsm.Fingerprint(ctx, t)
	if err != nil {
		return rotationError("%w", err)
	}
	p.tokens, p.joining = append(p.tokens, t), append(p.joining, t)
	p.Joining = append(p.Joining, JoiningToken{URI: canonical, Fingerprint: fingerprint})
	return nil
}

// sameToken says whether two URIs lead to one token.
func sameToken(ctx context.Context, a, b *hsm.Token) (bool, error) {
	if a == b {
		return true, nil
	}
	one, err := a.Info(ctx)
	if err != nil {
		return false, err
	}
	other, err := b.Info(ctx)
	if errors.Is(err, hsm.ErrTokenDown) {
		return false, nil // it cannot be asked
	}
	return one.Serial == other.Serial && one.Token == other.Token && one.Manufacturer == other.Manufacturer, err
}

// keepResidents refuses to take out a token that has keys which cannot leave it.
func (s *Service) keepResidents(ctx context.Context, p *planned) error {
	if len(p.Leaving) == 0 {
		return nil
	}
	named, err := s.residents(ctx, p.domain)
	if err != nil || len(named) == 0 {
		return err
	}
	for _, t := range p.tokens {
		if slices.Contains(p.joining, t) {
			continue
		}
		there, err := hsm.DomainObjects(ctx, t, p.Domain)
		if err != nil {
			return err
		}
		for _, o := range there {
			delete(named, o.ID)
		}
	}
	if len(named) == 0 {
		return nil
	}
	var keys []string
	for _, key := range named {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return rotationError("keys that cannot leave their token are in one that would be taken out, or in none that is there: %s; delete them first, or keep the token", firstOf(slices.Compact(keys)))
}

// firstOf names the first of many.
func firstOf(names []string) string {
	const most = 10
	text := ""
	for i, name := range names {
		if i == most {
			return fmt.Sprintf("%s and %d more", text, len(names)-most)
		}
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return text
}

// residents are the resident keys of a domain that records name: their CKA_ID in hexadecimal digits, and the key id.
func (s *Service) residents(ctx context.Context, d *hsm.Domain) (map[string]string, error) {
	named := map[string]string{}
	err := s.store.Secrets(ctx, func(secrets keystore.Secrets) {
		for _, m := range secrets.Materials {
			// The objects of custom key stores have names of their own.
			if id := hex.EncodeToString(m.ObjectID); strings.HasPrefix(id, d.ID()) {
				named[id] = secrets.KeyID
			}
		}
	})
	return named, err
}

// isOf says whether a material is one of a domain.
func (s *Service) isOf(d *hsm.Domain, m *kms.Material) bool {
	return m.Domain == d.ID() || m.Domain == "" && d == s.domain
}

// PlanRotation says what a request would do, and gives the fingerprints to confirm.
func (s *Service) PlanRotation(ctx context.Context, r RotationRequest) (RotationPlan, error) {
	p, err := s.plan(ctx, r)
	if err != nil {
		return RotationPlan{}, err
	}
	return p.RotationPlan, nil
}

// RotateDomain begins a rotation. RunRotations does the rest; RotationStatus says how far it is.
func (s *Service) RotateDomain(ctx context.Context, r RotationRequest) (RotationPlan, error) {
	p, err := s.plan(ctx, r)
	if err != nil {
		return RotationPlan{}, err
	}
	fingerprints := map[*hsm.Token]string{}
	for i, t := range p.joining {
		shown := p.Joining[i]
		if !slices.ContainsFunc(r.Fingerprints, func(f string) bool { return hsm.SameFingerprint(f, shown.Fingerprint) }) {
			return p.RotationPlan, rotationError("confirm the fingerprint of %s: it is %s", shown.URI, shown.Fingerprint)
		}
		fingerprints[t] = shown.Fingerprint
	}
	rotation := &kms.DomainRotation{Phase: kms.RotationMaking, Started: s.now().UTC(), Leaving: p.Leaving}
	for _, j := range p.Joining {
		rotation.Joining = append(rotation.Joining, j.URI)
	}
	s.rotations.mu.Lock()
	_, busy := s.rotations.pending[p.Domain]
	if !busy {
		s.rotations.pending[p.Domain] = &pendingRotation{tokens: p.tokens, fingerprints: fingerprints}
		s.rotations.progress[p.Domain] = &RotationProgress{}
	}
	s.rotations.mu.Unlock()
	if busy {
		return RotationPlan{}, rotationError("a rotation of domain %s is under way", p.Domain)
	}
	_, err = s.describe(ctx, p.domain, nil, func(d *kms.Domain) error {
		if d.Rotation != nil {
			return rotationError("a rotation of domain %s is under way since %s, in the phase %q", d.ID, d.Rotation.Started.Format(time.RFC3339), d.Rotation.Phase)
		}
		rotation.Old = slices.Clone(d.Keys)
		d.Rotation = rotation
		return nil
	})
	if err != nil {
		s.dropPending(p.Domain)
		return RotationPlan{}, err
	}
	s.log.Info("a rotation of the domain's keys begins", "domain", p.Domain, "staying", p.Staying, "joining", rotation.Joining, "leaving", p.Leaving)
	s.rotations.notify()
	return p.RotationPlan, nil
}

func (s *Service) dropPending(domain string) {
	s.rotations.mu.Lock()
	defer s.rotations.mu.Unlock()
	delete(s.rotations.pending, domain)
}

// describe changes the description of a domain in the header, and has the domain follow. with writes what
// belongs to it in the same transaction.
func (s *Service) describe(ctx context.Context, d *hsm.Domain, with func(*keystore.Tx) error, change func(*kms.Domain) error) (kms.Domain, error) {
	var after kms.Domain
	err := s.store.Update(ctx, func(tx *keystore.Tx) error {
		header := tx.Header()
		var region *keystore.RegionDomain
		after = header.Domain
		if d != s.domain {
			if region = regionOf(&header, d.ID()); region == nil {
				return rotationError("the header does not name domain %s", d.ID())
			}
			after = region.Domain
		}
		after.Keys = slices.Clone(after.Keys)
		if after.Rotation != nil {
			r := *after.Rotation
			after.Rotation = &r
		}
		if err := change(&after); err != nil {
			return err
		}
		if with != nil {
			if err := with(tx); err != nil {
				return err
			}
		}
		if region == nil {
			return tx.SetDomain(after)
		}
		return tx.PutRegionDomain(keystore.RegionDomain{Region: region.Region, Created: region.Created, Domain: after})
	})
	if err != nil {
		return after, err
	}
	d.Follow(after)
	return after, nil
}

func regionOf(h *keystore.Header, domain string) *keystore.RegionDomain {
	for i := range h.Regions {
		if h.Regions[i].Domain.ID == domain {
			return &h.Regions[i]
		}
	}
	return nil
}

// described is what the header says of a domain.
func (s *Service) described(ctx context.Context, d *hsm.Domain) (kms.Domain, error) {
	header, err := s.store.Header(ctx)
	if err != nil {
		return kms.Domain{}, err
	}
	if d == s.domain {
		return header.Domain, nil
	}
	if region := regionOf(&header, d.ID()); region != nil {
		return region.Domain, nil
	}
	return kms.Domain{}, fmt.Errorf("the header does not name domain %s", d.ID())
}

// allDomains are the store's domain and those of Regions that are open.
func (s *Service) allDomains() []*hsm.Domain {
	all := []*hsm.Domain{s.domain}
	for _, d := range s.domains.Load().byID {
		if d != s.domain {
			all = append(all, d)
		}
	}
	return all
}
