package hsm

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kms11/kms11/kms"
)

// sm2Private, sm2Public and what is made of them below are the examples of GB/T 32918.5-2017, annexes
// A and C.
const (
	sm2Private = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"
	sm2Public  = "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020" +
		"ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)

func sm2Example() []byte { return writePublic(sm2Kind.algorithm(), unhex(sm2Public)) }

// TestSM3 is annex A of GB/T 32905-2016, and OpenSSL for the lengths around a block.
func TestSM3(t *testing.T) {
	for message, want := range map[string]string{
		"abc": "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
		"abcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcd": "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732",
	} {
		if got := sm3([]byte(message)); hex.EncodeToString(got[:]) != want {
			t.Errorf("SM3 of %s is %x", message, got)
		}
	}
	message := make([]byte, 0, 300)
	for n := range 200 {
		message = append(message, byte(n))
		whole := sm3(message)
		if parts := sm3(message[:n/3], nil, message[n/3:n/2], message[n/2:]); parts != whole {
			t.Errorf("SM3 of %d bytes in parts is another", n)
		}
		if n%7 != 6 && (n+1)%64 > 2 && (n+1)%64 < 53 {
			continue
		}
		command := exec.CommandContext(t.Context(), openssl(t), "dgst", "-sm3", "-binary")
		command.Stdin = bytes.NewReader(message)
		want, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(whole[:], want) {
			t.Errorf("SM3 of %d bytes is not that of OpenSSL", len(message))
		}
	}
}

func openssl(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed: run `make deps`")
	}
	return path
}

func TestSM2Arithmetic(t *testing.T) {
	e, base := sm2Equation, sm2Equation.base()
	if !e.has(base) || e.multiply(base, sm2.order) != nil {
		t.Error("the base point is not one of the curve's order")
	}
	if got := e.multiply(base, bigHex(sm2Private)); !bytes.Equal(sm2.encode(got.x, got.y), unhex(sm2Public)) {
		t.Errorf("the example's public key is %x", sm2.encode(got.x, got.y))
	}
	// n+1 times is once, and 3 times by any way is the same.
	if got := e.multiply(base, new(big.Int).Add(sm2.order, big.NewInt(1))); got.x.Cmp(base.x) != 0 || got.y.Cmp(base.y) != 0 {
		t.Error("n+1 times the base point is another point")
	}
	two := e.add(base, base)
	if a, b := e.add(two, base), e.add(base, two); a.x.Cmp(b.x) != 0 || a.y.Cmp(b.y) != 0 || !e.has(a) {
		t.Error("the sum depends on the order")
	}
	if e.has(&point{base.x, base.x}) || e.has(&point{new(big.Int).Add(base.x, e.p), base.y}) {
		t.Error("a point that is none of the curve is taken")
	}
}

func TestSM2Signature(t *testing.T) {
	digest, err := sm2Digest(sm2Example(), []byte("message digest"))
	if err != nil || hex.EncodeToString(digest) != "f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640" {
		t.Errorf("digest %x, %v", digest, err)
	}
	signature := encodeSignature(unhex("f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3" +
		"b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"))
	if good, err := sm2Verify(sm2Example(), digest, signature); !good || err != nil {
		t.Errorf("the example's signature: %t, %v", good, err)
	}
	for i := range signature {
		bad := bytes.Clone(signature)
		bad[i] ^= 4
		if good, err := sm2Verify(sm2Example(), digest, bad); good || err != nil {
			t.Errorf("byte %d changed: %t, %v", i, good, err)
		}
	}
	digest[0] ^= 1
	if good, err := sm2Verify(sm2Example(), digest, signature); good || err != nil {
		t.Errorf("another digest: %t, %v", good, err)
	}
	if _, err := sm2Verify(sm2Example()[1:], digest, signature); err == nil {
		t.Error("half a public key is taken")
	}
}

