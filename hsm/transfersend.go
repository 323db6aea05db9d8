package hsm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// enrolKind is the pair that receives a transport key.
var enrolKind = rsaKind{enrolBits}

// transportKind wraps materials in the sending token; in the receiving one it is an ephemeralKind.
var transportKind = secretKind{pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN, 32, useWrap}

// Send wraps material for the pair of an offer. to is the description of the domain that made it, from
// a place that is authenticated. The error matches ErrUnsupported for material that cannot leave its
// token, or if the tokens have no hash for RSA-OAEP in common.
func (d *Domain) Send(ctx context.Context, to kms.Domain, o Offer, r TransferRequest) (Consignment, error) {
	k, err := rowOf(r.Spec)
	if err != nil {
		return Consignment{}, err
	}
	if o.From != d.ID() || o.To != to.ID {
		return Consignment{}, fmt.Errorf("%w: the offer is one of domain %s to %s", errTransfer, o.To, o.From)
	}
	if err := verifyTransfer(to, o.transcript(), o.Signature); err != nil {
		return Consignment{}, err
	}
	for i := range r.Materials {
		m := &r.Materials[i]
		if err := d.owns(m); err != nil {
			return Consignment{}, err
		}
		if len(m.Blob) == 0 {
			return Consignment{}, fmt.Errorf("%w: transfer of a key that lives in its token", ErrUnsupported)
		}
	}
	var c Consignment
	err = d.use(ctx, func(l *loaded) error {
		c = Consignment{From: o.From, To: o.To, PublicKey: o.PublicKey, Spec: r.Spec, KeyID: r.KeyID}
		return l.conn.do(ctx, laneLong, func(s *session) error {
			return (&sending{session: s, loaded: l, row: k, consignment: &c}).run(o, r)
		})
	})
	if err != nil {
		return Consignment{}, err
	}
	c.Signature, err = d.signTransfer(ctx, c.transcript())
	return c, err
}

// A sending is the sending token's part of a transfer, in one session.
type sending struct {
	*session
	loaded      *loaded
	row         *keySpec
	consignment *Consignment
	transport   object
}

func (d *sending) run(o Offer, r TransferRequest) (err error) {
	c := d.consignment
	c.Hash, c.Transport, c.Items = "", nil, nil
	if d.transport, err = d.generateKey(transportKind.generate, transportKind.sized(leaving)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.destroyObject(d.transport)) }()
	if err := d.concealed(d.transport); err != nil {
		return err
	}
	if err := d.wrapTransport(o); err != nil {
		return err
	}
	for i := range r.Materials {
		item, err := d.consign(&r.Materials[i])
		if err != nil {
			return err
		}
		c.Items = append(c.Items, item)
	}
	return nil
}

// wrapTransport wraps the transport key to the offer's pair, by the best hash that both tokens have.
func (d *sending) wrapTransport(o Offer) (err error) {
	template, err := publicTemplate(enrolKind, useWrap, o.PublicKey, false)
	if err != nil {
		return err
	}
	public, err := d.createObject(template)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.destroyObject(public)) }()
	why := fmt.Errorf("%w: the tokens have no hash for RSA-OAEP in common", ErrUnsupported)
	for _, h := range enrolHashes {
		if !slices.Contains(o.Hashes, h.name) {
			continue
		}
		blob, err := d.wrapKey(pkcs11.CKM_RSA_PKCS_OAEP, h.oaep(), public, d.transport)
		if err == nil {
			d.consignment.Hash, d.consignment.Transport = h.name, blob
			return nil
		}
		if !declined(err) {
			return err
		}
		why = fmt.Errorf("%w: %v", why, err)
	}
	return why
}

// consign takes one material out from under the domain key and wraps it under the transport key. In
// between it is an object that may leave the token, and can do nothing.
func (d *sending) consign(m *kms.Material) (ConsignedItem, error) {
	key, err := d.loaded.key(kms.RoleWrap, m.DomainKey)
	if err != nil {
		return ConsignedItem{}, err
	}
	mech, err := d.loaded.wraps.mechanism(m.Wrap)
	if err != nil {
		return ConsignedItem{}, err
	}
	template, err := passing(d.row, m.Scheme)
	if err != nil {
		return ConsignedItem{}, err
	}
	item := ConsignedItem{Material: *m}
	item.Material.Domain, item.Material.DomainKey, item.Material.Blob = "", 0, nil
	o, err := d.unwrapKey(mech, nil, key.object, m.Blob, template)
	if err != nil {
		return ConsignedItem{}, err
	}
	item.Material.Wrap, item.Material.Blob, err = d.rewrap(d.loaded.wraps, d.transport, o, d.row, m.Length)
	if err == nil && d.row.pair == nil {
		item.Check, err = d.checkOf(d.row, d.consignment.KeyID, m.ID, func(template []*attribute) (object, error) {
			return d.unwrapKey(mech, nil, key.object, m.Blob, template)
		})
	}
	return item, err
}

// passing describes a key that is unwrapped only to be wrapped again.
func passing(k *keySpec, name kms.DerivationScheme) ([]*attribute, error) {
	if k.pair != nil {
		return privateTemplate(k.pair, leaving, 0), nil
	}
	var sc *scheme
	if k.derives {
		var err error
		if sc, err = schemeOf(name); err != nil {
			return nil, err
		}
	}
	kind := k.secret(sc)
	kind.use = 0
	return kind.template(leaving), nil
}

// rewrap wraps a passing key under another one, and destroys it. length is that of a secret key.
func (s *session) rewrap(w wraps, by, o object, k *keySpec, length int) (algorithm kms.WrapAlgorithm, blob []byte, err error) {
	defer func() { err = errors.Join(err, s.destroyObject(o)) }()
	if err := s.concealed(o); err != nil {
		return "", nil, err
	}
	if algorithm = kms.AESKeyWrapPad; k.pair == nil {
		if algorithm, err = w.choose(length); err != nil {
			return "", nil, err
		}
	}
	mech, err := w.mechanism(algorithm)
	if err != nil {
		return "", nil, err
	}
	blob, err = s.wrapKey(mech, nil, by, o)
	return algorithm, blob, err
}

// concealed makes sure that a key that may leave, wrapped, cannot be read. A token that ignored
// CKA_SENSITIVE in the template gets one C_SetAttributeValue.
func (s *session) concealed(o object) error {
	got, err := s.attributes(o, pkcs11.CKA_SENSITIVE)
	if err == nil && !isTrue(got[0]) {
		if err = s.setAttributes(o, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true)}); err == nil {
			got, err = s.attributes(o, pkcs11.CKA_SENSITIVE)
		}
	}
	if err != nil {
		return err
	}
	if !isTrue(got[0]) {
		return errors.New("the token holds a key that may leave with SENSITIVE=false")
	}
	return nil
}

// checkOf is the check of a secret key: its HMAC of the label and the ids of key and material, by the
// hash that goes with keys of its length. put makes the key as one that can sign and never leaves.
func (s *session) checkOf(k *keySpec, keyID, materialID string, put func([]*attribute) (object, error)) (check []byte, err error) {
	mech := uint(pkcs11.CKM_SHA256_HMAC)
	if a, ok := macOf(func(a *macAlgorithm) bool { return a.spec == k.spec }); ok {
		mech = a.mechanism
	}
	o, err := put(macKind.template(inUse))
	if err != nil {
		return nil, err
	}
	if o, err = s.harden(o); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.destroyObject(o)) }()
	input := newTranscript("check")
	input.addText(keyID, materialID)
	return s.sign(mech, nil, o, input)
}
