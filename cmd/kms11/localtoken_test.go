package main

import (
	"os"
	"path/filepath"
	"testing"
)

func dataDir(t *testing.T, files ...string) paths {
	t.Helper()
	p, err := pathsOf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(filepath.Dir(p.keystore), name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// TestUnfinishedStartDeletesNothing holds that what a start left behind is moved aside, and that
// what it did not make stays where it is.
func TestUnfinishedStartDeletesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		local                 bool
		tokenStays, storeGone bool
	}{
		"a token of its own":    {local: true, storeGone: true},
		"with configured token": {tokenStays: true, storeGone: true},
	} {
		p := dataDir(t)
		if err := begin(p, c.local); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{p.token, p.keystore} {
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		state, err := inspect(p)
		if err != nil {
			t.Fatal(err)
		}
		if state.token != c.tokenStays || state.keystore == c.storeGone {
			t.Errorf("%s: token %v, keystore %v", name, state.token, state.keystore)
		}
		aside, err := filepath.Glob(filepath.Join(filepath.Dir(p.keystore), "unfinished-*", "*"))
		if err != nil || len(aside) == 0 {
			t.Errorf("%s: nothing was moved aside: %v", name, err)
		}
		if there, _ := exists(p.unfinished); there {
			t.Errorf("%s: the mark stayed", name)
		}
	}
}

func TestStrayMarkIsHarmless(t *testing.T) {
	p := dataDir(t, "unfinished", "token", "keystore.db", "admin.env")
	state, err := inspect(p)
	if err != nil || !state.token || !state.keystore {
		t.Errorf("token %v, keystore %v, %v", state.token, state.keystore, err)
	}
}

func TestNoNewStartBesideAnOldOne(t *testing.T) {
	p := dataDir(t, "admin.env")
	if err := begin(p, true); exitCode(err) != exitMismatch {
		t.Errorf("got %v", err)
	}
}

func TestPathsThatSoftHSMCannotHold(t *testing.T) {
	for _, name := range []string{"a#b", "a=b"} {
		p, err := pathsOf(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := useLocalToken(p); exitCode(err) != exitUsage {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
