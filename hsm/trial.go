package hsm

import (
	"fmt"

	"github.com/kms11/kms11/kms"
)

// rsaSample is the size that stands for the others in all but one signature.
const rsaSample = kms.KeySpecRsa2048

func isRSA(k pairKind) bool { _, ok := k.(rsaKind); return ok }

// A trial finds out what a token does with keys of one spec. Its keys are known or thrown away.
type trial struct {
	*prober
	wraps         wraps
	row           *keySpec
	sample        *specAbility // of another size of the family
	forbidOutside bool
	found         *specAbility
}

// run answers why there cannot be keys of the spec.
func (t *trial) run() error {
	spec, ok := kms.SpecOf(t.row.spec)
	if !ok {
		return fmt.Errorf("key spec %s is unknown", t.row.spec)
	}
	if t.row.pair == nil {
		return t.secret(spec)
	}
	for _, use := range spec.Uses {
		u, _ := t.row.useOf(use.Usage)
		if t.sample != nil && u != useSign {
			continue
		}
		private, spki, err := t.private(u)
		if err != nil {
			return err
		}
		if err := t.try(use, u, private, spki); err != nil {
			return err
		}
	}
	if t.sample != nil {
		t.found.algorithms, t.found.resident = t.sample.algorithms, t.sample.resident || t.found.resident
	}
	return nil
}

// secret tries HMAC keys; the domain's own keys show the rest.
func (t *trial) secret(spec kms.Spec) error {
	for _, use := range spec.Uses {
		for _, algorithm := range use.Encryption {
			t.found.algorithms[string(algorithm)] = &algorithmAbility{}
		}
		for _, algorithm := range use.Mac {
			err := t.mac(algorithm)
			if lost(err) {
				return err
			}
			t.found.algorithms[string(algorithm)] = &algorithmAbility{err: err}
		}
	}
	return nil
}

// roundTripBy wraps an object under a new key and unwraps it.
func (t *trial) roundTripBy(mech uint, o object, template []*attribute) (object, error) {
	kek, err := t.keep(t.generateKey(wrapKeyKind.generate, wrapKeyKind.sized(inUse)))
	if err != nil {
		return 0, err
	}
	blob, err := t.wrapKey(mech, nil, kek, o)
	if err != nil {
		return 0, err
	}
	return t.keep(t.unwrapKey(mech, nil, kek, blob, template))
}

// private gives a private key for one use, as KMS keys come into use if the token wraps such
// keys, and its public half.
func (t *trial) private(u use) (object, []byte, error) {
	o, spki, err := t.bear(u)
	if err != nil {
		return 0, nil, err
	}
	if t.found.resident {
		return o, spki, nil
	}
	mech, err := t.wraps.mechanism(kms.AESKeyWrapPad)
	if err == nil {
		var back object
		back, err = t.roundTripBy(mech, o, privateTemplate(t.row.pair, inUse, u))
		if err == nil {
			_, err = t.hardenPrivate(t.row.pair, back, u)
		}
		if err == nil {
			return back, spki, nil
		}
	}
	if lost(err) {
		return 0, nil, err
	}
	t.found.resident = true
	return o, spki, nil
}

// bear makes a private key that may leave: a known one if it is RSA, which takes a token long to
// generate, or a new one.
func (t *trial) bear(u use) (object, []byte, error) {
	k := t.row.pair
	if r, ok := k.(rsaKind); ok {
		if o, spki, err := t.known(r, u); err == nil || lost(err) {
			return o, spki, err
		}
		// Some tokens take no private keys from outside.
	}
	var failed error
	for _, name := range k.names() {
		public, private, err := t.keepPair(t.generatePair(k, name, leaving, u))
		if err != nil {
			failed = err
			if lost(err) {
				break
			}
			continue
		}
		t.found.name = name
		spki, err := k.spki(t.session, public)
		return private, spki, err
	}
	return 0, nil, failed
}

func (t *trial) known(k rsaKind, u use) (object, []byte, error) {
	components, spki, err := knownRSA(k.bits)
	if err != nil {
		return 0, nil, err
	}
	o, err := t.keep(t.createObject(append(privateTemplate(k, leaving, u), components...)))
	return o, spki, err
}

// try runs the algorithms of one usage.
func (t *trial) try(use kms.Use, u use, private object, spki []byte) error {
	public, err := t.publicObject(u, spki)
	if err != nil {
		return err
	}
	for _, algorithm := range use.Signing {
		a, err := t.signing(algorithm, private, public, spki)
		if lost(err) {
			return err
		}
		a.err = err
		t.found.algorithms[string(algorithm)] = a
		if _, ok := t.row.pair.(mlDSAKind); ok && err == nil {
			mu, err := t.externalMu(private, public, spki)
			if lost(err) {
				return err
			}
			t.found.algorithms[ExternalMu] = &algorithmAbility{err: err, public: mu}
		}
		if t.sample != nil {
			return err // one is enough to see that the token has the size
		}
	}
	for _, algorithm := range use.Encryption {
		encryption := t.encryption
		if algorithm == kms.EncryptionAlgorithmSpecSm2pke {
			encryption = t.sm2Encryption
		}
		a, err := encryption(algorithm, private, public, spki)
		if lost(err) {
			return err
		}
		a.err = err
		t.found.algorithms[string(algorithm)] = a
	}
	for _, algorithm := range use.Encapsulation {
		a, err := t.encapsulation(private, public, spki)
		if lost(err) {
			return err
		}
		a.err = err
		t.found.algorithms[string(algorithm)] = a
	}
	for _, algorithm := range use.KeyAgreement {
		err := t.agreement(private, spki)
		if lost(err) {
			return err
		}
		t.found.algorithms[string(algorithm)] = &algorithmAbility{err: err}
	}
	return nil
}

// publicObject puts a public key in, with the form of the point that the token takes. 0 means
// that it takes none.
func (t *trial) publicObject(u use, spki []byte) (object, error) {
	if publicHalf[u] == 0 {
		return 0, nil
	}
	for _, bare := range []bool{false, true} {
		template, err := publicTemplate(t.row.pair, publicHalf[u], spki, bare)
		if err != nil {
			return 0, err
		}
		o, err := t.keep(t.createObject(template))
		if err == nil {
			t.found.bare = bare
			return o, nil
		}
		if lost(err) {
			return 0, err
		}
	}
	return 0, nil
}
