package hsm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
)

const secret = "s3cr3t-PIN"

func TestParseURI(t *testing.T) {
	u, err := hsm.ParseURI("pkcs11:token=My%20token%3B1;serial=ab01;manufacturer=SoftHSM%20project;model=SoftHSM%20v2;" +
		"slot-id=42;object=key;id=%01%FF;type=private?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin&max-sessions=12" +
		"&x-kms11-init=configdir%3D'sql:/a%20b'%20flags%3D%26&x-kms11-sm2dsa=0x80000101")
	if err != nil {
		t.Fatal(err)
	}
	if u.Token != "My token;1" || u.Serial != "ab01" || u.Manufacturer != "SoftHSM project" || u.Model != "SoftHSM v2" ||
		u.SlotID == nil || *u.SlotID != 42 || u.Object != "key" || !bytes.Equal(u.ID, []byte{1, 0xff}) || u.Type != "private" ||
		u.ModulePath != "/usr/lib/softhsm/libsofthsm2.so" || u.PINSource != "file:/run/pin" || u.MaxSessions != 12 ||
		u.Init != "configdir='sql:/a b' flags=&" || u.SM2Sign != 0x80000101 {
		t.Errorf("parsed: %+v", u)
	}
	again, err := hsm.ParseURI(u.String())
	if err != nil || again.String() != u.String() {
		t.Errorf("%s parsed again: %s, %v", u, again, err)
	}
	if w := u.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %q", w)
	}
}

func TestParseURIRefuses(t *testing.T) {
	for _, s := range []string{
		"",
		"token=x",
		"PKCS11:token=x",
		"pkcs11:tokn=x",
		"pkcs11:token",
		"pkcs11:token=a;token=b",
		"pkcs11:token=%zz",
		"pkcs11:slot-id=-1",
		"pkcs11:slot-id=x",
		"pkcs11:token=x?module-path=libsofthsm2.so",
		"pkcs11:token=x?module-name=softhsm2",
		"pkcs11:token=x?max-sessions=0",
		"pkcs11:token=x?max-sessions=65536",
		"pkcs11:token=x?x-kms11-init=a%00b",
		"pkcs11:x-kms11-init=a",
		"pkcs11:token=x?x-kms11-sm2dsa=0x101",
		"pkcs11:token=x?x-kms11-sm2dsa=0x180000000",
		"pkcs11:token=x?x-kms11-sm2dsa=SM2",
		"pkcs11:module-path=/lib.so",
		"pkcs11:token=x?token=y",
		"pkcs11:pin-value=" + secret,
		"pkcs11:token=x?pin-value=" + secret + "&pin-source=/run/pin",
		"pkcs11:token=x?pin-value=" + secret + "%zz",
	} {
		_, err := hsm.ParseURI(s)
		if err == nil {
			t.Errorf("%q is taken", s)
		} else if strings.Contains(err.Error(), secret) {
			t.Error("an error repeats the PIN")
		}
	}
}

func TestPINSources(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pin")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_URI_PIN", secret)
	for source, ok := range map[string]bool{
		"pin-source=" + file:                     true,
		"pin-source=file:" + file:                true,
		"pin-source=file://" + file:              true,
		"pin-source=env:TEST_URI_PIN":            true,
		"pin-value=" + secret:                    true,
		"pin-source=env:TEST_URI_PIN_ABSENT":     false,
		"pin-source=" + empty:                    false,
		"pin-source=" + long:                     false,
		"pin-source=%7Cecho%20" + secret:         false,
		"pin-source=" + filepath.Join(dir, "no"): false,
		"max-sessions=3":                         false,
	} {
		u, err := hsm.ParseURI("pkcs11:token=x?" + source)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(source, "pin-value") && (strings.Contains(u.String(), secret) || len(u.Warnings()) != 1) {
			t.Error("pin-value is printed, or there is no warning")
		}
		pin, err := u.PIN()
		if ok != (err == nil) || ok == pin.IsZero() || !ok && !errors.Is(err, hsm.ErrPIN) {
			t.Errorf("%s: %v", strings.ReplaceAll(source, secret, "PIN"), err)
		}
	}
	// The PIN is read when it is needed.
	u, err := hsm.ParseURI("pkcs11:token=x?pin-source=" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := u.PIN(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("PIN of a file that is gone: %v", err)
	}
}

func TestPINIsHidden(t *testing.T) {
	pin := hsm.NewPIN(secret)
	u, err := hsm.ParseURI("pkcs11:token=x?pin-value=" + secret)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Public  hsm.PIN
		private hsm.PIN
		uri     hsm.URI
	}
	h := holder{pin, pin, u}
	var out bytes.Buffer
	for _, v := range []any{pin, &pin, h, &h, []hsm.PIN{pin}, map[string]hsm.PIN{"pin": pin}, u, &u, hsm.Config{URI: u}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %p"} {
			fmt.Fprintf(&out, verb+"\n", v, v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	for _, v := range []any{pin, h} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%d", []byte(secret))} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the PIN is printed, as %d bytes", len(form))
		}
	}
	if !strings.Contains(out.String(), "***") || h.private.IsZero() {
		t.Error("nothing was printed")
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=a%20b;serial=1?module-path=/l.so&pin-source=env:X&max-sessions=3")
	f.Add("pkcs11:slot-id=7;id=%00%ff?pin-value=1234")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := hsm.ParseURI(s)
		if err != nil {
			return
		}
		again, err := hsm.ParseURI(u.String())
		if err != nil {
			t.Fatalf("%q gives %q: %v", s, u, err)
		}
		if again.String() != u.String() {
			t.Fatalf("%q gives %q gives %q", s, u, again)
		}
	})
}
