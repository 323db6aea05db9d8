package ops

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
)

func TestRateLimit(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	limit := rateLimit{perSecond: 2}
	for i, step := range []struct {
		after time.Duration
		want  bool
	}{
		{0, true}, {0, true}, {0, false}, // a second's worth, and no more
		{400 * time.Millisecond, false}, {100 * time.Millisecond, true}, {0, false},
		{time.Hour, true}, {0, true}, {0, false}, // nothing is saved up
		{-time.Minute, false}, // a clock that goes back gives nothing
	} {
		now = now.Add(step.after)
		if got := limit.take(now); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
	unlimited := rateLimit{}
	for range 1000 {
		if !unlimited.take(now) {
			t.Fatal("a rate of 0 is a limit")
		}
	}
}

func bindTo(aad string) Bind {
	return func(metadata []byte) []byte { return append([]byte(aad+"|"), metadata...) }
}

// TestProxiedKey is about what package xks cannot see: the metadata, and a key's older materials.
func TestProxiedKey(t *testing.T) {
	hsmtest.Require(t, hsmtest.Derivation) // it takes the metadata apart as the usual scheme has it
	h := newHarness(t)
	proxy := NewProxy(h.service, nil)
	ctx := t.Context()
	if err := proxy.CreateTenant(ctx, new(Call), "/t", XksTenantSettings{}); err != nil {
		t.Fatal(err)
	}
	made := h.createKey(nil)
	if _, err := proxy.CreateKey(ctx, new(Call), XksKeyRequest{ID: "k", Prefix: "/t", KeyID: made.Arn}); err != nil {
		t.Fatal(err)
	}
	key, err := proxy.Key(ctx, "/t", "k")
	if err != nil {
		t.Fatal(err)
	}
	old, err := key.Encrypt(ctx, ProxyUse{RequestID: "r"}, bindTo("a"), []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if len(old.Metadata) != 4+15 || !bytes.Equal(old.Metadata[:4], []byte{0, 0, 0, 1}) {
		t.Errorf("metadata %x", old.Metadata)
	}
	h.must("RotateKeyOnDemand", in{"KeyId": made.KeyId})
	fresh, err := key.Encrypt(ctx, ProxyUse{}, bindTo("a"), []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh.Metadata[:4], []byte{0, 0, 0, 2}) {
		t.Errorf("metadata after a rotation %x", fresh.Metadata)
	}
	var seen ProxySealed
	checked, err := key.EncryptChecked(ctx, ProxyUse{}, bindTo("a"), []byte("text"), func(s ProxySealed) { seen = s })
	if err != nil || !bytes.Equal(seen.Ciphertext, checked.Ciphertext) || !bytes.Equal(seen.Metadata, checked.Metadata) || !bytes.Equal(seen.IV, checked.IV) {
		t.Errorf("checked: %v, %+v is not %+v", err, seen, checked)
	}
	if _, err := key.EncryptChecked(ctx, ProxyUse{}, bindTo("a"), []byte("text"), func(s ProxySealed) { s.Ciphertext[0] ^= 1 }); !errors.Is(err, hsm.ErrNotOpened) {
		t.Errorf("a message that was changed before the check: %v", err)
	}
	for _, sealed := range []ProxySealed{old, fresh, checked} {
		if got, err := key.Decrypt(ctx, ProxyUse{}, bindTo("a"), sealed); err != nil || string(got) != "text" {
			t.Errorf("material %x: %v", sealed.Metadata[:4], err)
		}
		if _, err := key.Decrypt(ctx, ProxyUse{}, bindTo("b"), sealed); !errors.Is(err, ErrExternalText) {
			t.Errorf("another binding: %v", err)
		}
	}
	for _, metadata := range [][]byte{nil, {0, 0, 1}, {0, 0, 0, 0}, append([]byte{0, 0, 0, 3}, old.Metadata[4:]...), old.Metadata[:4], append(bytes.Clone(old.Metadata), 0)} {
		bad := old
		bad.Metadata = metadata
		if _, err := key.Decrypt(ctx, ProxyUse{}, bindTo("a"), bad); !errors.Is(err, ErrExternalText) {
			t.Errorf("metadata %x: %v", metadata, err)
		}
	}
	if _, err := proxy.Key(ctx, "/other", "k"); !errors.Is(err, ErrNoExternalKey) {
		t.Errorf("another tenant's key: %v", err)
	}
}

func TestObjectURIIsStoredBare(t *testing.T) {
	h := newHarness(t)
	proxy := NewProxy(h.service, hsm.NewObjectTokens(nil))
	if err := proxy.CreateTenant(t.Context(), new(Call), "/t", XksTenantSettings{}); err != nil {
		t.Fatal(err)
	}
	fact, err := proxy.CreateKey(t.Context(), new(Call), XksKeyRequest{ID: "k", Prefix: "/t", Object: "pkcs11:token=t;object=o?module-path=/x/y.so&pin-value=1234"})
	if err == nil || strings.Contains(err.Error(), "1234") || fact.Object != "pkcs11:token=t;object=o" {
		t.Errorf("%+v, %v", fact, err)
	}
	if _, err := h.store.XksKey(t.Context(), "k"); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("a key of no use was stored: %v", err)
	}
}

// TestProxySecretsAtRest holds that the store has a credential's secret sealed only.
func TestProxySecretsAtRest(t *testing.T) {
	h := newHarness(t)
	proxy := NewProxy(h.service, nil)
	if err := proxy.CreateTenant(t.Context(), new(Call), "/", XksTenantSettings{}); err != nil {
		t.Fatal(err)
	}
	key, err := proxy.CreateCredential(t.Context(), new(Call), "/")
	if err != nil {
		t.Fatal(err)
	}
	record, err := h.store.XksCredential(t.Context(), key.ID)
	if err != nil || bytes.Contains(record.SealedSecret, []byte(key.Secret)) {
		t.Errorf("%v", err)
	}
	if secret, prefix, err := proxy.Credential(t.Context(), key.ID); err != nil || secret != key.Secret || prefix != "/" {
		t.Errorf("%v", err)
	}
	moved := record.Clone()
	moved.AccessKeyID = strings.Repeat("A", 24) // a secret sealed for one access key is not another's
	if err := h.store.Update(t.Context(), func(tx *keystore.Tx) error { return tx.CreateXksCredential(moved) }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := proxy.Credential(t.Context(), moved.AccessKeyID); err == nil {
		t.Error("a secret moved to another access key is opened")
	}
}
