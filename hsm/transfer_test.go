package hsm_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// related makes two domains that can transfer to each other, each on a fresh token of its own unless
// others are given.
func related(t testing.TB, tokens ...*hsm.Token) (from, to *hsm.Domain) {
	t.Helper()
	for len(tokens) < 2 {
		tokens = append(tokens, hsmtest.Token(t))
	}
	from, to = hsmtest.Domain(t, tokens[0]), hsmtest.Domain(t, tokens[1])
	for _, d := range []*hsm.Domain{from, to} {
		if err := d.MakeTransferKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Its private half is an object once it was used, and stays one.
		if _, err := hsm.SignTransfer(t.Context(), d, new(hsm.Consignment)); err != nil {
			t.Fatal(err)
		}
	}
	return from, to
}

func transfer(t testing.TB, from, to *hsm.Domain, spec kms.KeySpec, materials ...kms.Material) []kms.Material {
	t.Helper()
	moved, err := hsm.Transfer(t.Context(), from, to, hsm.TransferRequest{Spec: spec, KeyID: "mrk-1", Materials: materials})
	if err != nil {
		t.Fatal(err)
	}
	if len(moved) != len(materials) {
		t.Fatalf("%d materials became %d", len(materials), len(moved))
	}
	for i := range moved {
		was, is := materials[i], moved[i]
		if is.Domain != to.ID() || bytes.Equal(was.Blob, is.Blob) {
			t.Errorf("material %d is one of domain %s", i, is.Domain)
		}
		is.Domain, is.DomainKey, is.Wrap, is.Blob = was.Domain, was.DomainKey, was.Wrap, was.Blob
		if is.ID != was.ID || is.Ordinal != was.Ordinal || !is.Created.Equal(was.Created) || is.Scheme != was.Scheme ||
			is.Length != was.Length || !bytes.Equal(is.PublicKey, was.PublicKey) {
			t.Errorf("material %d is\n%+v, was\n%+v", i, is, was)
		}
	}
	return moved
}

// wantEmpty wants the tokens to hold what they held.
func wantEmpty(t *testing.T, before []int, tokens ...*hsm.Token) {
	t.Helper()
	for i, token := range tokens {
		if after := len(hsm.Objects(t, token)); after != before[i] {
			t.Errorf("token %d: %d objects before, %d after", i, before[i], after)
		}
	}
}

func objectsOf(t *testing.T, tokens ...*hsm.Token) (n []int) {
	t.Helper()
	for _, token := range tokens {
		n = append(n, len(hsm.Objects(t, token)))
	}
	return n
}

// TestTransferEncrypts sends many versions of a symmetric key, and wants each domain to open what the
// other sealed.
func TestTransferEncrypts(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC) // of which the transfer key is one
	tokens := []*hsm.Token{hsmtest.Token(t), hsmtest.Token(t)}
	from, to := related(t, tokens...)
	before := objectsOf(t, tokens...)
	var materials []kms.Material
	for i := range 26 {
		m := newKey(t, from)
		m.Ordinal, m.Created = uint32(i+1), time.Date(2026, 1, i+1, 0, 0, 0, 7, time.UTC)
		materials = append(materials, m)
	}
	moved := transfer(t, from, to, kms.KeySpecSymmetricDefault, materials...)
	wantEmpty(t, before, tokens...)
	for i := range moved {
		mustOpen(t, to, &moved[i], seal(t, from, &materials[i], "a", "text"), "a", "text")
		mustOpen(t, from, &materials[i], seal(t, to, &moved[i], "a", "back"), "a", "back")
	}
	// And back again, as when the primary Region moves.
	back := transfer(t, to, from, kms.KeySpecSymmetricDefault, moved[3])
	mustOpen(t, from, &back[0], seal(t, to, &moved[3], "a", "text"), "a", "text")
	// A blob is good in its own domain only.
	to.Forget(materials[0].ID)
	if _, err := to.Encrypt(t.Context(), &materials[0], nil, []byte("x")); !errors.Is(err, hsm.ErrWrongToken) {
		t.Errorf("material of another domain: %v", err)
	}
	nameless := materials[0]
	nameless.ID, nameless.Domain = "nameless", ""
	if _, err := to.Encrypt(t.Context(), &nameless, nil, []byte("x")); err == nil {
		t.Error("the domain key unwrapped what another domain's had wrapped")
	}
}

