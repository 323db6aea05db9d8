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
	if declined(err) {
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

// An equation is y² = x³ + ax + b over the field of p elements, with a base point.
type equation struct{ p, a, b, baseX, baseY *big.Int }

// p256k1Equation is secp256k1: SEC 2, section 2.4.1.
var p256k1Equation = equation{
	p:     new(big.Int).SetBytes(unhex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")),
	a:     new(big.Int),
	b:     big.NewInt(7),
	baseX: new(big.Int).SetBytes(unhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")),
	baseY: new(big.Int).SetBytes(unhex("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")),
}

func (c *curve) equation() equation {
	if c.goCurve == nil {
		return p256k1Equation
	}
	params := c.goCurve.Params() // those of NIST, for which a is -3
	return equation{params.P, big.NewInt(-3), params.B, params.Gx, params.Gy}
}

// solve gives the two y for an x, none if there is no such point.
func (e equation) solve(x *big.Int) []*big.Int {
	square := new(big.Int).Exp(x, big.NewInt(3), e.p)
	square.Add(square, new(big.Int).Mul(e.a, x))
	square.Add(square, e.b)
	square.Mod(square, e.p)
	y := new(big.Int).ModSqrt(square, e.p)
	if y == nil {
		return nil
	}
	return []*big.Int{y, new(big.Int).Sub(e.p, y)}
}

// encode is the uncompressed form of a point (SEC 1, section 2.3.3).
func (c *curve) encode(x, y *big.Int) []byte {
	out := make([]byte, 1+2*c.size)
	out[0] = 4
	x.FillBytes(out[1 : 1+c.size])
	y.FillBytes(out[1+c.size:])
	return out
}
