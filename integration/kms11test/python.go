package kms11test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Python is an interpreter that has the AWS CLI and boto3: python3 of the path, or that of the virtual
// environment which `make integration-deps` makes. clients is the way from the test's directory to
// integration/clients.
func Python(t testing.TB, clients string) string {
	t.Helper()
	var tried []string
	for _, candidate := range []string{"python3", filepath.Join(clients, "..", "..", "bin", "python-clients", "bin", "python")} {
		output, err := exec.Command(candidate, filepath.Join(clients, "check.py")).CombinedOutput()
		if err != nil {
			tried = append(tried, candidate+": "+err.Error()+" "+strings.TrimSpace(string(output)))
			continue
		}
		t.Logf("%s: %s", candidate, strings.Join(strings.Fields(string(output)), " "))
		// The name may be a wrapper that needs the caller's environment; tests run without it.
		path, err := exec.Command(candidate, "-c", "import sys; print(sys.executable)").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(path))
	}
	t.Fatalf("no Python with the AWS CLI and boto3: run `make integration-deps`\n%s", strings.Join(tried, "\n"))
	return ""
}
