// Package clients_test runs AWS's clients in other languages against the built binary: the AWS
// CLI, boto3 and the SDK for JavaScript. `make integration-deps` installs them, `make
// integration` runs these tests; `make test` leaves them out.
package clients_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/integration/kms11test"
)

func TestMain(m *testing.M) { kms11test.Main(m) }

// clientBound only ends a client that hangs.
const clientBound = 5 * time.Minute

// python is an interpreter that has the AWS CLI and boto3.
func python(t *testing.T) string {
	t.Helper()
	return kms11test.Python(t, ".")
}

// run runs a client to its end in the server's client environment and prints what it printed.
func run(t *testing.T, server *kms11test.Server, name string, args ...string) {
	t.Helper()
	runWith(t, server.Env(t), name, args...)
}

// runWith is run in another environment.
func runWith(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	output, err := cmd.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Fatalf("%s: %v", filepath.Base(name), err)
	}
	if !strings.Contains(string(output), "ok: that was all\n") {
		t.Error("it did not come to its end")
	}
}

// scripts are what boto3 and the SDK for JavaScript each have a file for. Each file gets a server of
// its own.
func scripts() []string { return []string{"symmetric", "keys", "management"} }

func TestBoto3(t *testing.T) {
	interpreter := python(t)
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("no openssl, which checks what boto3 was given: run `make integration-deps`")
	}
	for _, script := range append(scripts(), "import") { // OpenSSL wraps what is imported
		t.Run(script, func(t *testing.T) {
			run(t, kms11test.Start(t), interpreter, "-B", "boto3_"+script+".py")
		})
	}
}

func TestNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("no node: install Node.js 20 or newer, then run `make integration-deps`")
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules", "@aws-sdk", "client-kms")); err != nil {
		t.Fatal("the AWS SDK for JavaScript is missing: run `make integration-deps`")
	}
	for _, script := range scripts() {
		t.Run(script, func(t *testing.T) {
			run(t, kms11test.Start(t), node, filepath.Join("node", script+"_test.mjs"))
		})
	}
}