// TestTransferEverySpec sends a key of every spec and usage that the token wraps.
func TestTransferEverySpec(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC) // of which the transfer key is one
	tokens := []*hsm.Token{hsmtest.Token(t), hsmtest.Token(t)}
	from, to := related(t, tokens...)
	// One pair for all, which no program does, because a pair takes long to make.
	pair, err := to.Receive(t.Context(), from.ID())
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, spec := range kms.Specs() {
		for _, use := range spec.Uses {
			if spec.Family == kms.FamilySymmetric || !from.Supports(spec.KeySpec, algorithms(use)[0]) {
				continue
			}
			use.Signing = slices.DeleteFunc(slices.Clone(use.Signing), func(a kms.SigningAlgorithmSpec) bool {
				return a == kms.SigningAlgorithmSpecEd25519PhSha512 && !hsmtest.Has(hsmtest.Ed25519ph)
			})
			m, err := from.GenerateKey(t.Context(), hsm.KeyRequest{Spec: spec.KeySpec, Usage: use.Usage, KeyID: "mrk-1"})
			if err != nil {
				t.Fatal(err)
			}
			m.Ordinal = 1
			request := hsm.TransferRequest{Spec: spec.KeySpec, KeyID: "mrk-1", Materials: []kms.Material{m}}
			if len(m.ObjectID) > 0 {
				if _, err := hsm.Transfer(t.Context(), from, to, request); !errors.Is(err, hsm.ErrUnsupported) {
					t.Errorf("%s, which lives in its token: %v", spec.KeySpec, err)
				}
				continue
			}
			before := objectsOf(t, tokens...)
			consignment, err := from.Send(t.Context(), to.Describe(), pair.Offer(), request)
			if err != nil {
				t.Fatal(err)
			}
			moved, err := hsm.Again(pair).Accept(t.Context(), from.Describe(), consignment)
			if err != nil {
				t.Fatal(err)
			}
			wantEmpty(t, before, tokens...)
			useKey(t, to, &moved[0], spec.KeySpec, use)
			agreeOn(t, from, to, &m, &moved[0], spec.KeySpec, use)
			sent++
		}
	}
	if err := pair.Close(); err != nil {
		t.Error(err)
	}
	if sent < 15 {
		t.Errorf("%d kinds of keys were sent", sent)
	}
}

