package hsm

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// wrapKeyKind is a domain key: it wraps and unwraps and nothing else, since with DECRYPT a
// wrapped key could be decrypted into the open.
var wrapKeyKind = secretKind{pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN, 32, useWrap | useUnwrap}

// A wrapTest is a known answer of a key wrap algorithm.
type wrapTest struct {
	kek, key string
	// blobs are the answers that are accepted. The second, if any, is that of a token that pads
	// the key with zeros to a multiple of 8 bytes before it wraps (SoftHSM 2.6.1): harmless,
	// because the true length is kept in kms.Material.
	blobs []string
}

// wrapCandidates are the mechanisms that may do each algorithm, tried in this order: the same
// mechanism number means different things on different tokens. 0x210A is RFC 5649 on SoftHSM2,
// PKCS#7 padding and RFC 3394 on NSS, something else on openCryptoki.
var wrapCandidates = []struct {
	algorithm  kms.WrapAlgorithm
	code       byte // in the check value of a domain key
	fits       func(length int) bool
	mechanisms []uint
	tests      []wrapTest
}{
	{kms.AESKeyWrap, 1, func(n int) bool { return n >= 16 && n%8 == 0 },
		[]uint{pkcs11.CKM_AES_KEY_WRAP},
		[]wrapTest{{ // RFC 3394, section 4.6
			kek:   "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			key:   "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
			blobs: []string{"28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"},
		}}},
	{kms.AESKeyWrapPad, 2, func(n int) bool { return n > 0 },
		[]uint{ckmAESKeyWrapKWP, pkcs11.CKM_AES_KEY_WRAP_PAD},
		[]wrapTest{{ // the same key under RFC 5649
			kek:   "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			key:   "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
			blobs: []string{"4a8029243027353b0694cf1bd8fc745bb0ce8a739b19b1960b12426d4c39cfeda926d103ab34e9f6"},
		}, { // RFC 5649, section 6, and the same with the key padded to 24 bytes
			kek:   "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8",
			key:   "c37b7e6492584340bed12207808941155068f738",
			blobs: []string{"138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a", "cf1e485360e1a8126f524d01771677f9400edb4d074f14116988d71e1588e367"},
		}}},
}

// A wraps says which mechanism of a token does which algorithm, as found by doing.
type wraps map[kms.WrapAlgorithm]uint

// wrapsOf is findWraps, once for a token.
func (t *Token) wrapsOf(s *session) (wraps, error) {
	if w := t.wraps.Load(); w != nil {
		return *w, nil
	}
	w, err := findWraps(s)
	if err == nil {
		t.wraps.Store(&w)
	}
	return w, err
}

// findWraps wraps known keys under known keys, all of them public test vectors.
func findWraps(s *session) (wraps, error) {
	found := wraps{}
	var why error
	for _, c := range wrapCandidates {
		for _, mech := range c.mechanisms {
			_, err := tryWraps(s, mech, c.tests)
			if err == nil {
				found[c.algorithm] = mech
				break
			}
			if lost(err) {
				return nil, err
			}
			why = errors.Join(why, fmt.Errorf("%s: %w", c.algorithm, err))
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: no AES key wrap: %w", ErrUnsupported, why)
	}
	return found, nil
}

// tryWraps says whether mech gives the known answers, and whether one of them was the second best.
func tryWraps(s *session, mech uint, tests []wrapTest) (padded bool, err error) {
	for _, t := range tests {
		second, err := tryWrap(s, mech, t)
		if err != nil {
			return false, err
		}
		padded = padded || second
	}
	return padded, nil
}

var errNotExact = errors.New("the token gives an answer other than the standard's")

func tryWrap(s *session, mech uint, t wrapTest) (second bool, err error) {
	key := unhex(t.key)
	kek, err := s.createObject(wrapKeyKind.known(inUse, unhex(t.kek)))
	if err != nil {
		return false, err
	}
	defer func() { _ = s.destroyObject(kek) }() // a public test vector
	known, err := s.createObject(macKind.known(leaving, key))
	if err != nil {
		return false, err
	}
	defer func() { _ = s.destroyObject(known) }()
	blob, err := s.wrapKey(mech, nil, kek, known)
	if err != nil {
		return false, err
	}
	for i, want := range t.blobs {
		if bytes.Equal(blob, unhex(want)) {
			return i > 0, tryUnwrap(s, mech, kek, unhex(t.blobs[0]), key)
		}
	}
	return false, fmt.Errorf("%s: %w", mechanismName(mech), errNotExact)
}

// tryUnwrap unwraps the standard's blob and compares a MAC by the key. Keys shorter than the hash
// are left out, because some tokens refuse them as HMAC keys.
func tryUnwrap(s *session, mech uint, kek object, blob, key []byte) error {
	o, err := s.unwrapKey(mech, nil, kek, blob, macKind.template(inUse))
	if err != nil {
		return err
	}
	defer func() { _ = s.destroyObject(o) }()
	if len(key) < sha256.Size {
		return nil
	}
	got, err := s.sign(pkcs11.CKM_SHA256_HMAC, nil, o, checkLabel)
	if err != nil {
		return err
	}
	if !hmac.Equal(got, hmacSHA256(key, checkLabel)) {
		return fmt.Errorf("%s: %w", mechanismName(mech), errNotExact)
	}
	return nil
}

// choose gives the algorithm for a key of length bytes: RFC 3394 where it fits, else RFC 5649.
func (w wraps) choose(length int) (kms.WrapAlgorithm, error) {
	for _, c := range wrapCandidates {
		if _, ok := w[c.algorithm]; ok && c.fits(length) {
			return c.algorithm, nil
		}
	}
	return "", fmt.Errorf("%w: no AES key wrap for %d bytes", ErrUnsupported, length)
}

// mechanism is how the token does an algorithm.
func (w wraps) mechanism(a kms.WrapAlgorithm) (uint, error) {
	mech, ok := w[a]
	if !ok {
		return 0, fmt.Errorf("%w: AES key wrap %q", ErrUnsupported, a)
	}
	return mech, nil
}

// hmacSHA256 computes answers to known tests; no key of the service comes here.
func hmacSHA256(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}

// unhex decodes the constants of this package.
func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("hsm: a test vector is not hexadecimal")
	}
	return b
}
