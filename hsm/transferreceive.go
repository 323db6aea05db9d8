package hsm

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// A Reception is a pair in a token that waits for material of another domain, once. It belongs to one
// goroutine.
type Reception struct {
	domain *Domain
	loaded *loaded // the domain on the token that has the pair
	pair   enrolment
	offer  Offer
	used   bool
}

// errPairLost: a token was replaced, or lost a session, while its pair waited.
var errPairLost = errors.New("the pair that was to receive key material is gone with its session")

// CanReceive says why material of a spec with these schemes cannot come to the domain from another one:
// the error matches ErrUnsupported.
func (d *Domain) CanReceive(spec kms.KeySpec, materials ...kms.Material) error {
	k, err := rowOf(spec)
	if err != nil {
		return err
	}
	for _, m := range d.members() {
		a := m.token.abilities.Load()
		if a == nil {
			continue
		}
		if err := a.canReceive(k); err != nil {
			return err
		}
		for i := range materials {
			if err := a.derives(materials[i].Scheme); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *abilities) canReceive(k *keySpec) error {
	s := a.specs[k.spec]
	switch {
	case s.err != nil:
		return unsupported(string(k.spec), s.err)
	case s.resident:
		return fmt.Errorf("%w: wrapping of private keys of spec %s", ErrUnsupported, k.spec)
	}
	return nil
}

// Receive makes a pair for material of the domain with the id from. Close has to follow.
func (d *Domain) Receive(ctx context.Context, from string) (*Reception, error) {
	r := &Reception{domain: d, offer: Offer{From: from, To: d.ID()}}
	err := d.use(ctx, func(l *loaded) error {
		r.loaded, r.pair = l, enrolment{token: l.conn.token}
		return l.conn.do(ctx, laneLong, func(s *session) (err error) {
			if err = r.pair.begin(s); err != nil {
				return err
			}
			r.offer.PublicKey, err = enrolKind.spki(s, r.pair.public)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	for _, h := range enrolHashes {
		if r.pair.hashes[h.name] {
			r.offer.Hashes = append(r.offer.Hashes, h.name)
		}
	}
	if r.offer.Signature, err = d.signTransfer(ctx, r.offer.transcript()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Offer is what goes to the other domain.
func (r *Reception) Offer() Offer { return r.offer }

// Close destroys the pair.
func (r *Reception) Close() error {
	// The pair goes even if the request has ended.
	err := r.loaded.conn.do(context.Background(), laneLong, r.pair.end)
	if errors.Is(err, errStale) || classOf(err) == classHandleLost {
		return nil // it is gone with its session
	}
	return err
}

// Accept takes in what the other domain made for the offer, and gives it as material of this domain.
// from is the description of the other domain, from a place that is authenticated. What was not made
// for this offer by that domain is refused.
func (r *Reception) Accept(ctx context.Context, from kms.Domain, c Consignment) ([]kms.Material, error) {
	if r.used {
		return nil, errors.New("a pair receives key material once")
	}
	r.used = true
	if c.From != r.offer.From || c.To != r.offer.To || c.From != from.ID || !bytes.Equal(c.PublicKey, r.offer.PublicKey) {
		return nil, fmt.Errorf("%w: the consignment is not one for this offer", errTransfer)
	}
	if err := verifyTransfer(from, c.transcript(), c.Signature); err != nil {
		return nil, err
	}
	k, err := rowOf(c.Spec)
	if err != nil {
		return nil, err
	}
	var moved []kms.Material
	err = r.loaded.member.use(ctx, func(l *loaded) error {
		if l != r.loaded {
			return errPairLost
		}
		if err := l.abilities.canReceive(k); err != nil {
			return err
		}
		return l.conn.do(ctx, laneLong, func(s *session) (err error) {
			moved, err = (&receiving{session: s, loaded: l, row: k, consignment: &c}).run(&r.pair)
			return err
		})
	})
	return moved, err
}

// A receiving is the receiving token's part of a transfer, in one session.
type receiving struct {
	*session
	loaded      *loaded
	row         *keySpec
	consignment *Consignment
	transport   object
}

func (d *receiving) run(pair *enrolment) (moved []kms.Material, err error) {
	if err := d.unwrapTransport(pair); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.destroyObject(d.transport)) }()
	for i := range d.consignment.Items {
		m, err := d.accept(&d.consignment.Items[i])
		if err != nil {
			return nil, err
		}
		moved = append(moved, m)
	}
	return moved, nil
}

func (d *receiving) unwrapTransport(pair *enrolment) error {
	for _, h := range enrolHashes {
		if h.name != d.consignment.Hash || !pair.hashes[h.name] {
			continue
		}
		o, err := d.unwrapKey(pkcs11.CKM_RSA_PKCS_OAEP, h.oaep(), pair.private, d.consignment.Transport, ephemeralKind.template(inUse))
		if classOf(err) == classHandleLost {
			return errPairLost
		}
		if err == nil {
			d.transport, err = d.harden(o)
		}
		return err
	}
	return fmt.Errorf("%w: the consignment names the hash %q", errTransfer, d.consignment.Hash)
}

// accept wraps one material under the newest domain key, and makes sure that what is going to be stored
// is what was sent.
func (d *receiving) accept(item *ConsignedItem) (kms.Material, error) {
	description := d.loaded.member.domain.description()
	sent := &item.Material
	if err := d.loaded.abilities.derives(sent.Scheme); err != nil {
		return kms.Material{}, err
	}
	mech, err := d.loaded.wraps.mechanism(sent.Wrap)
	if err != nil {
		return kms.Material{}, err
	}
	template, err := passing(d.row, sent.Scheme)
	if err != nil {
		return kms.Material{}, err
	}
	m := *sent
	m.Domain, m.DomainKey = description.ID, d.loaded.member.domain.newest(kms.RoleWrap)
	key, err := d.loaded.key(kms.RoleWrap, m.DomainKey)
	if err != nil {
		return kms.Material{}, err
	}
	o, err := d.unwrapKey(mech, nil, d.transport, sent.Blob, template)
	if err != nil {
		return kms.Material{}, err
	}
	if m.Wrap, m.Blob, err = d.rewrap(d.loaded.wraps, key.object, o, d.row, m.Length); err != nil {
		return kms.Material{}, err
	}
	if mech, err = d.loaded.wraps.mechanism(m.Wrap); err != nil {
		return kms.Material{}, err
	}
	return m, d.same(&m, item.Check, func(template []*attribute) (object, error) {
		return d.unwrapKey(mech, nil, key.object, m.Blob, template)
	})
}

// same wants a secret key to give the answer that the sending token gave with it, and a private key to
// sign what its public half verifies. put makes an object of what is going to be stored.
func (d *receiving) same(m *kms.Material, check []byte, put func([]*attribute) (object, error)) error {
	if d.row.pair == nil {
		got, err := d.checkOf(d.row, d.consignment.KeyID, m.ID, put)
		if err == nil && !hmac.Equal(got, check) {
			err = fmt.Errorf("%w: the receiving token holds another key", errTransfer)
		}
		return err
	}
	spec, _ := kms.SpecOf(d.row.spec)
	if _, signs := spec.Use(kms.KeyUsageTypeSignVerify); !signs {
		return nil // the key wrap's own check has to do
	}
	o, err := put(privateTemplate(d.row.pair, inUse, useSign))
	if err != nil {
		return err
	}
	if o, err = d.hardenPrivate(d.row.pair, o, useSign); err != nil {
		return err
	}
	err = (&importing{session: d.session, parcel: parcel{row: d.row}, loaded: d.loaded}).signs(o, m.PublicKey)
	if errors.Is(err, ErrBadMaterial) {
		err = fmt.Errorf("%w: the receiving token holds another key", errTransfer)
	}
	return errors.Join(err, d.destroyObject(o))
}