// agreeOn wants two domains to do the same with one key.
func agreeOn(t *testing.T, a, b *hsm.Domain, ofA, ofB *kms.Material, spec kms.KeySpec, use kms.Use) {
	t.Helper()
	in := hsm.SignInput{Message: []byte("m")}
	for _, algorithm := range use.Signing {
		signature, err := b.Sign(t.Context(), ofB, spec, algorithm, in)
		if err == nil {
			err = a.Verify(t.Context(), ofA, spec, algorithm, in, signature)
		}
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	for _, algorithm := range use.Encryption {
		c, err := a.EncryptRSA(t.Context(), ofA, spec, algorithm, []byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.DecryptRSA(t.Context(), ofB, spec, algorithm, c); err != nil || string(got) != "text" {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	for _, algorithm := range use.Mac {
		ours, err := a.GenerateMac(t.Context(), ofA, algorithm, []byte("m"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.VerifyMac(t.Context(), ofB, algorithm, []byte("m"), ours); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	if len(use.KeyAgreement) > 0 {
		ours, err := a.DeriveSharedSecret(t.Context(), ofA, spec, ofA.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if theirs, err := b.DeriveSharedSecret(t.Context(), ofB, spec, ofA.PublicKey); err != nil || !bytes.Equal(ours, theirs) {
			t.Errorf("the shared secrets differ: %v", err)
		}
	}
}

// TestTransferTampered changes each part of an offer and of a consignment on its way.
func TestTransferTampered(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC) // of which the transfer key is one
	tokens := []*hsm.Token{hsmtest.Token(t), hsmtest.Token(t)}
	from, to := related(t, tokens...)
	foe, _ := related(t)
	m, other := newKey(t, from), newKey(t, from)
	m.Ordinal, other.Ordinal = 1, 2
	request := hsm.TransferRequest{Spec: kms.KeySpecSymmetricDefault, KeyID: "mrk-1", Materials: []kms.Material{m, other}}
	before := objectsOf(t, tokens...)
	receive := func(d *hsm.Domain) *hsm.Reception {
		t.Helper()
		r, err := d.Receive(t.Context(), from.ID())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	waiting, foes := receive(to), receive(foe)

	for name, change := range map[string]func(*hsm.Offer){
		"a foe's pair":           func(o *hsm.Offer) { o.PublicKey = foes.Offer().PublicKey },
		"a foe's offer":          func(o *hsm.Offer) { *o = foes.Offer(); o.To = to.ID() },
		"a foe's signature":      func(o *hsm.Offer) { *o = foes.Offer(); o.Signature = waiting.Offer().Signature; o.To = to.ID() },
		"another hash":           func(o *hsm.Offer) { o.Hashes = []string{"MD5"} },
		"for another domain":     func(o *hsm.Offer) { o.From = foe.ID() },
		"of another domain":      func(o *hsm.Offer) { o.To = foe.ID() },
		"a signature cut short":  func(o *hsm.Offer) { o.Signature = o.Signature[:8] },
		"no signature":           func(o *hsm.Offer) { o.Signature = nil },
		"something else, signed": func(o *hsm.Offer) { o.PublicKey = append(o.PublicKey[:0:0], o.PublicKey[1:]...) },
	} {
		offer := waiting.Offer()
		change(&offer)
		if _, err := from.Send(t.Context(), to.Describe(), offer, request); !errors.Is(err, hsm.ErrTransfer) {
			t.Errorf("an offer with %s: %v", name, err)
		}
	}
	// Whoever can choose the description can choose the receiver, so it has to come from the header.
	if _, err := from.Send(t.Context(), foe.Describe(), waiting.Offer(), request); !errors.Is(err, hsm.ErrTransfer) {
		t.Errorf("an offer of another domain than described: %v", err)
	}

	sent, err := from.Send(t.Context(), to.Describe(), waiting.Offer(), request)
	if err != nil {
		t.Fatal(err)
	}
	byFoe, err := foe.Receive(t.Context(), foe.ID())
	if err != nil {
		t.Fatal(err)
	}
	foesKey := newKey(t, foe)
	foesSent, err := foe.Send(t.Context(), foe.Describe(), byFoe.Offer(), hsm.TransferRequest{Spec: request.Spec, KeyID: request.KeyID, Materials: []kms.Material{foesKey}})
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b }
	changes := map[string]func(*hsm.Consignment){
		"a foe's": func(c *hsm.Consignment) { *c = foesSent },
		"a foe's, relabelled": func(c *hsm.Consignment) {
			*c = foesSent
			c.From, c.To, c.PublicKey = sent.From, sent.To, sent.PublicKey
		},
		"another transport": func(c *hsm.Consignment) { c.Transport = flip(c.Transport) },
		"another hash": func(c *hsm.Consignment) {
			c.Hash = map[bool]string{true: "SHA-1", false: "SHA-256"}[c.Hash == "SHA-256"]
		},
		"another key id":    func(c *hsm.Consignment) { c.KeyID = "mrk-2" },
		"another spec":      func(c *hsm.Consignment) { c.Spec = kms.KeySpecHmac256 },
		"one material less": func(c *hsm.Consignment) { c.Items = c.Items[:1] },
		"materials swapped": func(c *hsm.Consignment) { c.Items[0], c.Items[1] = c.Items[1], c.Items[0] },
		"blobs swapped": func(c *hsm.Consignment) {
			a, b := &c.Items[0].Material, &c.Items[1].Material
			a.Blob, b.Blob = b.Blob, a.Blob
		},
		"another blob":    func(c *hsm.Consignment) { c.Items[0].Material.Blob = flip(c.Items[0].Material.Blob) },
		"another id":      func(c *hsm.Consignment) { c.Items[0].Material.ID = other.ID },
		"another ordinal": func(c *hsm.Consignment) { c.Items[0].Material.Ordinal++ },
		"another time":    func(c *hsm.Consignment) { c.Items[0].Material.Created = time.Now() },
		"another scheme": func(c *hsm.Consignment) {
			scheme := &c.Items[0].Material.Scheme
			*scheme = map[bool]kms.DerivationScheme{true: kms.DeriveECB, false: kms.DeriveNone}[*scheme == kms.DeriveNone]
		},
		"another wrap":         func(c *hsm.Consignment) { c.Items[0].Material.Wrap = kms.AESKeyWrapPad },
		"another length":       func(c *hsm.Consignment) { c.Items[0].Material.Length = 24 },
		"another public key":   func(c *hsm.Consignment) { c.Items[0].Material.PublicKey = []byte{1} },
		"another check":        func(c *hsm.Consignment) { c.Items[0].Check = flip(c.Items[0].Check) },
		"another offer's pair": func(c *hsm.Consignment) { c.PublicKey = foes.Offer().PublicKey },
		"another signature":    func(c *hsm.Consignment) { c.Signature = flip(c.Signature) },
	}
	for name, change := range changes {
		c := sent
		c.Items = slices.Clone(sent.Items)
		change(&c)
		r := hsm.Again(waiting)
		if _, err := r.Accept(t.Context(), from.Describe(), c); !errors.Is(err, hsm.ErrTransfer) {
			t.Errorf("a consignment with %s: %v", name, err)
		}
	}
	if _, err := hsm.Again(waiting).Accept(t.Context(), foe.Describe(), sent); !errors.Is(err, hsm.ErrTransfer) {
		t.Errorf("a consignment of another domain than described: %v", err)
	}
	// Untouched it is good, once.
	moved, err := waiting.Accept(t.Context(), from.Describe(), sent)
	if err != nil {
		t.Fatal(err)
	}
	mustOpen(t, to, &moved[0], seal(t, from, &m, "", "x"), "", "x")
	if _, err := waiting.Accept(t.Context(), from.Describe(), sent); err == nil {
		t.Error("a pair received twice")
	}
	for _, r := range []*hsm.Reception{waiting, foes, byFoe} {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	to.Forget(m.ID)
	from.Forget(m.ID)
	wantEmpty(t, before, tokens...)
}

// TestTransferLies has the sending side sign something else than it wrapped, which only the key itself
// can show.
func TestTransferLies(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC) // of which the transfer key is one
	from, to := related(t)
	secret, other := newKey(t, from), newKey(t, from)
	pair := newPair(t, from, kms.KeySpecEccNistP256, kms.KeyUsageTypeKeyAgreement)
	wrong := newPair(t, from, kms.KeySpecEccNistP256, kms.KeyUsageTypeKeyAgreement)
	for _, c := range []struct {
		spec  kms.KeySpec
		sent  kms.Material
		swap  func(*hsm.Consignment)
		names string
	}{
		{kms.KeySpecSymmetricDefault, secret, func(c *hsm.Consignment) { c.Items[0].Check = bytes.Repeat([]byte{1}, 32) }, "another check"},
		{kms.KeySpecSymmetricDefault, secret, func(c *hsm.Consignment) { c.Items[0].Material.ID = other.ID }, "another id"},
		{kms.KeySpecEccNistP256, pair, func(c *hsm.Consignment) { c.Items[0].Material.PublicKey = wrong.PublicKey }, "another public half"},
	} {
		r, err := to.Receive(t.Context(), from.ID())
		if err != nil {
			t.Fatal(err)
		}
		sent, err := from.Send(t.Context(), to.Describe(), r.Offer(), hsm.TransferRequest{Spec: c.spec, KeyID: "mrk-1", Materials: []kms.Material{c.sent}})
		if err != nil {
			t.Fatal(err)
		}
		c.swap(&sent)
		if sent.Signature, err = hsm.SignTransfer(t.Context(), from, &sent); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Accept(t.Context(), from.Describe(), sent); !errors.Is(err, hsm.ErrTransfer) {
			t.Errorf("%s: %v", c.names, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTransferFaults loses sessions and tokens in the middle.
func TestTransferFaults(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC) // of which the transfer key is one
	tokens := []*hsm.Token{hsmtest.Token(t), hsmtest.Token(t)}
	from, to := related(t, tokens...)
	m := newKey(t, from)
	request := hsm.TransferRequest{Spec: kms.KeySpecSymmetricDefault, KeyID: "mrk-1", Materials: []kms.Material{m}}
	// A token that lost every session has lost its login, and is down until it is back.
	settled := func() {
		for _, token := range tokens {
			if !hsm.Settled(t, token) {
				t.Fatal("a token did not come back")
			}
		}
	}
	again := func(name string) {
		t.Helper()
		moved, err := hsm.Transfer(t.Context(), from, to, request)
		if errors.Is(err, hsm.ErrTokenDown) {
			settled()
			moved = transfer(t, from, to, request.Spec, m)
		} else if err != nil {
			t.Fatal(err)
		}
		mustOpen(t, to, &moved[0], seal(t, from, &m, "a", name), "a", name)
	}
	for name, lose := range map[string]func(testing.TB, *hsm.Token){"long": hsm.LoseLong, "holder": hsm.LoseHolder, "all": hsm.LoseAll} {
		for _, token := range tokens {
			lose(t, token)
			again(name)
		}
		// The pair's session goes while it waits.
		r, err := to.Receive(t.Context(), from.ID())
		if err != nil {
			t.Fatal(err)
		}
		sent, err := from.Send(t.Context(), to.Describe(), r.Offer(), request)
		if err != nil {
			t.Fatal(err)
		}
		lose(t, tokens[1])
		if _, err = r.Accept(t.Context(), from.Describe(), sent); name != "holder" && err == nil {
			t.Errorf("%s: a pair outlived its session", name)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		settled()
	}
	again("after all")
	if !hsmtest.Has(hsmtest.GoneStorage) {
		return
	}
	hide(t, tokens[1])
	if err := to.Health(t.Context()); !errors.Is(err, hsm.ErrTokenDown) {
		t.Fatal(err)
	}
	if _, err := hsm.Transfer(t.Context(), from, to, request); !errors.Is(err, hsm.ErrTokenDown) {
		t.Errorf("to a token that is down: %v", err)
	}
	if _, err := hsm.Transfer(t.Context(), to, from, request); err == nil {
		t.Error("material came from a token that is down")
	}
}

// TestTransferRefusals: what cannot pass is refused before a pair is made.
func TestTransferRefusals(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC) // of which the transfer key is one
	from, to := hsmtest.Domain(t), hsmtest.Domain(t)
	m := newKey(t, from)
	request := hsm.TransferRequest{Spec: kms.KeySpecSymmetricDefault, KeyID: "mrk-1", Materials: []kms.Material{m}}
	if _, err := hsm.Transfer(t.Context(), from, to, request); err == nil {
		t.Error("domains without transfer keys trust each other")
	}
	for _, d := range []*hsm.Domain{from, to} {
		for range 2 { // the second time nothing is made
			if err := d.MakeTransferKey(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.Scheme = kms.DeriveSP800108
	request.Materials = []kms.Material{m}
	if _, err := hsm.Transfer(t.Context(), from, to, request); !hsmtest.Has(hsmtest.SP800108) && !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("a scheme that the token does not have: %v", err)
	}
	if err := to.CanReceive(kms.KeySpecEccNistEdwards25519); errors.Is(err, hsm.ErrUnsupported) != hsmtest.Has(hsmtest.Resident) {
		t.Errorf("a key that lives in its token: %v", err)
	}
	if err := to.CanReceive(kms.KeySpecSymmetricDefault, newKey(t, from)); err != nil {
		t.Error(err)
	}
	if moved, err := hsm.Transfer(t.Context(), from, to, hsm.TransferRequest{Spec: request.Spec}); err != nil || len(moved) != 0 {
		t.Errorf("nothing became %d materials: %v", len(moved), err)
	}
	direct, err := from.GenerateKey(t.Context(), hsm.KeyRequest{Spec: kms.KeySpecSymmetricDefault, Scheme: kms.DeriveNone})
	if err != nil || direct.Scheme != kms.DeriveNone {
		t.Fatalf("a scheme of its own: %s, %v", direct.Scheme, err)
	}
	moved := transfer(t, from, to, request.Spec, direct)
	mustOpen(t, to, &moved[0], seal(t, from, &direct, "", "x"), "", "x")
	if _, err := from.GenerateKey(t.Context(), hsm.KeyRequest{Spec: kms.KeySpecSymmetricDefault, Scheme: kms.DeriveSP800108}); errors.Is(err, hsm.ErrUnsupported) == hsmtest.Has(hsmtest.SP800108) {
		t.Errorf("a key of a scheme that the token does not have: %v", err)
	}
}
