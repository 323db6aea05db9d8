// Package kms11test runs the kms11 binary for black-box tests: it builds it once for a test
// process, starts it on a data directory of its own and a free loopback port, waits until it is
// ready, and ends it when the test ends. Nothing here looks inside the binary.
package kms11test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaryEnv names the binary under test by an absolute path. Main sets it to a fresh build
// where it is not set.
const binaryEnv = "KMS11_BINARY"

// Main is for a package's TestMain. It builds the binary into a temporary directory, with the
// race detector where the tests have it, runs the tests, and exits.
func Main(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(binaryEnv) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "kms11-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "kms11")
	if err := build(binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Setenv(binaryEnv, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(binary string) error {
	args := []string{"build", "-buildvcs=false", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/kms11/kms11/cmd/kms11")...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/kms11 (`make deps` installs the C compiler it needs): %w\n%s", err, output)
	}
	return nil
}

// Binary is the path of the binary under test.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv(binaryEnv)
	if path == "" {
		t.Fatal("no binary to test: the package's TestMain must call kms11test.Main")
	}
	if !filepath.IsAbs(path) {
		t.Fatalf("%s must be an absolute path, not %q", binaryEnv, path)
	}
	return path
}
