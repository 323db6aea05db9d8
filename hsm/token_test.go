package hsm_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

func TestInfo(t *testing.T) {
	hsmtest.Require(t, hsmtest.ShortLane)
	uri := hsmtest.NewURI(t)
	token := hsmtest.Open(t, hsm.Config{URI: uri, Sessions: 3})
	info, err := token.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Token != uri.Token || info.Serial == "" || !strings.HasPrefix(info.Model, "SoftHSM") || info.LibraryVersion == "" ||
		info.Firmware == "" || info.FreePrivateMemory != nil || info.PINLocked || info.PINFinalTry || info.PINCountLow {
		t.Errorf("info: %+v", info)
	}
	// One holder, one short (a quirk of SoftHSM2), three long.
	if info.Sessions != 5 {
		t.Errorf("%d sessions", info.Sessions)
	}
	if _, err := json.Marshal(info); err != nil {
		t.Error(err)
	}
	if err := token.Health(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSessionLimits(t *testing.T) {
	hsmtest.Require(t, hsmtest.ShortLane)
	uri := hsmtest.NewURI(t)
	for limit, want := range map[int]int{3: 3, 4: 4, 100: 10} {
		u := uri
		u.MaxSessions = limit
		token, err := hsm.OpenToken(t.Context(), hsm.Config{URI: u, Sessions: 8})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := token.Info(t.Context()); err != nil || info.Sessions != want {
			t.Errorf("max-sessions %d: %d sessions, not %d: %v", limit, info.Sessions, want, err)
		}
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	}
	u := uri
	u.MaxSessions = 2
	if _, err := hsm.OpenToken(t.Context(), hsm.Config{URI: u}); err == nil {
		t.Error("two sessions are enough")
	}
}

func TestSlotChoice(t *testing.T) {
	first, second := hsmtest.NewURI(t), hsmtest.NewURI(t)
	own, err := hsmtest.Open(t, hsm.Config{URI: first}).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	model := own.Model
	_, err = hsm.OpenToken(t.Context(), hsm.Config{URI: hsm.URI{Token: "absent", ModulePath: first.ModulePath, PINSource: first.PINSource, Init: first.Init}})
	if !errors.Is(err, hsm.ErrNotFound) || !strings.Contains(err.Error(), strings.ReplaceAll(second.Token, " ", "%20")) {
		t.Errorf("an absent token: %v", err)
	}
	_, err = hsm.OpenToken(t.Context(), hsm.Config{URI: hsm.URI{Model: model, ModulePath: first.ModulePath, PINSource: first.PINSource, Init: first.Init}})
	if err == nil || !strings.Contains(err.Error(), "slot-id") {
		t.Errorf("two tokens match: %v", err)
	}
	info, err := hsmtest.Open(t, hsm.Config{URI: second}).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bySerial := hsm.URI{Serial: info.Serial, SlotID: &info.SlotID, Manufacturer: info.Manufacturer, ModulePath: first.ModulePath, PINSource: first.PINSource, Init: first.Init}
	if same, err := hsmtest.Open(t, hsm.Config{URI: bySerial}).Info(t.Context()); err != nil || same.Token != second.Token {
		t.Errorf("by serial: %+v, %v", same, err)
	}
}

func TestModulePath(t *testing.T) {
	uri := hsmtest.NewURI(t)
	notLibrary := filepath.Join(t.TempDir(), "lib.so")
	if err := os.WriteFile(notLibrary, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "libsofthsm2.so", "/no/such/lib.so", notLibrary} {
		u := uri
		u.ModulePath = path
		if _, err := hsm.OpenToken(t.Context(), hsm.Config{URI: u}); err == nil {
			t.Errorf("module path %q is taken", path)
		}
	}
	// Two paths to one library are one module: it can be initialised only once.
	link := filepath.Join(t.TempDir(), "link.so")
	if err := os.Symlink(uri.ModulePath, link); err != nil {
		t.Fatal(err)
	}
	linked := hsmtest.NewURI(t)
	linked.ModulePath = link
	d := hsmtest.Domain(t, hsmtest.Open(t, hsm.Config{URI: uri}), hsmtest.Open(t, hsm.Config{URI: linked}))
	if err := d.Health(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestInitToken(t *testing.T) {
	hsmtest.Require(t, hsmtest.ManyTokens)
	uri := hsmtest.NewURI(t)
	pin := hsm.NewPIN("12345678")
	for _, c := range []struct {
		label    string
		so, user hsm.PIN
	}{
		{"", pin, pin},
		{strings.Repeat("x", 33), pin, pin},
		{uri.Token, pin, pin}, // it is there
		{"no SO PIN", hsm.PIN{}, pin},
		{"no user PIN", pin, hsm.PIN{}},
	} {
		if err := hsm.InitToken(uri.ModulePath, c.label, c.so, c.user); err == nil {
			t.Errorf("a token %q is made", c.label)
		}
	}
	if err := hsm.InitToken(uri.ModulePath, strings.Repeat("y", 32), pin, pin); err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	m := newKey(t, d)
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	if err := token.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if _, err := d.Encrypt(t.Context(), &m, nil, []byte("x")); !errors.Is(err, hsm.ErrTokenDown) {
		t.Errorf("Encrypt after Close: %v", err)
	}
	d.Forget(m.ID)
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
		text string
	}{
		{hsm.ErrorOf("C_Decrypt", 0x40), hsm.ErrBadCiphertext, "C_Decrypt: CKR_ENCRYPTED_DATA_INVALID (0x40)"},
		{hsm.ErrorOf("C_Decrypt", 0x42), hsm.ErrBadCiphertext, "C_Decrypt: CKR_AEAD_DECRYPT_FAILED (0x42)"},
		{hsm.ErrorOf("C_Decrypt", 0x05), nil, "C_Decrypt: CKR_GENERAL_ERROR (0x5)"},
		{hsm.ErrorOf("C_UnwrapKey", 0x40), nil, "C_UnwrapKey: CKR_ENCRYPTED_DATA_INVALID (0x40)"},
		{hsm.ErrorOf("C_Login", 0xA4), hsm.ErrPIN, "C_Login: CKR_PIN_LOCKED (0xA4)"},
		{hsm.ErrorOf("C_Sign", 0x32), hsm.ErrTokenDown, "C_Sign: CKR_DEVICE_REMOVED (0x32)"},
		{hsm.ErrorOf("C_SignInit", 0x70), hsm.ErrUnsupported, "C_SignInit: CKR_MECHANISM_INVALID (0x70)"},
		{hsm.ErrorOf("C_Sign", 0x80000012), nil, "C_Sign: CKR_VENDOR_DEFINED+0x12 (0x80000012)"},
		{hsm.ErrorOf("C_Sign", 0x7777), nil, "C_Sign: 0x7777 (0x7777)"},
	} {
		if c.err.Error() != c.text {
			t.Errorf("text: %s, want %s", c.err, c.text)
		}
		for _, s := range []error{hsm.ErrBadCiphertext, hsm.ErrTokenDown, hsm.ErrUnsupported, hsm.ErrWrongToken, hsm.ErrPIN, hsm.ErrNotFound} {
			if errors.Is(c.err, s) != (s == c.want) {
				t.Errorf("%s is %q: %t", c.err, s, errors.Is(c.err, s))
			}
		}
	}
}
