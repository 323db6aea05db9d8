package hsm

import "math/big"

// An equation is y² = x³ + ax + b over the field of p elements, with a base point, for the curves that
// the standard library does not have and for the solutions that it does not give. Its arithmetic
// takes time that depends on the numbers, so it is for public ones; where a caller has others, it
// says why that is bearable.
type equation struct{ p, a, b, baseX, baseY *big.Int }

func bigHex(hexadecimal string) *big.Int { return new(big.Int).SetBytes(unhex(hexadecimal)) }

// p256k1Equation is secp256k1: SEC 2, section 2.4.1.
var p256k1Equation = &equation{
	p:     bigHex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"),
	a:     new(big.Int),
	b:     big.NewInt(7),
	baseX: bigHex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
	baseY: bigHex("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"),
}

// sm2Equation is the curve of GB/T 32918.5-2017, section 2, of which a is -3.
var sm2Equation = &equation{
	p:     bigHex("fffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff"),
	a:     big.NewInt(-3),
	b:     bigHex("28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93"),
	baseX: bigHex("32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7"),
	baseY: bigHex("bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0"),
}

func (c *curve) equation() *equation {
	if c.own != nil {
		return c.own
	}
	params := c.goCurve.Params() // those of NIST, for which a is -3
	return &equation{params.P, big.NewInt(-3), params.B, params.Gx, params.Gy}
}

// square is y² for an x.
func (e *equation) square(x *big.Int) *big.Int {
	s := new(big.Int).Exp(x, big.NewInt(3), e.p)
	s.Add(s, new(big.Int).Mul(e.a, x))
	s.Add(s, e.b)
	return s.Mod(s, e.p)
}

// solve gives the two y for an x, none if there is no such point.
func (e *equation) solve(x *big.Int) []*big.Int {
	y := new(big.Int).ModSqrt(e.square(x), e.p)
	if y == nil {
		return nil
	}
	return []*big.Int{y, new(big.Int).Sub(e.p, y)}
}

// A point is one of a curve, but for the point at infinity, which is nil.
type point struct{ x, y *big.Int }

func (e *equation) base() *point { return &point{e.baseX, e.baseY} }

// has says whether the numbers are the coordinates of a point of the curve.
func (e *equation) has(q *point) bool {
	for _, n := range []*big.Int{q.x, q.y} {
		if n.Sign() < 0 || n.Cmp(e.p) >= 0 {
			return false
		}
	}
	y2 := new(big.Int).Mul(q.y, q.y)
	return y2.Mod(y2, e.p).Cmp(e.square(q.x)) == 0
}

// add is the group law in affine coordinates (SEC 1, section 2.2.1).
func (e *equation) add(q, r *point) *point {
	if q == nil || r == nil {
		if q == nil {
			return r
		}
		return q
	}
	over, under := new(big.Int), new(big.Int)
	if q.x.Cmp(r.x) == 0 {
		if q.y.Cmp(r.y) != 0 || q.y.Sign() == 0 {
			return nil
		}
		over.Mul(q.x, q.x).Mul(over, big.NewInt(3)).Add(over, e.a)
		under.Lsh(q.y, 1)
	} else {
		over.Sub(r.y, q.y)
		under.Sub(r.x, q.x)
	}
	slope := under.ModInverse(under.Mod(under, e.p), e.p)
	slope.Mul(slope, over).Mod(slope, e.p)
	x := new(big.Int).Mul(slope, slope)
	x.Sub(x, q.x).Sub(x, r.x).Mod(x, e.p)
	y := new(big.Int).Sub(q.x, x)
	y.Mul(y, slope).Sub(y, q.y).Mod(y, e.p)
	return &point{x, y}
}

// multiply is n times q, for a public n that is not negative.
func (e *equation) multiply(q *point, n *big.Int) *point {
	var sum *point
	for i := n.BitLen() - 1; i >= 0; i-- {
		sum = e.add(sum, sum)
		if n.Bit(i) == 1 {
			sum = e.add(sum, q)
		}
	}
	return sum
}
