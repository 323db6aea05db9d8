package hsm

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// errUntold: the token does not tell how long a key is that it unwrapped, or wraps it as another.
var errUntold = errors.New("the token does not wrap this key exactly")

// secret imports a secret key. A token that cannot do it unseen, because it pads the key with zeros
// when it wraps it (SoftHSM 2.6.1, lengths that are no multiple of 8), gets it from outside.
func (i *importing) secret() (kms.Material, error) {
	if i.known == nil {
		m, err := i.wrapSecret(i.put, 0)
		if !errors.Is(err, errUntold) {
			return m, err
		}
		if err := i.learn(); err != nil {
			return kms.Material{}, err
		}
	}
	least, most := i.bounds()
	if len(i.known) < least || len(i.known) > most {
		return kms.Material{}, badMaterial(i.row)
	}
	fits := i.known
	if a, ok := macOf(func(a *macAlgorithm) bool { return a.spec == i.row.spec }); ok {
		fits = a.hmacMaterial(i.known)
		defer clear(fits)
	}
	return i.wrapSecret(func(template []*attribute) (object, error) {
		return i.createObject(append(template, pkcs11.NewAttribute(pkcs11.CKA_VALUE, fits)))
	}, len(fits))
}

// bounds are the lengths of the material in bytes.
func (i *importing) bounds() (least, most int) {
	spec, _ := kms.SpecOf(i.row.spec)
	return spec.ImportMin, spec.ImportMax
}

// wrapSecret wraps the object that put makes, of this length in bytes; 0 if that is for the token
// to tell.
func (i *importing) wrapSecret(put func([]*attribute) (object, error), length int) (kms.Material, error) {
	domain := i.loaded.member.domain.description()
	sc, err := schemeOf(cmp.Or(i.request.Scheme, domain.Scheme))
	if err != nil {
		return kms.Material{}, err
	}
	m := kms.Material{Domain: domain.ID, DomainKey: i.version, Length: length}
	if i.row.derives {
		m.Scheme = sc.name
	}
	o, err := put(i.row.secret(sc).template(leaving))
	if err != nil {
		if i.put != nil && length == 0 {
			err = i.whyRefused(err)
		}
		return kms.Material{}, err
	}
	if m.Wrap, m.Blob, m.Length, err = i.measured(o, length); err != nil {
		return kms.Material{}, err
	}
	if length == 0 {
		if least, most := i.bounds(); m.Length < least || m.Length > most {
			return kms.Material{}, badMaterial(i.row)
		}
	}
	if i.row.derives {
		err = i.works(put, sc)
	}
	if err == nil {
		m.ID, err = i.checkSecret(put, &m)
	}
	if length == 0 && declined(err) {
		err = badMaterial(i.row) // tokens refuse AES keys of odd lengths and HMAC keys that are too short
	}
	if err != nil {
		return kms.Material{}, err
	}
	return m, nil
}

// measured wraps o and gives its length. CKA_VALUE_LEN tells it, but on SoftHSM 2.6.1 that is 0 for
// every key that was unwrapped. There the blob tells the length of what was wrapped, which is the
// key padded with zeros to a multiple of 8 bytes; that the key itself was not shorter than allowed,
// and is the same with the zeros, checkSecret makes sure of.
func (i *importing) measured(o object, length int) (kms.WrapAlgorithm, []byte, int, error) {
	if length == 0 {
		if got, err := i.attributes(o, pkcs11.CKA_VALUE_LEN); err == nil && len(got[0]) == len(words(0)) {
			length = int(min(binary.NativeEndian.Uint64(got[0]), 1<<16))
		}
	}
	if length != 0 {
		algorithm, err := i.loaded.wraps.choose(length)
		if err != nil {
			return "", nil, 0, errors.Join(err, i.destroyObject(o))
		}
		blob, err := i.wrap(o, algorithm)
		return algorithm, blob, length, err
	}
	if _, ok := i.loaded.wraps[kms.AESKeyWrap]; !ok {
		return "", nil, 0, errors.Join(errUntold, i.destroyObject(o))
	}
	blob, err := i.wrap(o, kms.AESKeyWrap)
	if declined(err) {
		return "", nil, 0, errUntold
	}
	return kms.AESKeyWrap, blob, len(blob) - 8, err
}

// works has the scheme make one key of the material, which goes with the lengths of AES only.
func (i *importing) works(put func([]*attribute) (object, error), sc *scheme) (err error) {
	o, err := put(sc.material.template(inUse))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.destroyObject(o)) }()
	if sc.derive == nil {
		iv, err := i.random(ivSize)
		if err != nil {
			return err
		}
		_, err = i.sealGCM(o, iv, nil, checkLabel)
		return err
	}
	key, err := sc.derive(i.session, o, make([]byte, sc.nonce), messageKeyKind)
	if err != nil {
		return err
	}
	return i.destroyObject(key)
}

// checkSecret gives the id of the material, from two keys: the one that came and the one that was
// wrapped, which are the same unless the token changed it.
func (i *importing) checkSecret(put func([]*attribute) (object, error), m *kms.Material) (string, error) {
	o, err := put(macKind.template(inUse))
	if err != nil {
		return "", err
	}
	came, err := i.secretID(o)
	if err = errors.Join(err, i.destroyObject(o)); err != nil {
		return "", err
	}
	var wrapped string
	err = i.unwrapped(m, macKind.template(inUse), func(o object) (err error) {
		wrapped, err = i.secretID(o)
		return err
	})
	if err == nil && came != wrapped {
		err = errUntold
	}
	return came, err
}

// secretIDLabel is the Label of SP 800-108, section 4.1; the key id is its Context.
const secretIDLabel = "kms11 key material"

// secretID is the KeyMaterialId of a secret key: 32 bytes of SP 800-108 in counter mode with HMAC,
// [i]32 || Label || 0x00 || key id, computed in the token. The hash is SHA-256, or that of an HMAC
// key, because tokens refuse keys that are shorter than the hash and because keys that are longer
// than its block are the same key after it.
func (i *importing) secretID(o object) (string, error) {
	mech := uint(pkcs11.CKM_SHA256_HMAC)
	if a, ok := macOf(func(a *macAlgorithm) bool { return a.spec == i.row.spec }); ok {
		mech = a.mechanism
	}
	var id []byte
	for n := uint32(1); len(id) < materialIDSize; n++ {
		input := binary.BigEndian.AppendUint32(nil, n)
		input = append(append(input, secretIDLabel+"\x00"...), i.request.KeyID...)
		mac, err := i.sign(mech, nil, o, input)
		if err != nil {
			return "", err
		}
		id = append(id, mac...)
	}
	return hex.EncodeToString(id[:materialIDSize]), nil
}
