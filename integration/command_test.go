package integration_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

func TestVersion(t *testing.T) {
	output, code := kms11test.Command(t, "version")
	if code != 0 || !strings.HasPrefix(output, "kms11 ") || strings.Count(output, "\n") != 1 {
		t.Errorf("kms11 version left with %d and printed %q", code, output)
	}
}

// TestInitThenServe makes everything by `init`; serve then makes nothing.
func TestInitThenServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	output, code := kms11test.Command(t, "init", "--data", dir, "--account", kms11test.Account)
	if code != 0 || !strings.Contains(output, "admin.env") {
		t.Fatalf("kms11 init left with %d and printed %s", code, output)
	}
	wantRefusal(t, exitMismatch, "keystore", "init", "--data", dir)
	server := kms11test.StartIn(t, dir)
	createKey(t, server.Client(t))
}

// TestLookAtTheToken runs the commands that look at a token, beside the server that uses it.
func TestLookAtTheToken(t *testing.T) {
	server := kms11test.Start(t)
	output, code := kms11test.Command(t, "hsm", "info", "--data", server.Dir)
	if code != 0 || !strings.Contains(output, "SoftHSM") {
		t.Errorf("kms11 hsm info left with %d and printed\n%s", code, output)
	}
	output, code = kms11test.Command(t, "hsm", "probe", "--json", "--data", server.Dir)
	if code != 0 || !json.Valid([]byte(output)) || !strings.Contains(output, "AES") {
		t.Errorf("kms11 hsm probe --json left with %d and printed\n%s", code, output)
	}
	for _, command := range []string{"info", "probe"} {
		wantRefusal(t, exitToken, "serve", "hsm", command, "--data", filepath.Join(t.TempDir(), "none"))
	}
	createKey(t, server.Client(t))
}

// TestStatus asks a running server, and one that has stopped.
func TestStatus(t *testing.T) {
	server := kms11test.Start(t)
	for _, args := range [][]string{{"status", "--data", server.Dir}, {"status", "--json", "--data", server.Dir}} {
		output, code := kms11test.Command(t, args...)
		var status struct {
			Version string `json:"version"`
			Healthy bool   `json:"healthy"`
		}
		if err := json.Unmarshal([]byte(output), &status); err != nil || code != 0 || status.Version == "" || !status.Healthy {
			t.Errorf("kms11 %q left with %d and printed\n%s", args, code, output)
		}
	}
	server.Stop(t)
	wantRefusal(t, exitFailure, "no server answers", "status", "--data", server.Dir)
}

// TestAccountOfTheKeystore starts a server without an account, with the one that its keystore was
// made for, and with another.
func TestAccountOfTheKeystore(t *testing.T) {
	const made, other = "444455556666", "777788889999"
	dir := filepath.Join(t.TempDir(), "data")
	if output, code := kms11test.Command(t, "init", "--data", dir, "--account", made); code != 0 {
		t.Fatalf("kms11 init left with %d and printed %s", code, output)
	}
	for _, account := range []string{"", made} { // "" is the same as no flag
		server := kms11test.StartIn(t, dir, "--account", account)
		if key := createKey(t, server.Client(t)); *key.AWSAccountId != made {
			t.Errorf("serve --account %q: made %s", account, *key.Arn)
		}
		server.Stop(t)
	}
	wantRefusal(t, exitMismatch, other, "serve", "--data", dir, "--listen", kms11test.FreeAddress(t), "--account", other)
}
