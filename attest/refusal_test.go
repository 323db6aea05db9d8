package attest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/attest/attesttest"
)

func expect(t *testing.T, v *attest.Verifier, document []byte, want error) {
	t.Helper()
	d, err := v.Verify(document)
	if !errors.Is(err, want) || want != nil && d != nil {
		t.Errorf("got %v, want %v", err, want)
	}
	for _, kind := range kinds {
		if kind != want && errors.Is(err, kind) {
			t.Errorf("it is %v too", kind)
		}
	}
}

var kinds = []error{
	attest.ErrMalformed, attest.ErrAlgorithm, attest.ErrChain,
	attest.ErrSignature, attest.ErrExpired, attest.ErrPublicKey,
}

// TestClaims changes one field of a payload, which is then signed as it is.
func TestClaims(t *testing.T) {
	chain := attesttest.NewChain(t, now)
	blob := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
	pcrs := func(index any, value any) map[any]any { return map[any]any{index: value} }
	type missing struct{}
	malformed := attest.ErrMalformed
	cases := []struct {
		name, field string
		value       any
		want        error
	}{
		{"no module", "module_id", missing{}, malformed},
		{"null module", "module_id", nil, malformed},
		{"empty module", "module_id", "", malformed},
		{"module as bytes", "module_id", []byte("i-1"), malformed},
		{"module that is not UTF-8", "module_id", "\xff", malformed},
		{"no digest", "digest", missing{}, malformed},
		{"SHA256", "digest", "SHA256", malformed},
		{"lower-case digest", "digest", "sha384", malformed},
		{"no timestamp", "timestamp", missing{}, malformed},
		{"timestamp 0", "timestamp", 0, malformed},
		{"negative timestamp", "timestamp", -1, malformed},
		{"float timestamp", "timestamp", 1.5, malformed},
		{"timestamp as text", "timestamp", "1", malformed},
		{"timestamp past the year 9999", "timestamp", uint64(253402300800000), malformed},
		{"timestamp of all ones", "timestamp", ^uint64(0), malformed},
		{"timestamp of the year 1970", "timestamp", 1, attest.ErrExpired},
		{"no PCRs", "pcrs", missing{}, malformed},
		{"empty PCRs", "pcrs", map[int]int{}, malformed},
		{"PCRs as array", "pcrs", [][]byte{blob(48)}, malformed},
		{"PCR31", "pcrs", pcrs(31, blob(48)), nil},
		{"PCR32", "pcrs", pcrs(32, blob(48)), malformed},
		{"PCR256", "pcrs", pcrs(256, blob(48)), malformed},
		{"PCR-1", "pcrs", pcrs(-1, blob(48)), malformed},
		{"PCR 1.0", "pcrs", pcrs(1.0, blob(48)), malformed},
		{"PCR index as text", "pcrs", pcrs("0", blob(48)), malformed},
		{"PCR of 32 bytes", "pcrs", pcrs(0, blob(32)), nil},
		{"PCR of 64 bytes", "pcrs", pcrs(0, blob(64)), nil},
		{"PCR of 0 bytes", "pcrs", pcrs(0, blob(0)), malformed},
		{"PCR of 47 bytes", "pcrs", pcrs(0, blob(47)), malformed},
		{"PCR of 65 bytes", "pcrs", pcrs(0, blob(65)), malformed},
		{"PCR as text", "pcrs", pcrs(0, string(blob(48))), malformed},
		{"PCR as array of numbers", "pcrs", pcrs(0, slices.Repeat([]int{1}, 48)), malformed},
		{"null PCR", "pcrs", pcrs(0, nil), malformed},
		{"no certificate", "certificate", missing{}, malformed},
		{"empty certificate", "certificate", blob(0), malformed},
		{"certificate of 1025 bytes", "certificate", blob(1025), malformed},
		{"certificate that is none", "certificate", blob(1024), attest.ErrChain},
		{"certificate with trailing bytes", "certificate",
			slices.Concat(chain.Certificates[attesttest.Enclave].Raw, blob(1)), attest.ErrChain},
		{"no bundle", "cabundle", missing{}, malformed},
		{"empty bundle", "cabundle", [][]byte{}, malformed},
		{"bundle that is bytes", "cabundle", blob(3), malformed},
		{"bundle with an empty certificate", "cabundle", [][]byte{{}}, malformed},
		{"bundle with 1025 bytes", "cabundle", [][]byte{blob(1025)}, malformed},
		{"bundle of 17", "cabundle", slices.Repeat([][]byte{chain.Certificates[0].Raw}, 17), malformed},
		{"no key", "public_key", missing{}, attest.ErrPublicKey},
		{"null key", "public_key", nil, attest.ErrPublicKey},
		{"empty key", "public_key", blob(0), attest.ErrPublicKey},
		{"key of 1025 bytes", "public_key", blob(1025), malformed},
		{"key as text", "public_key", "key", malformed},
		{"key that is none", "public_key", blob(1024), attest.ErrPublicKey},
		{"no user data", "user_data", missing{}, nil},
		{"empty user data", "user_data", blob(0), nil},
		{"user data of 1024 bytes", "user_data", blob(1024), nil},
		{"user data of 1025 bytes", "user_data", blob(1025), malformed},
		{"user data as text", "user_data", "x", malformed},
		{"no nonce", "nonce", missing{}, nil},
		{"nonce of 1025 bytes", "nonce", blob(1025), malformed},
		{"unknown field", "debug", true, malformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			claims := claimsOf(t, chain)
			claims[c.field] = c.value
			if c.value == (any)(missing{}) {
				delete(claims, c.field)
			}
			expect(t, verifier(chain.Roots()), chain.Document(t, claims), c.want)
		})
	}
}

