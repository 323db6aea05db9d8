package hsm_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

func newKey(t testing.TB, d *hsm.Domain) kms.Material {
	t.Helper()
	m, err := d.GenerateKey(t.Context(), hsm.KeyRequest{Spec: kms.KeySpecSymmetricDefault})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func seal(t testing.TB, d *hsm.Domain, m *kms.Material, aad, text string) hsm.Sealed {
	t.Helper()
	sealed, err := d.Encrypt(t.Context(), m, []byte(aad), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func mustOpen(t testing.TB, d *hsm.Domain, m *kms.Material, sealed hsm.Sealed, aad, text string) {
	t.Helper()
	got, err := d.Decrypt(t.Context(), m, sealed, []byte(aad))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != text {
		t.Fatalf("Decrypt gives %d bytes that are not the plaintext", len(got))
	}
}

// ownScheme is the scheme of domains on the tests' kind of token.
func ownScheme() kms.DerivationScheme {
	if hsmtest.Has(hsmtest.Derivation) {
		return kms.DeriveECB
	}
	return kms.DeriveNone
}

func TestDomainDescription(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	got := d.Describe()
	if len(got.ID) != 32 || got.Scheme != ownScheme() || len(got.Keys) != 3 || d.RecordKeyVersion() != 1 {
		t.Fatalf("description: %+v", got)
	}
	sizes := map[kms.DomainKeyRole]int{kms.RoleWrap: 73, kms.RoleRecord: 33, kms.RoleSeal: 40}
	for _, k := range got.Keys {
		if len(k.ObjectID) != 21 || len(k.Check) != sizes[k.Role] || k.Version != 1 {
			t.Errorf("%s key: version %d, id of %d, check of %d bytes", k.Role, k.Version, len(k.ObjectID), len(k.Check))
		}
	}
	got.Keys[0].Check[5] ^= 1 // the caller's copy
	again, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, d.Describe())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if !reflect.DeepEqual(again.Describe(), d.Describe()) {
		t.Error("the domain that was opened is not the one that was made")
	}
	if err := again.Health(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWrongToken(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	other := hsmtest.Token(t)
	_, err := hsm.OpenDomain(t.Context(), []*hsm.Token{other}, d.Describe())
	if !errors.Is(err, hsm.ErrWrongToken) {
		t.Errorf("another token: %v", err)
	}
	info, e := other.Info(t.Context())
	if e != nil {
		t.Fatal(e)
	}
	if !strings.Contains(err.Error(), strings.TrimPrefix(info.Token, "test ")) {
		t.Errorf("the error does not name the token: %v", err)
	}
	before := len(hsm.Objects(t, token))
	for i := range d.Describe().Keys {
		for _, at := range []int{0, 8, -1} {
			description := d.Describe()
			check := description.Keys[i].Check
			check[(at+len(check))%len(check)] ^= 1
			_, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, description)
			if !errors.Is(err, hsm.ErrWrongToken) {
				t.Errorf("%s key, byte %d of its check changed: %v", description.Keys[i].Role, at, err)
			}
		}
	}
	// Two domains on one token: the check of one does not fit the keys of the other.
	second := hsmtest.Domain(t, token)
	mixed := d.Describe()
	for i, k := range second.Describe().Keys {
		mixed.Keys[i].Check = k.Check
	}
	if _, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, mixed); !errors.Is(err, hsm.ErrWrongToken) {
		t.Errorf("checks of another domain: %v", err)
	}
	// Three resting keys and three copies for the second domain; nothing of the failed opens.
	if after := len(hsm.Objects(t, token)); after != before+6 {
		t.Errorf("%d objects before the failed opens, %d after", before, after)
	}
}

func TestTwoTokens(t *testing.T) {
	tokens := []*hsm.Token{hsmtest.Token(t), hsmtest.Token(t)}
	d := hsmtest.Domain(t, tokens...)
	for _, token := range tokens {
		resting := 0
		for _, o := range hsm.Objects(t, token) {
			if o.Extractable || !o.Sensitive || o.ValueErr == nil {
				t.Errorf("after the birth of the domain a token holds %s", o)
			}
			if o.Resting {
				resting++
			}
		}
		if resting != 3 {
			t.Errorf("a token holds %d resting objects", resting)
		}
	}
	// Each token alone opens what the other made.
	m := newKey(t, d)
	var sealed []hsm.Sealed
	for _, token := range tokens {
		alone, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, d.Describe())
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, seal(t, alone, &m, "a", "text"))
		for _, s := range sealed {
			mustOpen(t, alone, &m, s, "a", "text")
		}
		mac, err := alone.MAC(t.Context(), 1, []byte("record"))
		if err != nil {
			t.Fatal(err)
		}
		if same, err := d.MAC(t.Context(), 1, []byte("record")); err != nil || !bytes.Equal(mac, same) {
			t.Errorf("the tokens' record keys differ: %v", err)
		}
		if err := alone.Close(); err != nil {
			t.Error(err)
		}
	}
	// One token down: the other serves.
	if err := tokens[0].Close(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		mustOpen(t, d, &m, sealed[0], "a", "text")
	}
	if err := d.Health(t.Context()); !errors.Is(err, hsm.ErrTokenDown) {
		t.Errorf("Health with a token down: %v", err)
	}
}

