package hsm

import (
	"fmt"
	"slices"

	"github.com/kms11/kms11/kms"
)

// The abilities of a token are which key specs and algorithms it does, found out by doing when
// its first domain is joined. They are constant afterwards.
type abilities struct {
	specs    map[kms.KeySpec]*specAbility
	imports  map[*encryption]importAbility
	frailKWP bool // see Quirks
	// schemes says why the token cannot derive message keys in a way; nil if it can.
	schemes map[kms.DerivationScheme]error
}

// A specAbility is what a token does with keys of one spec.
type specAbility struct {
	err      error  // why there cannot be such keys
	resident bool   // private keys cannot be wrapped, so they live in the token
	name     []byte // how the token wants the curve named
	bare     bool   // it wants points without a DER OCTET STRING
	// algorithms has those of kms.Specs.
	algorithms map[string]*algorithmAbility
}

// An algorithmAbility is what a token does of one algorithm.
type algorithmAbility struct {
	err     error // why the token cannot do the part of the private key
	public  bool  // it does the part of the public key as well
	outside bool  // it does the step of the private key only: what is around it is done outside
}

// can says why the token cannot do an algorithm, in an error that matches ErrUnsupported and
// nothing else.
func (a *abilities) can(spec kms.KeySpec, algorithm string) error {
	s, ok := a.specs[spec]
	if !ok {
		_, err := rowOf(spec)
		return err
	}
	if s.err != nil {
		return unsupported(string(spec), s.err)
	}
	alg, ok := s.algorithms[algorithm]
	if !ok {
		return fmt.Errorf("%w: %s with a key of spec %s", ErrUnsupported, algorithm, spec)
	}
	if alg.err != nil {
		return unsupported(algorithm, alg.err)
	}
	return nil
}

// derives says why the token cannot derive message keys in a way. That of the domain, which an empty
// name stands for, it can.
func (a *abilities) derives(scheme kms.DerivationScheme) error {
	if scheme == "" {
		return nil
	}
	err, known := a.schemes[scheme]
	switch {
	case !known:
		return fmt.Errorf("%w: derivation scheme %q", ErrUnsupported, scheme)
	case err != nil:
		return unsupported("derivation scheme "+string(scheme), err)
	}
	return nil
}

// serves says why a token cannot do any algorithm of a usage.
func (s *specAbility) serves(spec kms.KeySpec, usage kms.KeyUsageType) error {
	row, _ := kms.SpecOf(spec)
	use, _ := row.Use(usage)
	var why error
	for _, name := range algorithmsOf(use) {
		switch alg, ok := s.algorithms[name]; {
		case !ok:
		case alg.err == nil:
			return nil
		case why == nil:
			why = unsupported(name, alg.err)
		}
	}
	return why
}

// algorithmsOf are the names of all algorithms of a usage, in AWS's order.
func algorithmsOf(u kms.Use) []string {
	return slices.Concat(texts(u.Encryption), texts(u.Signing), texts(u.Mac), texts(u.KeyAgreement), texts(u.Encapsulation))
}

func texts[T ~string](values []T) []string {
	var all []string
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

// unsupported names what cannot be done and the mechanism that showed it. The token's error is
// text only: it was the answer to a trial, not to the present call.
func unsupported(what string, why error) error {
	return fmt.Errorf("%w: %s: %v", ErrUnsupported, what, why)
}

func (a *abilities) of(spec kms.KeySpec, algorithm string) algorithmAbility {
	if s, ok := a.specs[spec]; ok {
		if alg, ok := s.algorithms[algorithm]; ok {
			return *alg
		}
	}
	return algorithmAbility{}
}

func (a *abilities) public(spec kms.KeySpec, algorithm string) bool {
	return a.of(spec, algorithm).public
}

func (a *abilities) outside(spec kms.KeySpec, algorithm string) bool {
	return a.of(spec, algorithm).outside
}

func (a *abilities) bare(spec kms.KeySpec) bool { s, ok := a.specs[spec]; return ok && s.bare }

// Supports says whether every token of the domain does an algorithm with keys of a spec. The
// names are those of the API, "SYMMETRIC_DEFAULT" and "ECDH" among them. A token that is down
// counts as it was when it was last up.
func (d *Domain) Supports(spec kms.KeySpec, algorithm string) bool {
	for _, m := range d.members() {
		if a := m.token.abilities.Load(); a == nil || a.can(spec, algorithm) != nil {
			return false
		}
	}
	return true
}

// able gives the token's abilities, found once. s is a session of it.
func (t *Token) able(s *session, w wraps) (*abilities, error) {
	if a := t.abilities.Load(); a != nil {
		return a, nil
	}
	a := &abilities{specs: map[kms.KeySpec]*specAbility{}, frailKWP: t.quirks.FrailKWP}
	for i := range keySpecs {
		k := &keySpecs[i]
		trial := &trial{
			prober: &prober{session: s}, wraps: w, row: k, forbidOutside: t.config.ForbidPaddingOutside,
			found: &specAbility{algorithms: map[string]*algorithmAbility{}},
		}
		if k.pair != nil && k.spec != rsaSample && isRSA(k.pair) {
			trial.sample = a.specs[rsaSample]
		}
		err := trial.run()
		trial.release(0)
		if lost(err) {
			return nil, err
		}
		trial.found.err = err
		a.specs[k.spec] = trial.found
	}
	a.schemes = map[kms.DerivationScheme]error{}
	for i := range schemes {
		err := schemes[i].try(s)
		if lost(err) {
			return nil, err
		}
		a.schemes[schemes[i].name] = err
	}
	sample, err := rowOf(rsaSample)
	if err != nil {
		return nil, err
	}
	imports := &trial{prober: &prober{session: s}, wraps: w, row: sample, forbidOutside: t.config.ForbidPaddingOutside, found: &specAbility{}}
	a.imports, err = tryImports(imports)
	imports.release(0)
	if err != nil {
		return nil, err
	}
	t.abilities.Store(a)
	return a, nil
}