// TestPublicKeys: what a document may carry as its recipient's key.
func TestPublicKeys(t *testing.T) {
	chain := attesttest.NewChain(t, now)
	// Verify does not look for factors, so a modulus need not have any.
	modulus := func(bits int) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return n.SetBit(n, 0, 1)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		key  any
		want error
	}{
		{"RSA 2048", &rsa.PublicKey{N: modulus(2048), E: 65537}, nil},
		{"RSA 3072", &rsa.PublicKey{N: modulus(3072), E: 3}, nil},
		{"RSA 4096", &rsa.PublicKey{N: modulus(4096), E: 65537}, nil},
		{"RSA 2047", &rsa.PublicKey{N: modulus(2047), E: 65537}, attest.ErrPublicKey},
		{"RSA 1024", &rsa.PublicKey{N: modulus(1024), E: 65537}, attest.ErrPublicKey},
		{"RSA 4097", &rsa.PublicKey{N: modulus(4097), E: 65537}, attest.ErrPublicKey},
		{"exponent 1", &rsa.PublicKey{N: modulus(2048), E: 1}, attest.ErrPublicKey},
		{"exponent 2", &rsa.PublicKey{N: modulus(2048), E: 2}, attest.ErrPublicKey},
		{"exponent 65536", &rsa.PublicKey{N: modulus(2048), E: 65536}, attest.ErrPublicKey},
		{"P-384", &ec.PublicKey, attest.ErrPublicKey},
		{"Ed25519", ed, attest.ErrPublicKey},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			der, err := x509.MarshalPKIXPublicKey(c.key)
			if err != nil {
				t.Fatal(err)
			}
			claims := claimsOf(t, chain)
			claims["public_key"] = der
			expect(t, verifier(chain.Roots()), chain.Document(t, claims), c.want)
		})
	}
	t.Run("PKCS #1", func(t *testing.T) {
		claims := claimsOf(t, chain)
		claims["public_key"] = x509.MarshalPKCS1PublicKey(&recipientKey().PublicKey)
		expect(t, verifier(chain.Roots()), chain.Document(t, claims), attest.ErrPublicKey)
	})
	t.Run("trailing bytes", func(t *testing.T) {
		claims := claimsOf(t, chain)
		claims["public_key"] = append(claims["public_key"].([]byte), 0)
		expect(t, verifier(chain.Roots()), chain.Document(t, claims), attest.ErrPublicKey)
	})
}

