package hsm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"
)

// A token that is to join a domain has a resting pair for its enrolment, of which people compare the
// fingerprint. Both halves have this CKA_ID and CKA_LABEL; the pair is destroyed when it was used.
const enrolmentLabel = "kms11 enrolment"

// ErrEnrolment: a token has no enrolment pair, or another than the operator confirmed.
var ErrEnrolment = errors.New("the token's enrolment does not fit")

// Enroll makes a token's pair for its enrolment, in place of an earlier one, and gives its fingerprint:
// SHA-256 of the public half as a DER SubjectPublicKeyInfo, in hexadecimal digits.
func Enroll(ctx context.Context, t *Token) (fingerprint string, err error) {
	err = t.do(ctx, laneHold, func(s *session) error {
		if err := removeEnrolment(s); err != nil {
			return err
		}
		e := &enrolment{token: t}
		resting := func(template []*attribute) []*attribute {
			for _, a := range template {
				if a.Type == pkcs11.CKA_TOKEN {
					a.Value = []byte{1}
				}
			}
			return append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, enrolmentLabel), pkcs11.NewAttribute(pkcs11.CKA_LABEL, enrolmentLabel))
		}
		e.public, e.private, err = s.generateKeyPair(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
			append(resting(publicUse(useWrap)),
				pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, enrolBits),
				pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})),
			resting(privateUse(useUnwrap)))
		if err != nil {
			return err
		}
		if fingerprint, err = e.settle(s); err != nil {
			return errors.Join(err, removeEnrolment(s))
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("enroll %s: %w", t.config.URI, err)
	}
	return fingerprint, nil
}

// Fingerprint is that of the pair that Enroll made in the token. The error matches ErrEnrolment if
// there is none.
func Fingerprint(ctx context.Context, t *Token) (fingerprint string, err error) {
	err = t.do(ctx, laneHold, func(s *session) error {
		e := &enrolment{token: t}
		if err := e.find(s); err != nil {
			return err
		}
		fingerprint, err = e.settle(s)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("token %s: %w", t.config.URI, err)
	}
	return fingerprint, nil
}

// settle makes sure that the private half cannot leave and can do nothing but unwrap, reads the public half
// and gives its fingerprint.
func (e *enrolment) settle(s *session) (string, error) {
	if err := s.locked(e.private, enrolKind.secrets()...); err != nil {
		return "", err
	}
	got, err := s.attributes(e.private, pkcs11.CKA_DECRYPT, pkcs11.CKA_UNWRAP)
	if err != nil {
		return "", err
	}
	if isTrue(got[0]) || !isTrue(got[1]) {
		return "", fmt.Errorf("%w: the pair can do more than unwrap", ErrEnrolment)
	}
	if err := e.read(s); err != nil {
		return "", err
	}
	spki, err := enrolKind.spki(s, e.public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:]), nil
}

// find looks for the resting pair.
func (e *enrolment) find(s *session) error {
	for _, half := range []struct {
		class uint
		to    *object
	}{{pkcs11.CKO_PRIVATE_KEY, &e.private}, {pkcs11.CKO_PUBLIC_KEY, &e.public}} {
		found, err := s.find(maxLeftovers, []*attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, half.class),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_ID, enrolmentLabel),
		})
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return fmt.Errorf("%w: the token has no enrolment pair: make one with kms11 hsm enroll", ErrEnrolment)
		}
		*half.to = found[0]
	}
	return nil
}

// meet is begin with the resting pair, if its fingerprint is the one that was confirmed.
func (e *enrolment) meet(s *session, confirmed string) error {
	if err := e.find(s); err != nil {
		return err
	}
	fingerprint, err := e.settle(s)
	if err != nil {
		return err
	}
	if !SameFingerprint(confirmed, fingerprint) {
		return fmt.Errorf("%w: its fingerprint is %s, which is not the one that was confirmed", ErrEnrolment, fingerprint)
	}
	return nil
}

// SameFingerprint compares a fingerprint as people write it, with colons and capitals perhaps, with one that
// Fingerprint gave.
func SameFingerprint(written, fingerprint string) bool {
	return strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(written)) == fingerprint
}

// removeEnrolment destroys what there is of enrolment pairs.
func removeEnrolment(s *session) error {
	found, err := s.find(maxLeftovers, []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_ID, enrolmentLabel),
	})
	for _, o := range found {
		err = errors.Join(err, s.destroyObject(o))
	}
	return err
}
