package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestXKSDoctor examines the server's own proxy, over TLS with client certificates, with both kinds of
// key, and in several states of disorder.
func TestXKSDoctor(t *testing.T) {
	ca, clients := newCertifier(t, "test CA"), newCertifier(t, "client CA")
	_, cert, key := ca.issueEC(t, "localhost")
	_, clientCert, clientKey := clients.issueEC(t, "cks.kms.us-east-1.amazonaws.com")
	p := startXKS(t, "tls: {certificate: "+cert+", key: "+key+"}", "clientca: "+clients.file(t), "clientnames: [cks.kms.us-east-1.amazonaws.com]")
	p.importKey(t, "hsm-key")
	id := must(p.Client(t).CreateKey(t.Context(), &kms.CreateKeyInput{}))(t).KeyMetadata.KeyId
	p.admin(t, "key", "create", "--prefix", xksPrefix, "--id", "kms-key", "--key", aws.ToString(id))
	credential := filepath.Join(t.TempDir(), "credential.json")
	save := func(change func(*consoleFile)) {
		t.Helper()
		file := consoleFile{XksProxyUriPath: xksPrefix + "/kms/xks/v1"}
		file.XksProxyAuthenticationCredential.AccessKeyId = p.key.AccessKeyID
		file.XksProxyAuthenticationCredential.RawSecretAccessKey = p.key.SecretAccessKey
		change(&file)
		text, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(credential, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	doctor := func(args ...string) (output string, code int) {
		t.Helper()
		return kms11test.Command(t, append([]string{"xks", "doctor", "--url", strings.Replace(p.endpoint, "127.0.0.1", "localhost", 1), "--credential", credential,
			"--ca", ca.file(t), "--client-cert", clientCert, "--client-key", clientKey}, args...)...)
	}
	save(func(*consoleFile) {})
	for _, id := range []string{"hsm-key", "kms-key"} {
		output, _ := doctor("--key", id)
		graded := map[string]int{}
		for line := range strings.Lines(output) {
			grade, check, _ := strings.Cut(strings.TrimSpace(line), "  ")
			// How long an answer takes on this machine is no part of the test.
			if grade == "FAIL" && !strings.Contains(check, "within 250 ms") {
				t.Errorf("%s: %s", id, output)
				break
			}
			if slices.Contains([]string{"ok", "warn", "FAIL", "skip"}, grade) {
				graded[grade]++
			}
		}
		if graded["ok"] < 60 {
			t.Errorf("%s: only %d checks passed:\n%s", id, graded["ok"], output)
		}
		if sum := fmt.Sprintf("\n%d checks: %d passed, %d warnings, %d failed, %d skipped\n", graded["ok"]+graded["warn"]+graded["FAIL"]+graded["skip"],
			graded["ok"], graded["warn"], graded["FAIL"], graded["skip"]); !strings.Contains(output, sum) {
			t.Errorf("%s: there is no line %q:\n%s", id, sum, output)
		}
	}
	for what, c := range map[string]struct {
		change func(*consoleFile)
		args   []string
		want   string
	}{
		"a wrong secret": {func(f *consoleFile) { f.XksProxyAuthenticationCredential.RawSecretAccessKey = strings.Repeat("x", 43) },
			nil, "XksProxyIncorrectAuthenticationCredentialException: The external key store proxy rejected the request because it could not authenticate AWS KMS."},
		"a wrong path": {func(*consoleFile) {}, []string{"--prefix", "/elsewhere"},
			"XksProxyInvalidConfigurationException: The external key store proxy rejected the request because of an invalid URI path."},
		"a certificate of others": {func(*consoleFile) {}, []string{"--ca", clients.file(t)},
			"XksProxyUriUnreachableException: AWS KMS cannot establish a TLS connection to the external key store proxy."},
		"nobody there": {func(*consoleFile) {}, []string{"--url", "https://" + kms11test.FreeAddress(t)},
			"XksProxyUriUnreachableException: AWS KMS cannot communicate with the external key store proxy."},
		"a key that is not there": {func(*consoleFile) {}, []string{"--key", "nobody"},
			"CreateKey: XksKeyNotFoundException: The external key store proxy rejected the request because it could not find the external key."},
	} {
		save(c.change)
		if output, code := doctor(c.args...); code != 1 || !strings.Contains(output, c.want) {
			t.Errorf("%s: left with %d:\n%s", what, code, output)
		}
	}
	save(func(*consoleFile) {})
	p.admin(t, "key", "disable", "--id", "kms-key")
	if output, code := doctor("--key", "kms-key", "--json"); code != 1 || !strings.Contains(output,
		`"aws":"CreateKey: XksKeyInvalidConfigurationException: The status of the external key must be ENABLED. The status of specified external key is DISABLED."`) {
		t.Errorf("a disabled key: left with %d:\n%s", code, output)
	}
	for what, args := range map[string][]string{
		"no such file": {"--credential", "/nonexistent"}, "a path in the URL": {"--url", "https://localhost/x"}, "half a certificate": {"--client-key", ""}, "a key id that is none": {"--key", "a/b"},
	} {
		if output, code := doctor(args...); code != 2 || strings.Contains(output, p.key.SecretAccessKey) {
			t.Errorf("%s: left with %d: %s", what, code, output)
		}
	}
}