// TestMessages changes the COSE message around a good payload.
func TestMessages(t *testing.T) {
	chain := attesttest.NewChain(t, now)
	payload := attesttest.Encode(t, claimsOf(t, chain))
	good := chain.Sign(t, payload)
	encode := func(value any) []byte { return attesttest.Encode(t, value) }
	es384 := encode(map[int]int{1: -35})
	signature := good[len(good)-96:]
	flipped := func(offset int) []byte {
		d := bytes.Clone(good)
		d[offset] ^= 1
		return d
	}
	headed := func(header any) []byte { return chain.SignAs(t, header, payload) }
	other := attesttest.NewChain(t, now)
	twisted := slices.Concat(signature[48:], signature[:48])
	long := func(n int) []byte { // a good payload of n bytes
		claims := claimsOf(t, chain)
		claims["module_id"] = strings.Repeat("m", n-len(payload)+len(claims["module_id"].(string))-1)
		return attesttest.Encode(t, claims)
	}
	field := func(name string) int { return bytes.Index(good, []byte(name)) + len(name) + 4 }
	cases := []struct {
		name     string
		document []byte
		want     error
	}{
		{"nothing", nil, attest.ErrMalformed},
		{"only a tag", []byte{0xd2}, attest.ErrMalformed},
		{"not CBOR", []byte("hEShATgi"), attest.ErrMalformed},
		{"cut off", good[:len(good)-1], attest.ErrMalformed},
		{"trailing byte", append(bytes.Clone(good), 0), attest.ErrMalformed},
		{"two messages", slices.Concat(good, good), attest.ErrMalformed},
		{"tag 17", slices.Concat([]byte{0xd1}, good), attest.ErrMalformed},
		{"tag 98, COSE_Sign", slices.Concat([]byte{0xd8, 98}, good), attest.ErrMalformed},
		{"tag 18 twice", slices.Concat([]byte{0xd2, 0xd2}, good), attest.ErrMalformed},
		{"over the limit", slices.Concat(good, make([]byte, 16640)), attest.ErrMalformed},
		{"payload of 16384 bytes", chain.Sign(t, long(16384)), nil},
		{"payload of 16385 bytes", chain.Sign(t, long(16385)), attest.ErrMalformed},
		{"empty payload", chain.Sign(t, nil), attest.ErrMalformed},
		{"payload that is a number", chain.Sign(t, []byte{1}), attest.ErrMalformed},
		{"payload with trailing byte", chain.Sign(t, append(bytes.Clone(payload), 0)), attest.ErrMalformed},
		{"tagged payload", chain.Sign(t, slices.Concat([]byte{0xd8, 55, 0x99}, payload)), attest.ErrMalformed},
		{"three elements", encode([]any{es384, map[int]int{}, payload}), attest.ErrMalformed},
		{"five elements", encode([]any{es384, map[int]int{}, payload, signature, 0}), attest.ErrMalformed},
		{"detached payload", encode([]any{es384, map[int]int{}, nil, signature}), attest.ErrMalformed},
		{"unprotected header", encode([]any{es384, map[int]int{4: 1}, payload, signature}), attest.ErrMalformed},
		{"null unprotected header", encode([]any{es384, nil, payload, signature}), attest.ErrMalformed},
		{"signature of 95 bytes", encode([]any{es384, map[int]int{}, payload, signature[1:]}), attest.ErrMalformed},
		{"signature of 97 bytes", encode([]any{es384, map[int]int{}, payload, slices.Concat(signature, []byte{0})}), attest.ErrMalformed},
		{"signature as text", encode([]any{es384, map[int]int{}, payload, "x"}), attest.ErrMalformed},
		{"header not encoded", encode([]any{map[int]int{1: -35}, map[int]int{}, payload, signature}), attest.ErrMalformed},
		{"header that is an array", headed([]int{1, -35}), attest.ErrMalformed},
		{"header with crit", headed(map[int]any{1: -35, 2: []int{1}}), attest.ErrMalformed},
		{"header with content type", headed(map[int]int{1: -35, 3: 0}), attest.ErrMalformed},
		{"empty header", headed(map[int]int{}), attest.ErrAlgorithm},
		{"ES256", headed(map[int]int{1: -7}), attest.ErrAlgorithm},
		{"ES512", headed(map[int]int{1: -36}), attest.ErrAlgorithm},
		{"EdDSA", headed(map[int]int{1: -8}), attest.ErrAlgorithm},
		{"HMAC", headed(map[int]int{1: 5}), attest.ErrAlgorithm},
		{"algorithm under another label", headed(map[int]int{3: -35}), attest.ErrAlgorithm},
		{"signature changed at its start", flipped(len(good) - 96), attest.ErrSignature},
		{"signature changed at its end", flipped(len(good) - 1), attest.ErrSignature},
		{"r and s swapped", encode([]any{es384, map[int]int{}, payload, twisted}), attest.ErrSignature},
		{"signature of zeros", encode([]any{es384, map[int]int{}, payload, make([]byte, 96)}), attest.ErrSignature},
		{"signed by somebody else", other.Sign(t, payload), attest.ErrSignature},
		{"module changed", flipped(field("module_id")), attest.ErrSignature},
		{"key changed", flipped(field("public_key") + 100), attest.ErrSignature},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { expect(t, verifier(chain.Roots()), c.document, c.want) })
	}
}

