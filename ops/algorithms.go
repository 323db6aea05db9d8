package ops

import (
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
	return kms.Use{
		Usage:         use.Usage,
		Encryption:    supported(s, k.Spec, use.Encryption),
		Signing:       supported(s, k.Spec, use.Signing),
		Mac:           supported(s, k.Spec, use.Mac),
		KeyAgreement:  supported(s, k.Spec, use.KeyAgreement),
		Encapsulation: supported(s, k.Spec, use.Encapsulation),
	}
}

// supported gives the algorithms that the token can do: nearly always all, and then the table's
// own slice.
func supported[A ~string](s *Service, spec kms.KeySpec, all []A) []A {
	can := func(a A) bool { return s.domain.Supports(spec, string(a)) }
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