// TestSM2SignatureOfOpenSSL verifies, by the way of Domain.Verify, what OpenSSL signed of a message
// with AWS's distinguishing identifier.
func TestSM2SignatureOfOpenSSL(t *testing.T) {
	dir := t.TempDir()
	key, message := filepath.Join(dir, "key.pem"), filepath.Join(dir, "message")
	run := func(args ...string) []byte {
		out, err := exec.CommandContext(t.Context(), openssl(t), args...).Output()
		if err != nil {
			t.Fatalf("openssl %v: %v", args, err)
		}
		return out
	}
	run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", key)
	spki := run("pkey", "-in", key, "-pubout", "-outform", "DER")
	g, err := signingOf(kms.SigningAlgorithmSpecSm2dsa)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a message", string(make([]byte, 4096))} {
		if err := os.WriteFile(message, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		signature := run("pkeyutl", "-sign", "-rawin", "-digest", "sm3", "-inkey", key, "-in", message, "-pkeyopt", "distid:"+sm2ID)
		data, err := g.input(sm2Kind, spki, SignInput{Message: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		if good, known, err := g.outside(sm2Kind, spki, data, signature); !good || !known || err != nil {
			t.Errorf("%t, %t, %v", good, known, err)
		}
		data[31] ^= 1
		if good, _, _ := g.outside(sm2Kind, spki, data, signature); good {
			t.Error("a signature over another digest is taken")
		}
	}
}

// sm2CipherExample is the example of annex C: its parts in the form of SM2Cipher.
func sm2CipherExample() []byte {
	return (&sm2Cipher{
		&point{bigHex("04ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73"),
			bigHex("e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df0")},
		unhex("59983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766"),
		unhex("21886ca989ca9c7d58087307ca93092d651efa"),
	}).marshal()
}

// OpenSM2Example decrypts the standard's example with its private key in a token.
func OpenSM2Example(t testing.TB, token *Token) (plaintext []byte, err error) {
	t.Helper()
	err = onToken(t, token, func(p *prober) error {
		o, err := p.keep(p.createObject(append(privateTemplate(sm2Kind, inUse, useDerive),
			ecPrivate(sm2Kind.oid, unhex(sm2Private))...)))
		if err != nil {
			return err
		}
		c, err := parseSM2Cipher(sm2CipherExample())
		if err != nil {
			return err
		}
		plaintext, err = p.openSM2(o, c)
		return err
	})
	return plaintext, err
}

// SM2Agree gives the public key of a peer with the example's private key, and the secret that it
// shares with the holder of another: worked out here, not in a token.
func SM2Agree(t testing.TB, spki []byte) (peer, secret []byte) {
	t.Helper()
	public, err := sm2Kind.parse(spki)
	if err != nil {
		t.Fatal(err)
	}
	return sm2Example(), sm2Equation.multiply(public, bigHex(sm2Private)).x.FillBytes(make([]byte, sm2.size))
}

// FuzzSM2Cipher: whatever is taken is the one encoding of what it says.
func FuzzSM2Cipher(f *testing.F) {
	f.Add(sm2CipherExample())
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := parseSM2Cipher(der)
		if err != nil {
			return
		}
		if !bytes.Equal(c.marshal(), der) || !sm2Equation.has(c.point) || len(c.hash) != sm3Size || len(c.text) == 0 {
			t.Errorf("%x is taken for %+v", der, c)
		}
	})
}

// TestSM2SignsWithAVendorsMechanism: the number in the URI goes to the token, whose refusal is the
// reason that is given, instead of that there is no number.
func TestSM2SignsWithAVendorsMechanism(t *testing.T) {
	q := &Quirks{SM2Sign: 0x80000101}
	g, err := signingOf(kms.SigningAlgorithmSpecSm2dsa)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{conn: &conn{token: &Token{quirks: q}}}
	if n := g.mechanismOn(s); n != q.SM2Sign {
		t.Errorf("mechanism 0x%X", n)
	}
	s.conn.token.quirks = &Quirks{}
	if n := g.mechanismOn(s); n != 0 {
		t.Errorf("mechanism 0x%X of a token without", n)
	}
	if other, err := signingOf(kms.SigningAlgorithmSpecEcdsaSha256); err != nil || other.mechanismOn(s) == 0 {
		t.Errorf("another algorithm has no mechanism: %v", err)
	}
}

// TestMLDSARepresentative is about what is signed with EXTERNAL_MU, whatever the token.
func TestMLDSARepresentative(t *testing.T) {
	g, err := signingOf(kms.SigningAlgorithmSpecMlDsaShake256)
	if err != nil {
		t.Fatal(err)
	}
	mu, err := g.externalMu()
	if err != nil {
		t.Fatal(err)
	}
	public := make([]byte, mlDSA44.publicSize)
	of := messageRepresentative(public, []byte("m"))
	if got, err := mu.input(mlDSAKind{mlDSA44}, nil, SignInput{Message: of, ExternalMu: true}); err != nil || !bytes.Equal(got, of) {
		t.Errorf("%x, %v", got, err)
	}
	for _, n := range []int{0, 63, 65} {
		if _, err := mu.input(mlDSAKind{mlDSA44}, nil, SignInput{Message: make([]byte, n), ExternalMu: true}); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
	if mu.name() == g.name() || mu.mechanism != ckmMLDSAExternalMu {
		t.Errorf("%s by 0x%X", mu.name(), mu.mechanism)
	}
	if ecdsa, err := signingOf(kms.SigningAlgorithmSpecEcdsaSha256); err != nil {
		t.Error(err)
	} else if _, err := ecdsa.externalMu(); err == nil {
		t.Error("ECDSA takes a message representative")
	}
}
