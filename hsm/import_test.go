package hsm_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"math/big"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// wrapOutside wraps material as somebody who imports it does, with the standard library alone.
func wrapOutside(t testing.TB, spki []byte, algorithm kms.AlgorithmSpec, material []byte) []byte {
	t.Helper()
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	newHash := map[kms.AlgorithmSpec]func() hash.Hash{
		kms.AlgorithmSpecRsaesOaepSha1: sha1.New, kms.AlgorithmSpecRsaAesKeyWrapSha1: sha1.New,
		kms.AlgorithmSpecRsaesOaepSha256: sha256.New, kms.AlgorithmSpecRsaAesKeyWrapSha256: sha256.New,
	}[algorithm]
	oaep := func(message []byte) []byte {
		out, err := rsa.EncryptOAEP(newHash(), rand.Reader, key.(*rsa.PublicKey), message, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if algorithm == kms.AlgorithmSpecRsaesOaepSha1 || algorithm == kms.AlgorithmSpecRsaesOaepSha256 {
		return oaep(material)
	}
	ephemeral := make([]byte, 32)
	_, _ = rand.Read(ephemeral)
	return append(oaep(ephemeral), keyWrapPad(t, ephemeral, material)...)
}

// keyWrapPad is RFC 5649, section 4.1, for more than 8 bytes.
func keyWrapPad(t testing.TB, kek, key []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	return wrapBlocks(block, key)
}

func wrapBlocks(block cipher.Block, key []byte) []byte {
	var a [8]byte
	binary.BigEndian.PutUint32(a[:], 0xa65959a6)
	binary.BigEndian.PutUint32(a[4:], uint32(len(key)))
	r := append(bytes.Clone(key), make([]byte, (8-len(key)%8)%8)...)
	b := make([]byte, 16)
	step := uint64(0)
	for range 6 {
		for i := 0; i < len(r); i += 8 {
			step++
			copy(b, a[:])
			copy(b[8:], r[i:i+8])
			block.Encrypt(b, b)
			binary.BigEndian.PutUint64(a[:], binary.BigEndian.Uint64(b)^step)
			copy(r[i:], b[8:])
		}
	}
	return append(a[:], r...)
}

// importer wraps to one pair of a domain and imports.
type importer struct {
	t    testing.TB
	d    *hsm.Domain
	size kms.WrappingKeySpec
	pair kms.Material
}

func newImporter(t testing.TB, d *hsm.Domain, size kms.WrappingKeySpec) *importer {
	t.Helper()
	pair, err := d.ImportPair(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	return &importer{t, d, size, pair}
}

func (i *importer) raw(spec kms.KeySpec, usage kms.KeyUsageType, algorithm kms.AlgorithmSpec, wrapped []byte) (kms.Material, error) {
	return i.d.ImportKey(i.t.Context(), hsm.ImportRequest{
		KeyRequest: hsm.KeyRequest{Spec: spec, Usage: usage, KeyID: "the key"},
		Pair:       &i.pair, WrappingKey: i.size, Algorithm: algorithm, Wrapped: wrapped,
	})
}

func (i *importer) bring(spec kms.KeySpec, usage kms.KeyUsageType, algorithm kms.AlgorithmSpec, material []byte) (kms.Material, error) {
	i.t.Helper()
	return i.raw(spec, usage, algorithm, wrapOutside(i.t, i.pair.PublicKey, algorithm, material))
}

var wrappingAlgorithms = []kms.AlgorithmSpec{
	kms.AlgorithmSpecRsaesOaepSha1, kms.AlgorithmSpecRsaesOaepSha256,
	kms.AlgorithmSpecRsaAesKeyWrapSha1, kms.AlgorithmSpecRsaAesKeyWrapSha256,
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func spkiOf(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// A knownPair is a private key that was made outside.
type knownPair struct {
	spec   kms.KeySpec
	usage  kms.KeyUsageType
	secret []byte // PKCS#8
	public []byte // SPKI
}

// knownPairs are keys of every spec and usage.
func knownPairs(t testing.TB) []knownPair {
	t.Helper()
	const sign, agree, decrypt = kms.KeyUsageTypeSignVerify, kms.KeyUsageTypeKeyAgreement, kms.KeyUsageTypeEncryptDecrypt
	var keys []knownPair
	for _, c := range []struct {
		spec  kms.KeySpec
		curve elliptic.Curve
	}{{kms.KeySpecEccNistP256, elliptic.P256()}, {kms.KeySpecEccNistP384, elliptic.P384()}, {kms.KeySpecEccNistP521, elliptic.P521()}} {
		for _, usage := range []kms.KeyUsageType{sign, agree} {
			k, err := ecdsa.GenerateKey(c.curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, knownPair{c.spec, usage, pkcs8(t, k), spkiOf(t, k.Public())})
		}
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys = append(keys, knownPair{edSpec, sign, pkcs8(t, private), spkiOf(t, public)})
	for bits, spec := range map[int]kms.KeySpec{2048: kms.KeySpecRsa2048, 3072: kms.KeySpecRsa3072, 4096: kms.KeySpecRsa4096} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		for _, usage := range []kms.KeyUsageType{sign, decrypt} {
			keys = append(keys, knownPair{spec, usage, pkcs8(t, k), spkiOf(t, k.Public())})
		}
	}
	return append(keys, knownKoblitz()...)
}

// knownKoblitz are two keys on secp256k1, 2 and the order less 2, whose points differ in the sign of
// y only. The PKCS#8 forms do not hold the public key. The point 2G is the well-known one.
func knownKoblitz() []knownPair {
	const (
		info = "303e020100301006072a8648ce3d020106052b8104000a0427302502010104" + "20"
		spki = "3056301006072a8648ce3d020106052b8104000a034200" + "04"
		x    = "c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"
		y    = "1ae168fea63dc339a3c58419466ceaeef7f632653266d0e1236431a950cfe52a"
		p    = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"
		n    = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
	)
	number := func(s string) *big.Int { i, _ := new(big.Int).SetString(s, 16); return i }
	bytesOf := func(head string, numbers ...*big.Int) []byte {
		out, _ := hex.DecodeString(head)
		for _, i := range numbers {
			out = append(out, i.FillBytes(make([]byte, 32))...)
		}
		return out
	}
	two := big.NewInt(2)
	return []knownPair{
		{kms.KeySpecEccSecgP256k1, kms.KeyUsageTypeSignVerify, bytesOf(info, two), bytesOf(spki, number(x), number(y))},
		{kms.KeySpecEccSecgP256k1, kms.KeyUsageTypeSignVerify, bytesOf(info, new(big.Int).Sub(number(n), two)),
			bytesOf(spki, number(x), new(big.Int).Sub(number(p), number(y)))},
	}
}

// ownWrappings are the wrapping algorithms of the tests' kind of token.
func ownWrappings() []kms.AlgorithmSpec {
	if hsmtest.Has(hsmtest.ForeignKWP) {
		return wrappingAlgorithms
	}
	return wrappingAlgorithms[:2]
}

// importable says whether material may be wrapped in this way at all.
func importable(k knownPair, algorithm kms.AlgorithmSpec, size kms.WrappingKeySpec) bool {
	row, _ := kms.SpecOf(k.spec)
	twoSteps := algorithm == kms.AlgorithmSpecRsaAesKeyWrapSha1 || algorithm == kms.AlgorithmSpecRsaAesKeyWrapSha256
	return twoSteps || row.Family != kms.FamilyRSA && (k.spec != kms.KeySpecEccNistP521 || size != kms.WrappingKeySpecRsa2048)
}

// hasSpec says whether the tests' token has keys of a spec that not every token has.
func hasSpec(spec kms.KeySpec) bool {
	switch spec {
	case edSpec:
		return hsmtest.Has(hsmtest.Ed25519)
	case kms.KeySpecEccSecgP256k1:
		return hsmtest.Has(hsmtest.Secp256k1)
	}
	return true
}

// TestImportPrivate brings private keys of every spec in by every way, to wrapping keys of every
// size, and uses them against the standard library.
func TestImportPrivate(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	keys, ids := knownPairs(t), map[string]string{}
	for _, size := range []kms.WrappingKeySpec{kms.WrappingKeySpecRsa2048, kms.WrappingKeySpecRsa3072, kms.WrappingKeySpecRsa4096} {
		i := newImporter(t, d, size)
		for _, k := range keys {
			for _, algorithm := range ownWrappings() {
				if !importable(k, algorithm, size) || !hasSpec(k.spec) {
					continue
				}
				m, err := i.bring(k.spec, k.usage, algorithm, k.secret)
				if err != nil {
					t.Errorf("%s for %s by %s: %v", k.spec, k.usage, algorithm, err)
					continue
				}
				if !bytes.Equal(m.PublicKey, k.public) {
					t.Errorf("%s by %s: public key %x, want %x", k.spec, algorithm, m.PublicKey, k.public)
				}
				if first, ok := ids[string(k.public)]; ok && first != m.ID {
					t.Errorf("%s by %s: another id", k.spec, algorithm)
				}
				ids[string(k.public)] = m.ID
				row, _ := kms.SpecOf(k.spec)
				resides := k.spec == edSpec && hsmtest.Has(hsmtest.Resident) || row.Family == kms.FamilyECC && !hsmtest.Has(hsmtest.WrappedEC)
				if (len(m.ObjectID) > 0) != resides || (len(m.Blob) > 0) == resides {
					t.Errorf("%s: blob of %d bytes, object %x", k.spec, len(m.Blob), m.ObjectID)
				}
				use, _ := row.Use(k.usage)
				useKey(t, d, &m, k.spec, use)
				if err := d.Destroy(t.Context(), &m); err != nil {
					t.Error(err)
				}
			}
		}
	}
	want := map[string]bool{}
	for _, k := range keys {
		if row, _ := kms.SpecOf(k.spec); hasSpec(k.spec) && (row.Family != kms.FamilyRSA || hsmtest.Has(hsmtest.ForeignKWP)) {
			want[string(k.public)] = true
		}
	}
	if len(ids) != len(want) {
		t.Errorf("%d ids for %d keys", len(ids), len(want))
	}
	wantClosed(t, token)
}

// wantClosed wants no key in the token that may leave it or be read.
func wantClosed(t testing.TB, token *hsm.Token) {
	t.Helper()
	for _, o := range hsm.Objects(t, token) {
		if o.Class != pkcs11.CKO_PUBLIC_KEY && (!o.Sensitive || o.Extractable || o.ValueErr == nil) {
			t.Errorf("left behind: %s", o)
		}
	}
}

// macOutside is the MAC of "m" by the standard library.
func macOutside(algorithm kms.MacAlgorithmSpec, key []byte) []byte {
	for _, c := range macSpecs {
		if c.algorithm == algorithm {
			return goMAC(c.hash, key, []byte("m"))
		}
	}
	return nil
}

// TestImportSecret brings secret keys of every length in by both ways of OAEP.
func TestImportSecret(t *testing.T) {
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), PairsAhead: -1})
	d := hsmtest.Domain(t, token)
	i := newImporter(t, d, kms.WrappingKeySpecRsa2048)
	objects := len(hsm.Objects(t, token))
	for _, spec := range kms.Specs() {
		if spec.Import != kms.ImportRaw {
			continue
		}
		for _, n := range []int{1, 16, 24, 27, 28, 29, 31, 32, 33, 47, 48, 63, 64, 65, 72, 100, 127, 128, 129, 136} {
			material := make([]byte, n)
			_, _ = rand.Read(material)
			id := ""
			for _, algorithm := range wrappingAlgorithms[:2] {
				m, err := i.bring(spec.KeySpec, spec.Uses[0].Usage, algorithm, material)
				if n < spec.ImportMin || n > spec.ImportMax {
					if !errors.Is(err, hsm.ErrBadMaterial) {
						t.Errorf("%s, %d bytes by %s: %v", spec.KeySpec, n, algorithm, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s, %d bytes by %s: %v", spec.KeySpec, n, algorithm, err)
					continue
				}
				if id != "" && id != m.ID {
					t.Errorf("%s, %d bytes: another id by %s", spec.KeySpec, n, algorithm)
				}
				id = m.ID
				if spec.Family == kms.FamilyHMAC {
					got, err := d.GenerateMac(t.Context(), &m, spec.Uses[0].Mac[0], []byte("m"))
					if want := macOutside(spec.Uses[0].Mac[0], material); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s, %d bytes by %s: MAC %x, want %x, %v", spec.KeySpec, n, algorithm, got, want, err)
					}
				}
				if err := d.Destroy(t.Context(), &m); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if n := len(hsm.Objects(t, token)); n != objects {
		t.Errorf("%d objects, %d before", n, objects)
	}
}
