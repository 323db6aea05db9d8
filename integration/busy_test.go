package integration_test

import (
	"path/filepath"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestBusy starts a second server on what a first one has: the reason says how to give it its own.
func TestBusy(t *testing.T) {
	server := kms11test.Start(t)
	wantRefusal(t, exitFailure, "another kms11 uses the data directory "+server.Dir+": stop it first, or name another directory with --data",
		"serve", "--data", server.Dir, "--listen", kms11test.FreeAddress(t))
	wantRefusal(t, exitFailure, "address already in use: choose another address with --listen, or with LISTEN= for make run",
		"serve", "--data", filepath.Join(t.TempDir(), "data"), "--listen", server.Listen)
}
