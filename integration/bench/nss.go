package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/kms11/kms11/hsm"
)

// nssMissing says how to get what makeNSS needs.
const nssMissing = "`make token-deps` installs NSS and its certutil"

// makeNSS makes a database of NSS's, which is its token.
func makeNSS(dir, pinFile string) (hsm.URI, error) {
	module, err := hsm.FindNSS()
	if err != nil {
		return hsm.URI{}, fmt.Errorf("%w (%s)", err, nssMissing)
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