// TestEveryByteCounts: a document with one bit changed is refused. A stride of 13 keeps the test
// short; 1 holds too.
func TestEveryByteCounts(t *testing.T) {
	chain := attesttest.NewChain(t, now)
	claims := claimsOf(t, chain)
	claims["pcrs"] = map[int][]byte{0: make([]byte, 48)}
	document := chain.Document(t, claims)
	v := verifier(chain.Roots())
	for offset := 0; offset < len(document); offset += 13 {
		document[offset] ^= 1 << (offset % 8)
		if _, err := v.Verify(document); err == nil {
			t.Errorf("accepted with byte %d changed", offset)
		}
		document[offset] ^= 1 << (offset % 8)
	}
}

// TestHostileCBOR signs payloads that no encoder makes.
func TestHostileCBOR(t *testing.T) {
	chain := attesttest.NewChain(t, now)
	good := attesttest.Encode(t, claimsOf(t, chain))
	// A map of 9 with one more pair.
	with := func(key, value []byte) []byte {
		return slices.Concat([]byte{good[0] + 1}, good[1:], key, value)
	}
	text := func(s string) []byte { return attesttest.Encode(t, s) }
	null := []byte{0xf6}
	pcrs := func(pairs ...[]byte) []byte {
		claims := claimsOf(t, chain)
		claims["pcrs"] = map[int][]byte{0: make([]byte, 48)}
		encoded := attesttest.Encode(t, claims)
		one := slices.Concat([]byte{0xa1, 0x00, 0x58, 48}, make([]byte, 48))
		return bytes.Replace(encoded, one, slices.Concat(pairs...), 1)
	}
	pcr := slices.Concat([]byte{0x58, 48}, make([]byte, 48))
	indefinite := slices.Concat([]byte{0xbf}, good[1:], []byte{0xff})
	deep := slices.Concat(bytes.Repeat([]byte{0x81}, 5), null)
	cases := []struct {
		name    string
		payload []byte
		want    error
	}{
		{"as it is", good, nil},
		{"indefinite map", indefinite, nil},
		{"indefinite map without end", indefinite[:len(indefinite)-1], attest.ErrMalformed},
		{"one PCR", pcrs([]byte{0xa1, 0x00}, pcr), nil},
		{"a field twice", with(text("nonce"), null), attest.ErrMalformed},
		{"an unknown field", with(text("more"), null), attest.ErrMalformed},
		{"a field in capitals", bytes.Replace(good, text("nonce"), text("Nonce"), 1), attest.ErrMalformed},
		{"a field named by bytes", with([]byte{0x41, 'x'}, null), attest.ErrMalformed},
		{"a field named by a number", with([]byte{1}, null), attest.ErrMalformed},
		{"a PCR twice", pcrs([]byte{0xa2, 0x00}, pcr, []byte{0x00}, pcr), attest.ErrMalformed},
		{"a PCR twice, once in a longer form", pcrs([]byte{0xa2, 0x00}, pcr, []byte{0x18, 0x00}, pcr), attest.ErrMalformed},
		{"33 PCRs", pcrs([]byte{0xb8, 33}, bytes.Repeat(slices.Concat([]byte{0x00}, pcr), 33)), attest.ErrMalformed},
		{"deep nesting", with(text("nonce"), deep), attest.ErrMalformed},
		{"very deep nesting", bytes.Repeat([]byte{0x81}, 16000), attest.ErrMalformed},
		{"map that claims 2^32 pairs", []byte{0xba, 0xff, 0xff, 0xff, 0xff}, attest.ErrMalformed},
		{"array that claims 2^64 elements", slices.Concat([]byte{0x9b}, bytes.Repeat([]byte{0xff}, 8)), attest.ErrMalformed},
		{"bytes that claim 2^63", slices.Concat([]byte{0x5b, 0x7f}, bytes.Repeat([]byte{0xff}, 7)), attest.ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			expect(t, verifier(chain.Roots()), chain.Sign(t, c.payload), c.want)
		})
	}
}

