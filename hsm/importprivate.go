package hsm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/kms11/kms11/kms"
)

// private imports a private key. Whatever the way it came, the public half is worked out from what
// the token tells and signs, and a key whose parts do not belong together is refused.
func (i *importing) private() (kms.Material, error) {
	u, ok := i.row.useOf(i.request.Usage)
	if !ok {
		return kms.Material{}, badMaterial(i.row)
	}
	var components []*attribute
	var spki []byte
	if i.known != nil || i.loaded.abilities.outsideOnly(i.row, i.wrapping) || i.where.resting {
		if err := i.learn(); err != nil {
			return kms.Material{}, err
		}
		var err error
		if components, spki, err = i.row.pair.private(i.known); err != nil {
			return kms.Material{}, badMaterial(i.row)
		}
		defer wipe(i.row.pair, components)
	}
	if i.where.resting {
		return i.resident(u, components, spki)
	}
	put := i.put
	if components != nil {
		put = func(template []*attribute) (object, error) { return i.createObject(append(template, components...)) }
	}
	o, err := put(privateTemplate(i.row.pair, leaving, u))
	if err != nil {
		if components == nil {
			err = i.whyRefused(err)
		}
		return kms.Material{}, err
	}
	m := kms.Material{Domain: i.loaded.member.domain.description().ID, Wrap: kms.AESKeyWrapPad, DomainKey: i.version}
	if m.Blob, err = i.wrap(o, m.Wrap); err != nil {
		return kms.Material{}, err
	}
	if m.PublicKey, err = i.publicOf(&m, spki); err != nil {
		return kms.Material{}, err
	}
	m.ID = privateID(i.request.KeyID, m.PublicKey)
	return m, nil
}

// resident makes a private key that stays in the token. Its value is known.
func (i *importing) resident(u use, components []*attribute, spki []byte) (kms.Material, error) {
	if !i.parses(spki) {
		return kms.Material{}, badMaterial(i.row)
	}
	i.loaded.conn.resting.Lock()
	defer i.loaded.conn.resting.Unlock()
	// What an earlier run of this, cut short by a lost session, left behind.
	if _, err := i.removeResident(i.where.id); err != nil {
		return kms.Material{}, err
	}
	o, err := i.createObject(append(privateTemplate(i.row.pair, i.where, u), components...))
	if err != nil {
		return kms.Material{}, err
	}
	if o, err = i.hardenPrivate(i.row.pair, o, u); err != nil {
		return kms.Material{}, err
	}
	if u == useSign {
		if err := i.signs(o, spki); err != nil {
			return kms.Material{}, errors.Join(err, i.destroyObject(o))
		}
	}
	return kms.Material{Domain: i.loaded.member.domain.description().ID, ID: privateID(i.request.KeyID, spki), ObjectID: i.where.id, PublicKey: spki}, nil
}

// publicOf gives the public half of a wrapped private key. known is what was learnt of it, if
// anything was: no token tells the public half of an Ed25519 key that it unwrapped.
func (i *importing) publicOf(m *kms.Material, known []byte) (spki []byte, err error) {
	k := i.row.pair
	err = i.unwrapped(m, privateTemplate(k, inUse, useSign), func(signer object) error {
		ec, ok := k.(ecKind)
		if _, ed := k.(edKind); ed {
			spki = known
			return i.signs(signer, known)
		}
		if !ok {
			if spki, err = k.spki(i.session, signer); err != nil || !i.parses(spki) {
				return badMaterial(i.row)
			}
			return i.signs(signer, spki)
		}
		return i.unwrapped(m, privateTemplate(k, inUse, useDerive), func(agreer object) error {
			spki, err = i.pointOf(ec, signer, agreer)
			return err
		})
	})
	return spki, err
}

// parses says that a public key is one that this program can use.
func (i *importing) parses(spki []byte) bool {
	_, err := i.row.pair.public(spki, false)
	return err == nil
}

// signs wants a key to sign what its public half verifies.
func (i *importing) signs(private object, spki []byte) error {
	spec, _ := kms.SpecOf(i.row.spec)
	use, ok := spec.Use(kms.KeyUsageTypeSignVerify)
	if !ok || len(use.Signing) == 0 {
		return badMaterial(i.row)
	}
	g, err := signingOf(use.Signing[0])
	if err != nil {
		return err
	}
	data, err := g.input(i.row.pair, spki, SignInput{Message: checkLabel})
	if err != nil {
		return err
	}
	signature, err := g.sign(i.session, i.row.pair, private, data)
	if useless(err) {
		return badMaterial(i.row) // a key whose parts do not belong together may not work at all
	}
	if err != nil {
		return err
	}
	good, known, err := g.outside(i.row.pair, spki, data, signature)
	if err != nil {
		return err
	}
	if !known {
		good, err = i.verifies(g, spki, data, signature)
	}
	if err == nil && !good {
		err = badMaterial(i.row)
	}
	return err
}

// verifies has the token verify.
func (i *importing) verifies(g *signing, spki, data, signature []byte) (good bool, err error) {
	template, err := publicTemplate(i.row.pair, useVerify, spki, i.loaded.abilities.bare(i.row.spec))
	if err != nil {
		return false, err
	}
	raw, err := g.check(i.row.pair, spki, signature)
	if err != nil {
		return false, err
	}
	public, err := i.createObject(template)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, i.destroyObject(public)) }()
	err = i.verify(g.mechanism, g.parameters(), public, data, raw)
	if errors.Is(err, ErrBadSignature) {
		return false, nil
	}
	return err == nil, err
}

// privateID is the KeyMaterialId of a private key: SHA-256 of the label, the key id and the public
// half, which determines the private one.
func privateID(keyID string, spki []byte) string {
	h := sha256.New()
	h.Write([]byte(secretIDLabel + "\x00" + keyID + "\x00"))
	h.Write(spki)
	return hex.EncodeToString(h.Sum(nil))
}
