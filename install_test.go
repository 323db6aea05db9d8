package kms11_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMakeInstall installs a file that stands for what make build made.
func TestMakeInstall(t *testing.T) {
	built, root := t.TempDir(), filepath.Join(t.TempDir(), "a root")
	install := func() (string, error) {
		cmd := exec.Command("make", "install", "BIN="+built, "DESTDIR="+root, "PREFIX=/opt/kms11")
		for _, variable := range os.Environ() {
			if name, _, _ := strings.Cut(variable, "="); name != "MAKEFLAGS" && name != "MAKEOVERRIDES" { // of a make around this test
				cmd.Env = append(cmd.Env, variable)
			}
		}
		output, err := cmd.CombinedOutput()
		return string(output), err
	}
	if output, err := install(); err == nil || !strings.Contains(output, "run make build first") {
		t.Errorf("with nothing built: %v, %s", err, output)
	}
	if err := os.WriteFile(filepath.Join(built, "kms11"), []byte("built"), 0o700); err != nil {
		t.Fatal(err)
	}
	if output, err := install(); err != nil {
		t.Fatalf("make install: %v: install GNU make\n%s", err, output)
	}
	there := filepath.Join(root, "opt/kms11/bin/kms11")
	text, err := os.ReadFile(there)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(there)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != "built" || info.Mode() != 0o755 {
		t.Errorf("%s holds %q and has the mode %v", there, text, info.Mode())
	}
}