// TestChains changes a certificate before it is signed.
func TestChains(t *testing.T) {
	type change func(c *x509.Certificate)
	at := func(place int, alter change) func(int, *x509.Certificate) {
		return func(i int, c *x509.Certificate) {
			if i == place {
				alter(c)
			}
		}
	}
	expired := func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }
	early := func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }
	usage := func(u x509.KeyUsage) change { return func(c *x509.Certificate) { c.KeyUsage = u } }
	pathLen := func(n int) change {
		return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
	}
	notCA := func(c *x509.Certificate) { c.IsCA, c.MaxPathLen = false, 0 }
	// CreateCertificate refuses to write a path length without cA.
	limited := func(c *x509.Certificate) {
		c.BasicConstraintsValid = false
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 2, 1, 0}}}
	}
	critical := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 55555, 1}, Critical: true, Value: asn1.NullBytes}}
	}
	cases := []struct {
		name   string
		place  int
		change change
		want   error
	}{
		{"as it is", attesttest.Root, func(*x509.Certificate) {}, nil},
		{"path lengths as AWS sets them", attesttest.Regional, pathLen(1), nil},
		{"last second", attesttest.Enclave, func(c *x509.Certificate) { c.NotAfter = now }, nil},
		{"first second", attesttest.Enclave, func(c *x509.Certificate) { c.NotBefore = now }, nil},
		{"root expired", attesttest.Root, expired, attest.ErrExpired},
		{"root not yet valid", attesttest.Root, early, attest.ErrExpired},
		{"CA expired", attesttest.Regional, expired, attest.ErrExpired},
		{"CA not yet valid", attesttest.Zonal, early, attest.ErrExpired},
		{"certificate expired", attesttest.Enclave, expired, attest.ErrExpired},
		{"certificate not yet valid", attesttest.Enclave, early, attest.ErrExpired},
		{"path length of root", attesttest.Root, pathLen(1), attest.ErrChain},
		{"path length of CA", attesttest.Regional, pathLen(0), attest.ErrChain},
		{"CA that is none", attesttest.Zonal, notCA, attest.ErrChain},
		{"CA without keyCertSign", attesttest.Zonal, usage(x509.KeyUsageCRLSign), attest.ErrChain},
		{"CA without key usage", attesttest.Regional, usage(0), attest.ErrChain},
		{"root without keyCertSign", attesttest.Root, usage(x509.KeyUsageDigitalSignature), attest.ErrChain},
		{"certificate without key usage", attesttest.Enclave, usage(0), attest.ErrChain},
		{"certificate without digitalSignature", attesttest.Enclave, usage(x509.KeyUsageKeyAgreement), attest.ErrChain},
		{"certificate that is a CA", attesttest.Enclave, func(c *x509.Certificate) { c.IsCA = true }, attest.ErrChain},
		{"certificate with a path length", attesttest.Enclave, limited, attest.ErrChain},
		{"unknown critical extension", attesttest.Zonal, critical, attest.ErrChain},
		{"unknown critical extension of the certificate", attesttest.Enclave, critical, attest.ErrChain},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			chain := attesttest.NewChain(t, now, at(c.place, c.change))
			expect(t, verifier(chain.Roots()), chain.Document(t, claimsOf(t, chain)), c.want)
		})
	}
}

