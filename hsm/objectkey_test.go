package hsm_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

var objectValue = []byte("a key of 32 bytes that all know.")

// keyURI names a key of a token by its label.
func keyURI(t testing.TB, token hsm.URI, label string) string {
	t.Helper()
	return "pkcs11:token=" + strings.ReplaceAll(token.Token, " ", "%20") + ";object=" + label
}

// objectKey makes a token with a known key object.
func objectKey(t testing.TB) (*hsm.Token, *hsm.ObjectTokens, *hsm.ObjectKey) {
	t.Helper()
	uri := hsmtest.NewURI(t)
	token := hsmtest.Open(t, hsm.Config{URI: uri})
	hsm.PutKey(t, token, "customer", "01", objectValue, false)
	tokens := hsm.NewObjectTokens([]*hsm.Token{token})
	k, err := tokens.Key(t.Context(), keyURI(t, uri, "customer"))
	if err != nil {
		t.Fatal(err)
	}
	return token, tokens, k
}

func TestObjectKeyAgainstStandardLibrary(t *testing.T) {
	_, _, k := objectKey(t)
	block, err := aes.NewCipher(objectValue)
	if err != nil {
		t.Fatal(err)
	}
	short, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	long, err := cipher.NewGCMWithNonceSize(block, 16)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 16, 4300} {
		for _, aad := range [][]byte{nil, []byte("aad"), bytes.Repeat([]byte("a"), 8215)} {
			text := bytes.Repeat([]byte("t"), size)
			sealed, err := k.Encrypt(t.Context(), aad, text)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := short.Open(nil, sealed.IV, sealed.Ciphertext, aad); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes, AAD of %d: the standard library cannot open it: %v", size, len(aad), err)
			}
			for _, gcm := range []cipher.AEAD{short, long} {
				iv := bytes.Repeat([]byte{7}, gcm.NonceSize())
				got, err := k.Decrypt(t.Context(), hsm.Sealed{IV: iv, Ciphertext: gcm.Seal(nil, iv, text, aad)}, aad)
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("%d bytes, AAD of %d, IV of %d: %v", size, len(aad), len(iv), err)
				}
			}
		}
	}
	if !k.Copied() {
		t.Error("SoftHSM2 copies keys, and this one was used as it is")
	}
	sealed, err := k.Encrypt(t.Context(), []byte("a"), []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]hsm.Sealed{
		"another IV":      {IV: make([]byte, 12), Ciphertext: sealed.Ciphertext},
		"an IV of 13":     {IV: make([]byte, 13), Ciphertext: sealed.Ciphertext},
		"no IV":           {Ciphertext: sealed.Ciphertext},
		"a short one":     {IV: sealed.IV, Ciphertext: sealed.Ciphertext[:15]},
		"a cut one":       {IV: sealed.IV, Ciphertext: sealed.Ciphertext[:19]},
		"a long IV of it": {IV: append(bytes.Clone(sealed.IV), 0, 0, 0, 1), Ciphertext: sealed.Ciphertext},
	} {
		if _, err := k.Decrypt(t.Context(), bad, []byte("a")); !errors.Is(err, hsm.ErrBadCiphertext) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := k.Decrypt(t.Context(), sealed, []byte("b")); !errors.Is(err, hsm.ErrBadCiphertext) {
		t.Errorf("another AAD: got %v", err)
	}
}

func TestObjectKeyIVsDiffer(t *testing.T) {
	_, _, k := objectKey(t)
	seen := map[string]bool{}
	for range 200 {
		sealed, err := k.Encrypt(t.Context(), nil, []byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(sealed.IV)] {
			t.Fatal("an IV came twice")
		}
		seen[string(sealed.IV)] = true
	}
	k.Spend(1)
	if _, err := k.Encrypt(t.Context(), nil, []byte("text")); err != nil {
		t.Errorf("the last message: %v", err)
	}
	if _, err := k.Encrypt(t.Context(), nil, []byte("text")); err == nil {
		t.Error("a key encrypts more than 2^32 messages under random IVs")
	}
}

