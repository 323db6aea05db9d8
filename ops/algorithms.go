package ops

import (
	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// algorithms are the algorithms that DescribeKey and GetPublicKey list for a key, in AWS's order:
// those of its spec and usage that the token can do.
func (s *Service) algorithms(k key) kms.Use {
	spec, ok := kms.SpecOf(k.Spec)
	if !ok {
		return kms.Use{}
	}
	use, _ := spec.Use(k.Usage)
	d := s.tells(k.KeyRecord)
	return kms.Use{
		Usage:         use.Usage,
		Encryption:    supported(d, k.Spec, use.Encryption),
		Signing:       supported(d, k.Spec, use.Signing),
		Mac:           supported(d, k.Spec, use.Mac),
		KeyAgreement:  supported(d, k.Spec, use.KeyAgreement),
		Encapsulation: supported(d, k.Spec, use.Encapsulation),
	}
}

// supported gives the algorithms that the token can do: nearly always all, and then the table's
// own slice.
func supported[A ~string](d *hsm.Domain, spec kms.KeySpec, all []A) []A {
	can := func(a A) bool { return d.Supports(spec, string(a)) }
	for i, algorithm := range all {
		if can(algorithm) {
			continue
		}
		some := append([]A(nil), all[:i]...)
		for _, rest := range all[i+1:] {
			if can(rest) {
				some = append(some, rest)
			}
		}
		return some
	}
	return all
}
