package hsm

import (
	"fmt"

	"github.com/kms11/kms11/kms"
)

// keySpecs is what a token makes for each key spec.
var keySpecs = []struct {
	spec kms.KeySpec
	// kind is the material under a derivation scheme.
	kind func(*scheme) secretKind
	// derives says that messages are encrypted under keys derived by the domain's scheme.
	derives bool
}{
	{kms.KeySpecSymmetricDefault, func(sc *scheme) secretKind { return sc.material }, true},
}

// kindOf is the sort of secret key for a spec, and the scheme its material is tied to, which is
// empty for a key that does not encrypt.
func kindOf(spec kms.KeySpec, sc *scheme) (secretKind, kms.DerivationScheme, error) {
	for _, k := range keySpecs {
		if k.spec != spec {
			continue
		}
		if k.derives {
			return k.kind(sc), sc.name, nil
		}
		return k.kind(sc), "", nil
	}
	return secretKind{}, "", fmt.Errorf("%w: key spec %s", ErrUnsupported, spec)
}
