package ops

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// A rotations is what this process knows of rotations beside the header.
type rotations struct {
	openToken func(ctx context.Context, uri string) (*hsm.Token, error)
	wake      chan struct{} // holds one

	mu       sync.Mutex
	pending  map[string]*pendingRotation  // by domain id: those in the phase "making"
	progress map[string]*RotationProgress // by domain id

	running map[string]*sync.Mutex // by domain id: held by who does a step
}

type pendingRotation struct {
	tokens       []*hsm.Token
	fingerprints map[*hsm.Token]string
	made         []kms.DomainKey // the new keys, once they are there
}

func newRotations(open func(context.Context, string) (*hsm.Token, error)) *rotations {
	return &rotations{
		openToken: open, wake: make(chan struct{}, 1),
		pending: map[string]*pendingRotation{}, progress: map[string]*RotationProgress{}, running: map[string]*sync.Mutex{},
	}
}

func (r *rotations) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// lock waits until nobody does a step of a domain's rotation.
func (r *rotations) lock(domain string) (unlock func()) {
	r.mu.Lock()
	m := r.running[domain]
	if m == nil {
		m = &sync.Mutex{}
		r.running[domain] = m
	}
	r.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// RotationProgress is how a rotation of this process goes.
type RotationProgress struct {
	Pass     int      `json:"pass,omitempty"`    // over the store, from 1
	Seen     int      `json:"seen,omitempty"`    // records of this pass
	Changed  int      `json:"changed,omitempty"` // of all passes
	Problem  string   `json:"problem,omitempty"` // why the last step failed
	Damaged  []string `json:"damaged,omitempty"` // records that were not written by the service: they hold the end up
	Finished bool     `json:"finished,omitempty"`
}

// note changes what is known of a domain's rotation.
func (r *rotations) note(domain string, change func(*RotationProgress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.progress[domain]
	if p == nil {
		p = &RotationProgress{}
		r.progress[domain] = p
	}
	change(p)
}

func (r *rotations) progressOf(domain string) RotationProgress {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.progress[domain]; p != nil {
		c := *p
		c.Damaged = slices.Clone(p.Damaged)
		return c
	}
	return RotationProgress{}
}

// RotationStatus is a domain whose keys are being rotated, or were since the start of this process.
type RotationStatus struct {
	Domain  string            `json:"domain"`
	Phase   kms.RotationPhase `json:"phase,omitempty"` // empty when it is over
	Started time.Time         `json:"started,omitzero"`
	Joining []string          `json:"joining,omitempty"`
	Leaving []string          `json:"leaving,omitempty"`
	Retire  time.Time         `json:"retire,omitzero"` // when the old keys are destroyed
	RotationProgress
}

// Rotations says how the rotations are that are under way, or were begun by this process.
func (s *Service) Rotations(ctx context.Context) ([]RotationStatus, error) {
	var all []RotationStatus
	for _, d := range s.allDomains() {
		description, err := s.described(ctx, d)
		if err != nil {
			return nil, err
		}
		status := RotationStatus{Domain: d.ID(), RotationProgress: s.rotations.progressOf(d.ID())}
		if r := description.Rotation; r != nil {
			status.Phase, status.Started, status.Joining, status.Leaving, status.Retire = r.Phase, r.Started, r.Joining, r.Leaving, r.Retire
		} else if !status.Finished && status.Problem == "" {
			continue
		}
		all = append(all, status)
	}
	return all, nil
}
