package hsm

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/miekg/pkcs11"
)

// bareKeys are session objects with known values, for calls without a domain.
type bareKeys struct {
	*session
	message, mac, wrapping, leaving object
	public, private                 object
}

var bareMaterial = bytes.Repeat([]byte("kms11 "), 6)[:32]

// bare runs fn with a session of the lane for short calls.
func bare(t testing.TB, token *Token, fn func(*bareKeys)) {
	t.Helper()
	err := token.do(t.Context(), laneShort, func(s *session) (err error) {
		k := &bareKeys{session: s}
		for _, made := range []struct {
			object *object
			kind   secretKind
			place  placement
		}{
			{&k.message, messageKeyKind, inUse}, {&k.mac, macKind, inUse},
			{&k.wrapping, wrapKeyKind, inUse}, {&k.leaving, macKind, leaving},
		} {
			if *made.object, err = s.createObject(made.kind.known(made.place, bareMaterial)); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.destroyObject(*made.object)) }()
		}
		k.public, k.private, err = s.generateKeyPair(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
			append(publicUse(useEncrypt|useVerify),
				pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, 2048),
				pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})),
			privateUse(useDecrypt|useSign))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.destroyObject(k.public), s.destroyObject(k.private)) }()
		fn(k)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A binding does with miekg/pkcs11 what a session does by its crossing.
type binding struct{ *session }

func (b binding) encrypt(mech uint, parameter any, key object, plaintext []byte) ([]byte, error) {
	if err := b.ctx().EncryptInit(b.handle, mechanism(mech, parameter), key); err != nil {
		return nil, err
	}
	return b.ctx().Encrypt(b.handle, plaintext)
}

func (b binding) sealGCM(key object, iv, aad, plaintext []byte) ([]byte, error) {
	p := pkcs11.NewGCMParams(iv, aad, tagSize*8)
	defer p.Free()
	return b.encrypt(pkcs11.CKM_AES_GCM, p, key, plaintext)
}

func (b binding) sign(mech uint, key object, data []byte) ([]byte, error) {
	if err := b.ctx().SignInit(b.handle, mechanism(mech, nil), key); err != nil {
		return nil, err
	}
	return b.ctx().Sign(b.handle, data)
}

func same(t *testing.T, what string, got []byte, err error, want []byte, wantErr error) {
	t.Helper()
	if err != nil || wantErr != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes (%v), the binding %d (%v)", what, len(got), err, len(want), wantErr)
	}
}

// CheckAnswers compares the crossing's answers with the binding's.
func CheckAnswers(t *testing.T, token *Token) {
	iv := bytes.Repeat([]byte{7}, ivSize)
	bare(t, token, func(k *bareKeys) {
		b := binding{k.session}
		for _, n := range []int{0, 1, 16, 32, 4096, 100_000} {
			for _, aad := range [][]byte{nil, {}, []byte("aad")} {
				text := bytes.Repeat([]byte{byte(n)}, n)
				sealed, err := k.sealGCM(k.message, iv, aad, text)
				want, wantErr := b.sealGCM(k.message, iv, aad, text)
				same(t, "GCM", sealed, err, want, wantErr)
				opened, err := k.openGCM(k.message, iv, aad, sealed)
				same(t, "GCM back", opened, err, text, nil)
			}
		}
		blocks := bytes.Repeat([]byte{1}, 64)
		got, err := k.encrypt(pkcs11.CKM_AES_ECB, nil, k.message, blocks)
		want, wantErr := b.encrypt(pkcs11.CKM_AES_ECB, nil, k.message, blocks)
		same(t, "ECB", got, err, want, wantErr)
		for _, data := range [][]byte{nil, []byte("x"), make([]byte, 5000)} {
			got, err = k.sign(pkcs11.CKM_SHA256_HMAC, nil, k.mac, data)
			want, wantErr = b.sign(pkcs11.CKM_SHA256_HMAC, k.mac, data)
			same(t, "HMAC", got, err, want, wantErr)
			same(t, "HMAC by the standard library", got, err, hmacSHA256(bareMaterial, data), nil)
		}
		got, err = k.sign(pkcs11.CKM_SHA256_RSA_PKCS, nil, k.private, blocks)
		want, wantErr = b.sign(pkcs11.CKM_SHA256_RSA_PKCS, k.private, blocks)
		same(t, "RSA", got, err, want, wantErr)
		if err := k.verify(pkcs11.CKM_SHA256_RSA_PKCS, nil, k.public, blocks, got); err != nil {
			t.Errorf("verify: %v", err)
		}
		oaep := pkcs11.NewOAEPParams(pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, pkcs11.CKZ_DATA_SPECIFIED, nil)
		for _, p := range []struct {
			mech  uint
			seal  any
			unpad any
		}{{pkcs11.CKM_RSA_PKCS_OAEP, oaep, oaep}, {pkcs11.CKM_RSA_PKCS, nil, nil}} {
			got, err = b.encrypt(p.mech, p.seal, k.public, []byte("text"))
			if err == nil {
				got, err = k.decrypt(p.mech, p.unpad, k.private, got)
			}
			same(t, "RSA decrypt of the binding's", got, err, []byte("text"), nil)
			if got, err = k.encrypt(p.mech, p.seal, k.public, nil); err == nil {
				got, err = k.decrypt(p.mech, p.unpad, k.private, got)
			}
			same(t, "RSA and back, empty", got, err, nil, nil)
		}
		blob, err := k.wrapKey(pkcs11.CKM_AES_KEY_WRAP, nil, k.wrapping, k.leaving)
		want, wantErr = k.ctx().WrapKey(k.handle, mechanism(pkcs11.CKM_AES_KEY_WRAP, nil), k.wrapping, k.leaving)
		same(t, "wrap", blob, err, want, wantErr)
		types := []uint{pkcs11.CKA_MODULUS, pkcs11.CKA_CLASS, pkcs11.CKA_LABEL}
		values, err := k.attributes(k.public, types...)
		var list []*attribute
		for _, a := range types {
			list = append(list, pkcs11.NewAttribute(a, nil))
		}
		list, wantErr = k.ctx().GetAttributeValue(k.handle, k.public, list)
		for i := range list {
			same(t, "attribute", values[i], err, list[i].Value, wantErr)
		}
		random, err := k.random(4096)
		if other, e := k.random(4096); err != nil || e != nil || bytes.Equal(random, other) || bytes.Count(random, []byte{0}) > 100 {
			t.Errorf("random: %v, %v", err, e)
		}
	})
}

