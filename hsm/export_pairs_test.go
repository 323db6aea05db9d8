package hsm

import (
	"testing"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// handleOf gives the cached handle of m for one use, and a session of the lane.
func handleOf(t testing.TB, d *Domain, m *kms.Material, u use, l lane) (*session, object, func()) {
	t.Helper()
	c, err := d.members()[0].token.current()
	if err != nil {
		t.Fatal(err)
	}
	e := d.members()[0].on(c).cache.entries[handleKey{material: m.ID, use: u}]
	if e == nil {
		t.Fatal("the key is not cached")
	}
	s := <-c.lanes[l]
	return s, e.handle, func() { c.lanes[l] <- s }
}

// RawSign signs a digest n times as Sign does in the end.
func RawSign(b *testing.B, d *Domain, m *kms.Material, algorithm kms.SigningAlgorithmSpec, digest []byte) {
	b.Helper()
	g, err := signingOf(algorithm)
	if err != nil {
		b.Fatal(err)
	}
	s, key, done := handleOf(b, d, m, useSign, laneLong)
	defer done()
	for b.Loop() {
		if _, err := s.sign(g.mechanism, g.parameters(), key, digest); err != nil {
			b.Fatal(err)
		}
	}
}

// RawMAC is RawSign for HMAC-SHA-256.
func RawMAC(b *testing.B, d *Domain, m *kms.Material, message []byte) {
	b.Helper()
	s, key, done := handleOf(b, d, m, useSign, laneShort)
	defer done()
	for b.Loop() {
		if _, err := s.sign(pkcs11.CKM_SHA256_HMAC, nil, key, message); err != nil {
			b.Fatal(err)
		}
	}
}

// URIOf names the first token of d.
func URIOf(d *Domain) URI { return d.members()[0].token.config.URI }

// KeySpecRows are the key specs that have a row.
func KeySpecRows() []kms.KeySpec {
	var specs []kms.KeySpec
	for _, k := range keySpecs {
		specs = append(specs, k.spec)
	}
	return specs
}

// PairsReady is the number of data key pairs that wait in the first token.
func PairsReady(t testing.TB, d *Domain) int {
	t.Helper()
	c, err := d.members()[0].token.current()
	if err != nil {
		t.Fatal(err)
	}
	p := d.members()[0].on(c).pairs
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, ready := range p.ready {
		if len(ready) > p.bound {
			t.Errorf("%d pairs of one size, bound %d", len(ready), p.bound)
		}
		n += len(ready)
	}
	return n
}

// ImportPairsReady is the number of import pairs that wait.
func ImportPairsReady(t testing.TB, d *Domain) int {
	t.Helper()
	c, err := d.members()[0].token.current()
	if err != nil {
		t.Fatal(err)
	}
	p := d.members()[0].on(c).imports
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, ready := range p.ready {
		n += len(ready)
	}
	return n
}