func TestObjectKeyThatIsNotFit(t *testing.T) {
	uri := hsmtest.NewURI(t)
	token := hsmtest.Open(t, hsm.Config{URI: uri})
	hsm.PutKey(t, token, "short", "02", objectValue[:16], false)
	hsm.PutKey(t, token, "twins", "03", objectValue, false)
	hsm.PutKey(t, token, "twins", "04", objectValue, false)
	hsm.PutKey(t, token, "sealer", "05", objectValue, false, pkcs11.CKA_ENCRYPT)
	hsm.PutKey(t, token, "open", "06", objectValue, true)
	tokens := hsm.NewObjectTokens([]*hsm.Token{token})
	describe := func(text string) (hsm.ObjectFact, error) {
		k, err := tokens.Key(t.Context(), text)
		if err != nil {
			return hsm.ObjectFact{}, err
		}
		return k.Fact(t.Context())
	}
	for label, want := range map[string]error{"short": hsm.ErrNotUsable, "twins": hsm.ErrNotUsable, "nobody": hsm.ErrNotFound, "open": nil} {
		if _, err := describe(keyURI(t, uri, label)); !errors.Is(err, want) {
			t.Errorf("%s: got %v", label, err)
		}
	}
	if _, err := describe(keyURI(t, uri, "twins") + ";id=04"); err != nil {
		t.Errorf("one of two by its id: %v", err)
	}
	if fact, err := describe(keyURI(t, uri, "open")); err != nil || !fact.Extractable || fact.Readable != hsmtest.Has(hsmtest.Provenance) || !fact.Foreign {
		t.Errorf("an extractable key: %+v, %v", fact, err)
	}
	sealer, err := tokens.Key(t.Context(), keyURI(t, uri, "sealer"))
	if err != nil {
		t.Fatal(err)
	}
	if fact, err := sealer.Fact(t.Context()); err != nil || !slices.Contains(fact.Uses, "ENCRYPT") || slices.Contains(fact.Uses, "DECRYPT") {
		t.Errorf("a key that only encrypts: %+v, %v", fact, err)
	}
	sealed, err := sealer.Encrypt(t.Context(), nil, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealer.Decrypt(t.Context(), sealed, nil); !errors.Is(err, hsm.ErrNotUsable) {
		t.Errorf("a key that only encrypts decrypts: %v", err)
	}
	for _, text := range []string{"pkcs11:token=elsewhere;object=open", "pkcs11:token=" + strings.ReplaceAll(uri.Token, " ", "%20"), "open", keyURI(t, uri, "open") + ";type=private"} {
		if _, err := tokens.Key(t.Context(), text); err == nil {
			t.Errorf("%s names a key", text)
		}
	}
}

// TestEncryptChecked: the message is opened again, as it is after made has seen it.
func TestEncryptChecked(t *testing.T) {
	_, _, k := objectKey(t)
	var seen hsm.Sealed
	sealed, err := k.EncryptChecked(t.Context(), []byte("a"), []byte("text"), func(s hsm.Sealed) { seen = s })
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(seen.IV, sealed.IV) || !bytes.Equal(seen.Ciphertext, sealed.Ciphertext) {
		t.Error("made was given another message")
	}
	if got, err := k.Decrypt(t.Context(), sealed, []byte("a")); err != nil || string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
	for i := range sealed.Ciphertext {
		if _, err := k.EncryptChecked(t.Context(), []byte("a"), []byte("text"), func(s hsm.Sealed) { s.Ciphertext[i] ^= 1 }); !errors.Is(err, hsm.ErrNotOpened) {
			t.Errorf("byte %d is another one, and the message was found whole: %v", i, err)
		}
	}
}

// TestOwnKeysAreNoObjectKeys: the sealing key above all encrypts and decrypts too.
func TestOwnKeysAreNoObjectKeys(t *testing.T) {
	uri := hsmtest.NewURI(t)
	token := hsmtest.Open(t, hsm.Config{URI: uri})
	hsmtest.Domain(t, token)
	tokens := hsm.NewObjectTokens([]*hsm.Token{token})
	if fleet := tokens.Fleet(t.Context(), nil); fleet[0].Err != nil {
		t.Fatal(fleet[0].Err)
	}
	for _, label := range []string{"kms11%20sealing%20key%201", "kms11%20domain%20key%201", "kms11%20record%20key%201", "kms11%20health%20test"} {
		k, err := tokens.Key(t.Context(), keyURI(t, uri, label))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Fact(t.Context()); !errors.Is(err, hsm.ErrNotUsable) {
			t.Errorf("%s: %v", label, err)
		}
		if _, err := k.Encrypt(t.Context(), nil, []byte("text")); !errors.Is(err, hsm.ErrNotUsable) {
			t.Errorf("%s: %v", label, err)
		}
	}
}

func TestGenerateObjectKey(t *testing.T) {
	uri := hsmtest.NewURI(t)
	token := hsmtest.Open(t, hsm.Config{URI: uri})
	tokens := hsm.NewObjectTokens([]*hsm.Token{token})
	name := keyURI(t, uri, "fresh")
	if err := tokens.Generate(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := tokens.Generate(t.Context(), name); err == nil {
		t.Error("a second key of the name was made")
	}
	k, err := tokens.Key(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	fact, err := k.Fact(t.Context())
	if err != nil || fact.Extractable || fact.Readable || fact.Foreign == hsmtest.Has(hsmtest.Provenance) || !slices.Equal(fact.Uses, []string{"ENCRYPT", "DECRYPT"}) {
		t.Errorf("%+v, %v", fact, err)
	}
	if again, err := tokens.Key(t.Context(), name+";type=secret-key"); err != nil || again != k {
		t.Errorf("another spelling counts by itself: %v", err)
	}
}

// TestObjectKeyDestroyed holds that a key which its owner destroyed is not used beyond the next
// look, and that one put there again under its name is.
func TestObjectKeyDestroyed(t *testing.T) {
	token, _, k := objectKey(t)
	sealed, err := k.Encrypt(t.Context(), nil, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if hsm.DropKeys(t, token, "customer") != 1 {
		t.Fatal("no key to destroy")
	}
	k.Age()
	if _, err := k.Decrypt(t.Context(), sealed, nil); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("a destroyed key: got %v", err)
	}
	hsm.PutKey(t, token, "customer", "01", objectValue, false)
	if got, err := k.Decrypt(t.Context(), sealed, nil); err != nil || string(got) != "text" {
		t.Errorf("the key is back: %v", err)
	}
}

// TestObjectKeySurvives uses a key while sessions are lost and its handle is given up again and
// again.
func TestObjectKeySurvives(t *testing.T) {
	token, _, k := objectKey(t)
	sealed, err := k.Encrypt(t.Context(), nil, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	for _, lose := range []func(testing.TB, *hsm.Token){hsm.LoseShort, hsm.LoseHolder, hsm.LoseAll, func(testing.TB, *hsm.Token) { k.Age() }} {
		lose(t, token)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if got, err := k.Decrypt(t.Context(), sealed, nil); err != nil || string(got) != "text" {
					t.Errorf("after a loss: %v", err)
				}
			})
		}
		group.Wait()
	}
}

// TestObjectTokenVanishes takes the token's directory away: the health test notices, and a key that
// cannot be found then is not taken for one that does not exist.
func TestObjectTokenVanishes(t *testing.T) {
	hsmtest.Require(t, hsmtest.GoneStorage)
	token, tokens, k := objectKey(t)
	if _, err := k.Encrypt(t.Context(), nil, []byte("text")); err != nil {
		t.Fatal(err)
	}
	well := tokens.Fleet(t.Context(), nil)
	if len(well) != 1 || well[0].Err != nil || well[0].Serial == "" || !strings.HasPrefix(well[0].Model, "SoftHSM v2, firmware 2.") || well[0].Manufacturer != "SoftHSM project" {
		t.Fatalf("%+v", well)
	}
	back := hide(t, token)
	defer back()
	ill := tokens.Fleet(t.Context(), nil)
	if !errors.Is(ill[0].Err, hsm.ErrTokenDown) || ill[0].Serial != well[0].Serial {
		t.Errorf("without its storage: %+v", ill[0])
	}
	if _, err := k.Encrypt(t.Context(), nil, []byte("text")); !errors.Is(err, hsm.ErrTokenDown) {
		t.Errorf("got %v", err)
	}
	back()
	if !hsm.Settled(t, token) {
		t.Fatal("the token did not come back")
	}
	if again := tokens.Fleet(t.Context(), nil); again[0].Err != nil {
		t.Errorf("back again: %v", again[0].Err)
	}
	if _, err := k.Encrypt(t.Context(), nil, []byte("text")); err != nil {
		t.Errorf("back again: %v", err)
	}
}

func TestFleetOfADomain(t *testing.T) {
	uri := hsmtest.NewURI(t)
	token := hsmtest.Open(t, hsm.Config{URI: uri})
	d := hsmtest.Domain(t, token)
	other := hsmtest.Token(t)
	tokens := hsm.NewObjectTokens([]*hsm.Token{token, other})
	if fleet := d.Fleet(t.Context()); len(fleet) != 1 || fleet[0].Err != nil || fleet[0].Serial == "" {
		t.Errorf("%+v", fleet)
	}
	if fleet := tokens.Fleet(t.Context(), d); len(fleet) != 1 || fleet[0].Err != nil {
		t.Errorf("the domain's token is tested twice: %+v", fleet)
	}
	if !hsmtest.Has(hsmtest.GoneStorage) {
		return
	}
	back := hide(t, token)
	defer back()
	if fleet := d.Fleet(t.Context()); !errors.Is(fleet[0].Err, hsm.ErrTokenDown) || fleet[0].Model == "unknown" {
		t.Errorf("without its storage: %+v", fleet)
	}
}

func TestEncryptBound(t *testing.T) {
	d := hsmtest.Domain(t)
	m := newKey(t, d)
	bind := func(nonce []byte) []byte { return append([]byte("bound "), nonce...) }
	sealed, err := d.EncryptBound(t.Context(), &m, bind, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Decrypt(t.Context(), &m, sealed, bind(sealed.Nonce)); err != nil || string(got) != "text" {
		t.Errorf("got %v", err)
	}
}
