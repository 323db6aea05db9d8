package kms11test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
)

// ServerEnv is the environment of a kms11 process in tests: nothing of the caller's that could
// choose another token, store or account.
func ServerEnv(t testing.TB) []string {
	t.Helper()
	env := []string{
		"HOME=" + t.TempDir(),
		"GORACE=atexit_sleep_ms=0", // else a process with the race detector takes a second to end
	}
	for _, name := range []string{"PATH", "TMPDIR", "SOFTHSM2_MODULE", "SOFTHSM2_CONF", "PKCS11SPY", "PKCS11SPY_OUTPUT",
		"KRYOPTIC_CONF", "TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI", "DBUS_SESSION_BUS_ADDRESS"} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// Output is the standard output of a command that has to succeed. What goes to standard error, where some
// libraries write too, is logged.
func Output(t testing.TB, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.Env, cmd.Stderr = ServerEnv(t), t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kms11 %q: %v", args, err)
	}
	return out
}

// Command runs the binary to its end and gives its whole output and exit code. It is for
// commands that end by themselves; one that is still running after the bound fails the test.
func Command(t testing.TB, args ...string) (output string, exitCode int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.Env = ServerEnv(t)
	data, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("kms11 %q was still running after %v\n%s", args, startBound, data)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(data), cmd.ProcessState.ExitCode()
}
