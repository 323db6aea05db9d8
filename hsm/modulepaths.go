package hsm

import (
	"errors"
	"fmt"
	"os"
)

// softHSMPaths are where Debian, Ubuntu, Fedora, Arch, Homebrew and a build from source put
// SoftHSM2's library.
var softHSMPaths = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/lib64/softhsm/libsofthsm2.so",
	"/usr/lib/pkcs11/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
}

// FindSoftHSM gives the path of SoftHSM2's library: the environment variable SOFTHSM2_MODULE, or
// where distributions put it. The error matches ErrNotFound.
func FindSoftHSM() (string, error) {
	if path := os.Getenv("SOFTHSM2_MODULE"); path != "" {
		return path, nil
	}
	return findModule("SoftHSM2's library", softHSMPaths)
}

// nssPaths are where Debian and Fedora put NSS's token.
var nssPaths = []string{
	"/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
	"/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
	"/usr/lib64/libsoftokn3.so",
}

// FindNSS gives the path of NSS's softoken where distributions put it. The error matches ErrNotFound.
func FindNSS() (string, error) { return findModule("NSS's library", nssPaths) }

// findModule gives the first of the paths that is there.
func findModule(name string, paths []string) (string, error) {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrNotFound)
}
