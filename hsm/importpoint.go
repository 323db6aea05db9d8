package hsm

import (
	"errors"
	"math/big"

	"github.com/miekg/pkcs11"
)

// pointOf works out the public half of a private key on a Weierstrass curve, which tokens do not
// tell of a key that was unwrapped, without its value leaving the token: ECDH with the base point
// gives the x coordinate, of the two points that have it the right one verifies what the key signs.
func (i *importing) pointOf(k ecKind, signer, agreer object) ([]byte, error) {
	if got, err := i.attributes(agreer, pkcs11.CKA_EC_PARAMS); err == nil && string(got[0]) != string(k.oid) {
		return nil, badMaterial(i.row)
	}
	e := k.equation()
	x, err := i.agree(k, agreer, k.encode(e.baseX, e.baseY))
	if useless(err) {
		return nil, badMaterial(i.row) // a key on another curve, or zero
	}
	if err != nil {
		return nil, err
	}
	// x is public.
	for _, y := range e.solve(new(big.Int).SetBytes(x)) {
		spki := writePublic(k.algorithm(), k.encode(new(big.Int).SetBytes(x), y))
		err := i.signs(signer, spki)
		if !errors.Is(err, ErrBadMaterial) {
			return spki, err
		}
	}
	return nil, badMaterial(i.row)
}

// encode is the uncompressed form of a point (SEC 1, section 2.3.3).
func (c *curve) encode(x, y *big.Int) []byte {
	out := make([]byte, 1+2*c.size)
	out[0] = 4
	x.FillBytes(out[1 : 1+c.size])
	y.FillBytes(out[1+c.size:])
	return out
}
