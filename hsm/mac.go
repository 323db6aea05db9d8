package hsm

import (
	"context"
	"crypto"
	"crypto/hmac"
	_ "crypto/sha256" // the hashes of macs
	_ "crypto/sha512"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// A macAlgorithm is HMAC (RFC 2104) with one hash.
type macAlgorithm struct {
	algorithm kms.MacAlgorithmSpec
	spec      kms.KeySpec // of its keys
	mechanism uint
	hash      crypto.Hash
}

var macs = []macAlgorithm{
	{kms.MacAlgorithmSpecHmacSha224, kms.KeySpecHmac224, pkcs11.CKM_SHA224_HMAC, crypto.SHA224},
	{kms.MacAlgorithmSpecHmacSha256, kms.KeySpecHmac256, pkcs11.CKM_SHA256_HMAC, crypto.SHA256},
	{kms.MacAlgorithmSpecHmacSha384, kms.KeySpecHmac384, pkcs11.CKM_SHA384_HMAC, crypto.SHA384},
	{kms.MacAlgorithmSpecHmacSha512, kms.KeySpecHmac512, pkcs11.CKM_SHA512_HMAC, crypto.SHA512},
}

func macOf(match func(*macAlgorithm) bool) (*macAlgorithm, bool) {
	for i := range macs {
		if match(&macs[i]) {
			return &macs[i], true
		}
	}
	return nil, false
}

var errNotMAC = errors.New("the material is not that of an HMAC key")

// GenerateMac gives the HMAC of message under m, as long as the hash.
func (d *Domain) GenerateMac(ctx context.Context, m *kms.Material, algorithm kms.MacAlgorithmSpec, message []byte) ([]byte, error) {
	a, ok := macOf(func(a *macAlgorithm) bool { return a.algorithm == algorithm })
	if !ok {
		return nil, fmt.Errorf("%w: MAC algorithm %s", ErrUnsupported, algorithm)
	}
	// A key that encrypts or derives must not sign as well.
	if m.Scheme != "" || len(m.PublicKey) != 0 {
		return nil, errNotMAC
	}
	k, err := rowOf(a.spec)
	if err != nil {
		return nil, err
	}
	var mac []byte
	err = d.use(ctx, func(l *loaded) error {
		if err := l.abilities.can(a.spec, string(algorithm)); err != nil {
			return err
		}
		key, _, err := l.cache.get(ctx, handleKey{material: m.ID, use: useSign}, func(*entry) (object, error) {
			return l.unwrap(ctx, m, k.secret(nil))
		})
		if err != nil {
			return err
		}
		defer l.cache.release(key)
		return l.conn.do(ctx, k.lane, func(s *session) (err error) {
			mac, err = s.sign(a.mechanism, nil, key.handle, message)
			return err
		})
	})
	return mac, err
}

// VerifyMac makes the MAC again, in the token, and compares it in constant time. A wrong one
// gives an error that matches ErrBadMAC.
func (d *Domain) VerifyMac(ctx context.Context, m *kms.Material, algorithm kms.MacAlgorithmSpec, message, mac []byte) error {
	want, err := d.GenerateMac(ctx, m, algorithm, message)
	if err != nil {
		return err
	}
	defer clear(want)
	if !hmac.Equal(want, mac) {
		return ErrBadMAC
	}
	return nil
}

// hmacMaterial is known material as it goes into the token. A key longer than the block of the
// hash is hashed, as RFC 2104, section 2, does with it in any case: a token that pads keys with
// zeros when it wraps them (SoftHSM 2.6.1) would make another key of it.
func (a *macAlgorithm) hmacMaterial(material []byte) []byte {
	h := a.hash.New()
	if len(material) <= h.BlockSize() {
		return material
	}
	h.Write(material)
	return h.Sum(nil)
}