// CheckFailures has calls fail in every way, each followed by one that must go well.
func CheckFailures(t *testing.T, token *Token) {
	iv, text := make([]byte, ivSize), []byte("some text")
	bare(t, token, func(k *bareKeys) {
		sealed, err := k.sealGCM(k.message, iv, nil, text)
		if err != nil {
			t.Fatal(err)
		}
		forged := slices.Concat(sealed[:len(sealed)-1], []byte{^sealed[len(sealed)-1]})
		for _, c := range []struct {
			name, text string // of the error
			call       func() ([]byte, error)
		}{
			{"forged", "C_Decrypt(CKM_AES_GCM): CKR_GENERAL_ERROR (0x5)", func() ([]byte, error) { return k.openGCM(k.message, iv, nil, forged) }},
			{"cut", "C_Decrypt(CKM_AES_GCM): CKR_GENERAL_ERROR (0x5)", func() ([]byte, error) { return k.openGCM(k.message, iv, nil, forged[:3]) }},
			{"empty", "C_Decrypt(CKM_AES_GCM): CKR_GENERAL_ERROR (0x5)", func() ([]byte, error) { return k.openGCM(k.message, iv, nil, nil) }},
			{"no IV", "an IV of 0 bytes for AES-GCM: not 12", func() ([]byte, error) { return k.sealGCM(k.message, nil, nil, text) }},
			{"no key", "C_EncryptInit(CKM_AES_GCM): CKR_OBJECT_HANDLE_INVALID (0x82)", func() ([]byte, error) { return k.sealGCM(1<<40, iv, nil, text) }},
			{"wrong use", "C_EncryptInit(CKM_AES_GCM): CKR_KEY_FUNCTION_NOT_PERMITTED (0x68)", func() ([]byte, error) { return k.sealGCM(k.mac, iv, nil, text) }},
			{"no mechanism", "C_SignInit(mechanism 0x7FFF): CKR_MECHANISM_INVALID (0x70)", func() ([]byte, error) { return k.sign(0x7fff, nil, k.mac, text) }},
			{"part of a block", "C_Encrypt(CKM_AES_ECB): CKR_DATA_LEN_RANGE (0x21)", func() ([]byte, error) { return k.encrypt(pkcs11.CKM_AES_ECB, nil, k.message, text) }},
			{"RSA padding", "C_Decrypt(CKM_RSA_PKCS): CKR_GENERAL_ERROR (0x5)", func() ([]byte, error) { return k.decrypt(pkcs11.CKM_RSA_PKCS, nil, k.private, make([]byte, 256)) }},
			{"signature", "C_Verify(CKM_SHA256_RSA_PKCS): CKR_SIGNATURE_INVALID (0xC0)", func() ([]byte, error) {
				return nil, k.verify(pkcs11.CKM_SHA256_RSA_PKCS, nil, k.public, text, make([]byte, 256))
			}},
			{"short signature", "C_Verify(CKM_SHA256_RSA_PKCS): CKR_SIGNATURE_LEN_RANGE (0xC1)", func() ([]byte, error) {
				return nil, k.verify(pkcs11.CKM_SHA256_RSA_PKCS, nil, k.public, text, nil)
			}},
			{"resident", "C_WrapKey(CKM_AES_KEY_WRAP): CKR_KEY_UNEXTRACTABLE (0x6A)", func() ([]byte, error) {
				return k.wrapKey(pkcs11.CKM_AES_KEY_WRAP, nil, k.wrapping, k.message)
			}},
			{"parameter", "a mechanism's parameter cannot be of type int", func() ([]byte, error) { return k.sign(pkcs11.CKM_SHA256_HMAC, 7, k.mac, text) }},
			{"sensitive", "C_GetAttributeValue: CKR_ATTRIBUTE_SENSITIVE (0x11)", func() ([]byte, error) {
				_, err := k.attributes(k.message, pkcs11.CKA_CLASS, pkcs11.CKA_VALUE)
				return nil, err
			}},
			{"template", "C_CreateObject: CKR_TEMPLATE_INCOMPLETE (0xD0)", func() ([]byte, error) {
				_, err := k.createObject(nil)
				return nil, err
			}},
		} {
			if got, err := c.call(); err == nil || err.Error() != c.text || got != nil {
				t.Errorf("%s: %x, %v", c.name, got, err)
			}
			if got, err := k.openGCM(k.message, iv, nil, sealed); err != nil || !bytes.Equal(got, text) {
				t.Errorf("after %s: %v", c.name, err)
			}
			if _, err := k.sign(pkcs11.CKM_SHA256_HMAC, nil, k.mac, text); err != nil {
				t.Errorf("after %s: %v", c.name, err)
			}
		}
	})
}

