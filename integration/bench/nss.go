package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/kms11/kms11/hsm"
)

// nssPaths are where Debian and Fedora put NSS's token.
var nssPaths = []string{
	"/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
	"/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
	"/usr/lib64/libsoftokn3.so",
}

// nssMissing says how to get what makeNSS needs.
const nssMissing = "`make token-deps` installs NSS and its certutil"

// makeNSS makes a database of NSS's, which is its token.
func makeNSS(dir, pinFile string) (hsm.URI, error) {
	module, err := findNSS()
	if err != nil {
		return hsm.URI{}, err
	}
	database := filepath.Join(dir, "nss")
	if err := os.MkdirAll(database, 0o700); err != nil {
		return hsm.URI{}, err
	}
	out, err := exec.Command("certutil", "-N", "-d", "sql:"+database, "-f", pinFile).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return hsm.URI{}, fmt.Errorf("%w (%s)", err, nssMissing)
	}
	if err != nil {
		return hsm.URI{}, fmt.Errorf("certutil: %w: %s", err, out)
	}
	return hsm.URI{
		Token:      "NSS Certificate DB", // what NSS calls its first database unless told otherwise
		ModulePath: module,
		Init:       "configdir='sql:" + database + "' certPrefix='' keyPrefix='' secmod='' flags=noModDB",
	}, nil
}

func findNSS() (string, error) {
	for _, path := range nssPaths {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("NSS's library is in none of its usual places (%s)", nssMissing)
}