// TestBundles arranges good certificates differently.
func TestBundles(t *testing.T) {
	chain, stranger := attesttest.NewChain(t, now), attesttest.NewChain(t, now)
	der := func(c *attesttest.Chain, places ...int) (bundle [][]byte) {
		for _, place := range places {
			bundle = append(bundle, c.Certificates[place].Raw)
		}
		return bundle
	}
	const root, regional, zonal, enclave = attesttest.Root, attesttest.Regional, attesttest.Zonal, attesttest.Enclave
	regionalRoot := x509.NewCertPool()
	regionalRoot.AddCert(chain.Certificates[regional])
	cases := []struct {
		name   string
		roots  *x509.CertPool
		bundle [][]byte
		want   error
	}{
		{"in order", chain.Roots(), der(chain, root, regional, zonal), nil},
		{"wrong root", stranger.Roots(), der(chain, root, regional, zonal), attest.ErrChain},
		{"another's bundle", chain.Roots(), der(stranger, root, regional, zonal), attest.ErrChain},
		{"another's root in the bundle", chain.Roots(),
			slices.Concat(der(stranger, root), der(chain, regional, zonal)), attest.ErrChain},
		{"reversed", chain.Roots(), der(chain, zonal, regional, root), attest.ErrChain},
		{"without the root", chain.Roots(), der(chain, regional, zonal), attest.ErrChain},
		{"without a CA", chain.Roots(), der(chain, root, zonal), attest.ErrChain},
		{"only the root", chain.Roots(), der(chain, root), attest.ErrChain},
		{"a CA twice", chain.Roots(), der(chain, root, regional, regional, zonal), attest.ErrChain},
		{"one too many", chain.Roots(), slices.Concat(der(chain, root), der(stranger, regional), der(chain, regional, zonal)), attest.ErrChain},
		{"the certificate among the CAs", chain.Roots(), der(chain, root, regional, zonal, enclave), attest.ErrChain},
		{"a CA as configured root", regionalRoot, der(chain, root, regional, zonal), attest.ErrChain},
		{"a CA as root of both", regionalRoot, der(chain, regional, zonal), nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			claims := claimsOf(t, chain)
			claims["cabundle"] = c.bundle
			expect(t, verifier(c.roots), chain.Document(t, claims), c.want)
		})
	}
}

// TestSignerCurve: ES384 means SHA-384 with P-384, not with another curve (RFC 9053 leaves that
// to the application).
func TestSignerCurve(t *testing.T) {
	chain := attesttest.NewChain(t, now)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(9), NotBefore: now, NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, chain.Certificates[attesttest.Root], &key.PublicKey, chain.RootKey)
	if err != nil {
		t.Fatal(err)
	}
	claims := claimsOf(t, chain)
	claims["certificate"] = der
	claims["cabundle"] = [][]byte{chain.Certificates[attesttest.Root].Raw}
	expect(t, verifier(chain.Roots()), chain.Document(t, claims), attest.ErrChain)
}
