package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestRemediesOfSoftHSM makes the mistakes of a first day with a SoftHSM2 token of one's own: what is
// printed says how to mend each.
func TestRemediesOfSoftHSM(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// configuration makes one of SoftHSM2 with a directory of tokens, which is empty.
	configuration := func(name string) string {
		t.Helper()
		if err := os.Mkdir(in(name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(in(name+".conf"), "directories.tokendir = "+in(name)+"\nobjectstore.backend = file\n")
		return in(name + ".conf")
	}
	meant, another, missing := configuration("meant"), configuration("another"), in("missing.conf")
	pin, officer := in("pin"), in("so.pin")

	t.Setenv("SOFTHSM2_CONF", missing)
	initToken := []string{"hsm", "init-token", "--label", "own", "--pin-file", pin, "--so-pin-file", officer}
	wantRefusal(t, exitUsage, "make one with (umask 077; openssl rand -hex 8 > "+pin+")", initToken...)
	write(pin, "1234567\n")
	write(officer, "7654321\n")
	unreadable := "SOFTHSM2_CONF is " + missing + ": it has to name a SoftHSM2 configuration that can be read"
	wantRefusal(t, exitToken, unreadable, initToken...)
	t.Setenv("SOFTHSM2_CONF", meant)
	uri, code := kms11test.Command(t, initToken...)
	if code != 0 {
		t.Fatalf("kms11 hsm init-token left with %d: %s", code, uri)
	}

	ask := []string{"hsm", "info", "--token", strings.TrimSpace(uri), "--data", in("data")}
	t.Setenv("SOFTHSM2_CONF", missing)
	wantRefusal(t, exitToken, unreadable, ask...)
	t.Setenv("SOFTHSM2_CONF", another)
	wantRefusal(t, exitToken, "no token matches the URI; present: none: SOFTHSM2_CONF is "+another+": set it to the SoftHSM2 configuration with your tokens, or make a token with kms11 hsm init-token", ask...)
	t.Setenv("SOFTHSM2_CONF", meant)
	if err := os.Remove(pin); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, exitToken, "write the token's PIN into "+pin+", for kms11 alone to read", ask...)
	write(pin, "1234567\n")
	if output, code := kms11test.Command(t, ask...); code != 0 {
		t.Errorf("once all is mended, kms11 hsm info left with %d: %s", code, output)
	}
}