func TestFootprint(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	before := len(hsm.Objects(t, token))
	ids := map[string]bool{}
	for range 200 {
		m := newKey(t, d)
		if len(m.ID) != 64 || m.Length != 32 || len(m.Blob) != 40 || m.Wrap != kms.AESKeyWrap || m.DomainKey != 1 || m.Scheme != ownScheme() {
			t.Fatalf("material: %+v", m)
		}
		ids[m.ID] = true
	}
	resting := 0
	for _, o := range hsm.Objects(t, token) {
		if o.Resting {
			resting++
		}
	}
	if after := len(hsm.Objects(t, token)); after != before || resting != 3 || len(ids) != 200 {
		t.Errorf("200 keys: %d objects before, %d after, %d resting, %d ids", before, after, resting, len(ids))
	}
	if _, err := d.GenerateKey(t.Context(), hsm.KeyRequest{Spec: "NO_SUCH_SPEC"}); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("unknown spec: %v", err)
	}
}

// TestBoundary looks at every object there is while keys of all sorts are in use.
func TestBoundary(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	for range 5 {
		m := newKey(t, d)
		mustOpen(t, d, &m, seal(t, d, &m, "", "x"), "", "x")
	}
	if err := d.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, o := range hsm.Objects(t, token) {
		if !o.Sensitive || o.Extractable || o.Public {
			t.Errorf("%s", o)
		}
		var e *hsm.Error
		if !errors.As(o.ValueErr, &e) || e.Name() != "CKR_ATTRIBUTE_SENSITIVE" {
			t.Errorf("%s: CKA_VALUE gives %v", o, o.ValueErr)
		}
		count[strings.Join(o.Uses, "+")]++
	}
	want := map[string]int{"WRAP+UNWRAP": 2, "SIGN": 2, "ENCRYPT+DECRYPT": 2 + 5, "DERIVE": 5}
	if ownScheme() == kms.DeriveNone {
		delete(want, "DERIVE")
	}
	if !reflect.DeepEqual(count, want) {
		t.Errorf("objects by use: %v, want %v", count, want)
	}
}

func TestCreateDomainCleansUp(t *testing.T) {
	hsmtest.Require(t, hsmtest.GoneStorage)
	first := hsmtest.Token(t)
	second := hsmtest.Token(t)
	hide(t, second) // session objects go on working, resting ones cannot be made
	if d, err := hsm.CreateDomain(t.Context(), []*hsm.Token{first, second}); err == nil {
		_ = d.Close()
		t.Fatal("a domain was made on a token without storage")
	}
	if left := hsm.Objects(t, first); len(left) != 0 {
		t.Errorf("the failed birth leaves %v", left)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hsm.CreateDomain(cancelled, []*hsm.Token{first}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
	if left := hsm.Objects(t, first); len(left) != 0 {
		t.Errorf("the cancelled birth leaves %v", left)
	}
}

// TestHarden stands in for a token that ignores EXTRACTABLE=false: the key is made safe, or
// destroyed and refused.
func TestHarden(t *testing.T) {
	token := hsmtest.Token(t)
	if err := hsm.HardenLeaving(t, token, false); err != nil {
		t.Error(err)
	}
	if n := len(hsm.Objects(t, token)); n != 1 {
		t.Errorf("%d objects", n)
	}
	if err := hsm.HardenLeaving(t, token, true); err == nil {
		t.Error("a key that can leave is taken")
	}
	if n := len(hsm.Objects(t, token)); n != 1 {
		t.Errorf("%d objects after the refusal", n)
	}
}
