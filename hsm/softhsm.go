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
	for _, path := range softHSMPaths {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("SoftHSM2's library: %w", ErrNotFound)
}