// CheckSmallBuffers begins with one byte of room each time.
func CheckSmallBuffers(t *testing.T, token *Token) {
	iv, text := make([]byte, ivSize), bytes.Repeat([]byte("text"), 100)
	bare(t, token, func(k *bareKeys) {
		x := k.crossing()
		sealed, err := k.sealGCM(k.message, iv, nil, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			m    message
			want []byte
		}{
			{message{operation: &opEncrypt, key: k.message, in: text, iv: iv}, sealed},
			{message{operation: &opDecrypt, key: k.message, in: sealed, iv: iv}, text},
			{message{operation: &opSign, key: k.mac, in: text, mechanism: pkcs11.CKM_SHA256_HMAC}, hmacSHA256(bareMaterial, text)},
		} {
			c.m.session = k.handle
			for range 2 {
				got, function, err := x.do(&c.m, make([]byte, 1))
				if err != nil || !bytes.Equal(got, c.want) {
					t.Errorf("%s: %d bytes, %s: %v", c.m.operation.run, len(got), function, err)
				}
			}
		}
		got, err := x.wrap(k.handle, pkcs11.CKM_AES_KEY_WRAP, nil, k.wrapping, k.leaving, make([]byte, 1))
		want, wantErr := k.wrapKey(pkcs11.CKM_AES_KEY_WRAP, nil, k.wrapping, k.leaving)
		same(t, "wrap", got, err, want, wantErr)
	})
}

// Forge gives the token n forged messages of size bytes under one key.
func Forge(t testing.TB, token *Token, n, size int) {
	iv, sealed := make([]byte, ivSize), make([]byte, size)
	bare(t, token, func(k *bareKeys) {
		for range n {
			if _, err := k.openGCM(k.message, iv, nil, sealed); !errors.Is(err, ErrBadCiphertext) {
				t.Fatal(err)
			}
		}
	})
}

// BenchCalls measures calls with and without the crossing.
func BenchCalls(b *testing.B, token *Token) {
	iv, aad, text := make([]byte, ivSize), make([]byte, 64), make([]byte, 32)
	bare(b, token, func(k *bareKeys) {
		old := binding{k.session}
		for _, c := range []struct {
			name string
			call func() ([]byte, error)
		}{
			{"GCM-32B/crossing", func() ([]byte, error) { return k.sealGCM(k.message, iv, aad, text) }},
			{"GCM-32B/binding", func() ([]byte, error) { return old.sealGCM(k.message, iv, aad, text) }},
			{"HMAC-32B/crossing", func() ([]byte, error) { return k.sign(pkcs11.CKM_SHA256_HMAC, nil, k.mac, text) }},
			{"HMAC-32B/binding", func() ([]byte, error) { return old.sign(pkcs11.CKM_SHA256_HMAC, k.mac, text) }},
			{"Random-32B/crossing", func() ([]byte, error) { return k.random(32) }},
			{"Random-32B/binding", func() ([]byte, error) { return k.ctx().GenerateRandom(k.handle, 32) }},
			{"Wrap/crossing", func() ([]byte, error) {
				return k.wrapKey(pkcs11.CKM_AES_KEY_WRAP, nil, k.wrapping, k.leaving)
			}},
			{"Wrap/binding", func() ([]byte, error) {
				return k.ctx().WrapKey(k.handle, mechanism(pkcs11.CKM_AES_KEY_WRAP, nil), k.wrapping, k.leaving)
			}},
		} {
			b.Run(c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.call(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
}
