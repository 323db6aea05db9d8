package hsm

import (
	"errors"
	"runtime"

	"github.com/miekg/pkcs11"
)

// boundaryRows are what keeps a key in the token. Not each is needed: harden and the tests at
// start see to those that are.
var boundaryRows = []probeRow{
	{"boundary", "known secret keys can be put in", func(p *prober) (string, error) {
		_, err := p.keep(p.createObject(macKind.known(inUse, probeMaterial)))
		return "", err
	}},
	{"boundary", "copy of a key as a session object", func(p *prober) (string, error) {
		kek, err := p.keep(p.generateKey(wrapKeyKind.generate, wrapKeyKind.sized(inUse)))
		if err != nil {
			return "", err
		}
		o, err := p.keep(p.copyObject(kek, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)}))
		if err != nil {
			return "", err
		}
		return "", p.locked(o)
	}},
	{"boundary", "unwrap obeys SENSITIVE and EXTRACTABLE", func(p *prober) (string, error) {
		o, err := p.roundTrip(nil)
		if err != nil {
			return "", err
		}
		return "", p.locked(o)
	}},
	{"boundary", "derive obeys SENSITIVE and EXTRACTABLE", func(p *prober) (string, error) {
		base, err := p.keep(p.generateKey(schemes[0].material.generate, schemes[0].material.sized(inUse)))
		if err != nil {
			return "", err
		}
		o, err := p.keep(schemes[0].derive(p.session, base, make([]byte, schemes[0].nonce), messageKeyKind))
		if err != nil {
			return "", err
		}
		return "", p.locked(o)
	}},
	{"boundary", "EXTRACTABLE=false stops C_WrapKey", func(p *prober) (string, error) {
		// A token that wraps nothing at all refuses this too.
		if _, err := p.roundTrip(nil); err != nil {
			return "", err
		}
		kek, err := p.keep(p.generateKey(wrapKeyKind.generate, wrapKeyKind.sized(inUse)))
		if err != nil {
			return "", err
		}
		key, err := p.keep(p.generateKey(macKind.generate, macKind.sized(inUse)))
		if err != nil {
			return "", err
		}
		_, err = p.wrapKey(pkcs11.CKM_AES_KEY_WRAP, nil, kek, key)
		return refused(err)
	}},
	{"boundary", "ALLOWED_MECHANISMS is enforced", func(p *prober) (string, error) {
		allowed := words(pkcs11.CKM_SHA512_HMAC)
		key, err := p.keep(p.generateKey(macKind.generate,
			append(macKind.sized(inUse), pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, allowed))))
		if err != nil {
			return "", err
		}
		_, err = p.sign(pkcs11.CKM_SHA256_HMAC, nil, key, checkLabel)
		return refused(err)
	}},
	{"boundary", "UNWRAP_TEMPLATE is enforced", func(p *prober) (string, error) {
		if _, err := p.roundTrip(nil); err != nil {
			return "", err
		}
		yes := []byte{1}
		var pin runtime.Pinner
		defer pin.Unpin()
		// One CK_ATTRIBUTE: what is unwrapped must be extractable, which roundTrip does not ask for.
		nested := words(pkcs11.CKA_EXTRACTABLE, address(&pin, yes), uintptr(len(yes)))
		_, err := p.roundTrip([]*attribute{pkcs11.NewAttribute(pkcs11.CKA_UNWRAP_TEMPLATE, nested)})
		if isCode(err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID) {
			return "", err // the token does not know it
		}
		return refused(err)
	}},
}

// roundTrip wraps a new key and unwraps it so that it cannot leave. more goes into the template of
// the wrapping key.
func (p *prober) roundTrip(more []*attribute) (object, error) {
	kek, err := p.keep(p.generateKey(wrapKeyKind.generate, append(wrapKeyKind.sized(inUse), more...)))
	if err != nil {
		return 0, err
	}
	key, err := p.keep(p.generateKey(macKind.generate, macKind.sized(leaving)))
	if err != nil {
		return 0, err
	}
	blob, err := p.wrapKey(pkcs11.CKM_AES_KEY_WRAP, nil, kek, key)
	if err != nil {
		return 0, err
	}
	return p.keep(p.unwrapKey(pkcs11.CKM_AES_KEY_WRAP, nil, kek, blob, macKind.template(inUse)))
}

// refused turns a refusal into success with its code as the remark.
func refused(err error) (string, error) {
	if code, ok := codeOf(err); ok {
		return ckrName(code), nil
	}
	if err == nil {
		err = errors.New("the token allows it")
	}
	return "", err
}
