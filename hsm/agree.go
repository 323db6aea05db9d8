package hsm

import (
	"context"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// DeriveSharedSecret agrees by ECDH (SP 800-56A rev. 3, section 5.7.1.2) with a peer's key, a DER
// SubjectPublicKeyInfo with an uncompressed point. The secret is the x coordinate, as long as the
// field. It is read from the token because the API hands it out, and the slice given here is the only
// copy. A peer's key that is not one of this curve gives an error that matches
// ErrBadPublicKey.
func (d *Domain) DeriveSharedSecret(ctx context.Context, m *kms.Material, spec kms.KeySpec, peer []byte) ([]byte, error) {
	k, err := pairOf(spec)
	if err != nil {
		return nil, err
	}
	ec, ok := k.pair.(ecKind)
	if !ok || !ec.agrees() {
		return nil, fmt.Errorf("%w: %s with a key of spec %s", ErrUnsupported, kms.KeyAgreementAlgorithmSpecEcdh, spec)
	}
	point, err := ec.point(peer)
	if err == nil {
		err = ec.onCurve(point)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadPublicKey, err)
	}
	var secret []byte
	err = d.withPrivate(ctx, m, k, useDerive, string(kms.KeyAgreementAlgorithmSpecEcdh), func(l *loaded, key object) error {
		return l.conn.do(ctx, k.lane, func(s *session) (err error) {
			secret, err = s.agree(ec, key, point)
			return err
		})
	})
	return secret, err
}

// agree derives a secret with a raw point, reads it and destroys it.
func (s *session) agree(k ecKind, private object, point []byte) (secret []byte, err error) {
	kind := secretKind{pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_GENERIC_SECRET_KEY_GEN, k.size, 0}
	params := pkcs11.NewECDH1DeriveParams(pkcs11.CKD_NULL, nil, point)
	o, err := s.deriveKey(pkcs11.CKM_ECDH1_DERIVE, params, private, kind.sized(given))
	if err != nil {
		return nil, err
	}
	return s.readOut(o, k.size)
}
