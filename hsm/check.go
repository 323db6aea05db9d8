package hsm

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// checkLabel is the text that check values are made of.
var checkLabel = []byte("kms11 check")

// The check value of a domain key (kms.DomainKey.Check) is something only that key can answer.
// Each begins with a byte that says how it was made.
//
// Domain key, 73 bytes: a random HMAC key made in the token (the probe), wrapped.
//
//	wrap    1 byte: 1 RFC 3394, 2 RFC 5649
//	blob   40 bytes: the probe key of 32 bytes, wrapped under the domain key
//	mac    32 bytes: HMAC-SHA-256(probe key, "kms11 check")
//
// Record key, 33 bytes:
//
//	format  1 byte: 1
//	mac    32 bytes: HMAC-SHA-256(record key, "kms11 check")
//
// Sealing key, 40 bytes; the IV is random, since AES of a fixed block, zeros above all, is part of
// what GCM's security rests on:
//
//	format  1 byte: 1
//	iv     12 bytes
//	text   11 bytes: AES-GCM of "kms11 check", with "kms11 check" as AAD
//	tag    16 bytes
const (
	wrapCheckSize   = 1 + 40 + sha256.Size
	recordCheckSize = 1 + sha256.Size
	sealCheckSize   = 1 + ivSize + 11 + tagSize
	checkFormat     = 1
)

var errCheck = fmt.Errorf("%w: its check value is that of another key", ErrWrongToken)

func makeWrapCheck(s *session, w wraps, key object) (check []byte, err error) {
	probe, err := s.generateKey(macKind.generate, macKind.sized(leaving))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.destroyObject(probe)) }()
	algorithm, err := w.choose(macKind.length)
	if err != nil {
		return nil, err
	}
	blob, err := s.wrapKey(w[algorithm], nil, key, probe)
	if err != nil {
		return nil, err
	}
	mac, err := s.sign(pkcs11.CKM_SHA256_HMAC, nil, probe, checkLabel)
	if err != nil {
		return nil, err
	}
	for _, c := range wrapCandidates {
		if c.algorithm == algorithm {
			check = append(append([]byte{c.code}, blob...), mac...)
		}
	}
	if len(check) != wrapCheckSize {
		return nil, fmt.Errorf("C_WrapKey gave %d bytes", len(blob))
	}
	return check, nil
}

func verifyWrapCheck(s *session, w wraps, key object, check []byte) error {
	if len(check) != wrapCheckSize {
		return errCheck
	}
	for _, c := range wrapCandidates {
		if c.code != check[0] {
			continue
		}
		mech, err := w.mechanism(c.algorithm)
		if err != nil {
			return err
		}
		blob, mac := check[1:wrapCheckSize-sha256.Size], check[wrapCheckSize-sha256.Size:]
		return verifyProbe(s, mech, key, blob, mac)
	}
	return errCheck
}

// verifyProbe unwraps the probe key and compares its MAC. A token that refuses the blob says so
// with codes of its own, so any refusal that is not a lost session or token is a wrong key.
func verifyProbe(s *session, mech uint, key object, blob, mac []byte) error {
	probe, err := s.unwrapKey(mech, nil, key, blob, macKind.template(inUse))
	if err != nil {
		if classOf(err) == classInternal {
			return fmt.Errorf("%w (%w)", errCheck, err)
		}
		return err
	}
	if probe, err = s.harden(probe); err != nil {
		return err
	}
	got, err := s.sign(pkcs11.CKM_SHA256_HMAC, nil, probe, checkLabel)
	if err = errors.Join(err, s.destroyObject(probe)); err != nil {
		return err
	}
	if !hmac.Equal(got, mac) {
		return errCheck
	}
	return nil
}

func makeRecordCheck(s *session, _ wraps, key object) ([]byte, error) {
	mac, err := s.sign(pkcs11.CKM_SHA256_HMAC, nil, key, checkLabel)
	if err != nil {
		return nil, err
	}
	return append([]byte{checkFormat}, mac...), nil
}

func verifyRecordCheck(s *session, w wraps, key object, check []byte) error {
	if len(check) != recordCheckSize {
		return errCheck
	}
	got, err := makeRecordCheck(s, w, key)
	if err != nil {
		return err
	}
	if !hmac.Equal(got, check) {
		return errCheck
	}
	return nil
}

func makeSealCheck(s *session, _ wraps, key object) ([]byte, error) {
	iv := make([]byte, ivSize)
	_, _ = rand.Read(iv) // crypto/rand never fails
	sealed, err := s.sealGCM(key, iv, checkLabel, checkLabel)
	if err != nil {
		return nil, err
	}
	return append(append([]byte{checkFormat}, iv...), sealed...), nil
}

func verifySealCheck(s *session, _ wraps, key object, check []byte) error {
	if len(check) != sealCheckSize || check[0] != checkFormat {
		return errCheck
	}
	text, err := s.openGCM(key, check[1:1+ivSize], checkLabel, check[1+ivSize:])
	if errors.Is(err, ErrBadCiphertext) {
		return errCheck
	}
	if err != nil {
		return err
	}
	if !hmac.Equal(text, checkLabel) {
		return errCheck
	}
	return nil
}
