package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestListObjects sees the three keys of the domain and a resident key beside a running server.
func TestListObjects(t *testing.T) {
	server := kms11test.Start(t)
	client := server.Client(t)
	createKey(t, client) // rests in the keystore
	edwards := newKey(t, client, types.KeySpecEccNistEdwards25519, types.KeyUsageTypeSignVerify)
	output, code := kms11test.Command(t, "hsm", "objects", "--json", "--data", server.Dir)
	var objects []struct {
		Class, KeyType, Label, Domain, Role string
		Version                             int
		Sensitive, Extractable              bool
	}
	if err := json.Unmarshal([]byte(output), &objects); err != nil || code != 0 {
		t.Fatalf("kms11 hsm objects left with %d and printed\n%s", code, output)
	}
	var found []string
	for _, o := range objects {
		if !o.Sensitive || o.Extractable || o.Domain != objects[0].Domain || len(o.Domain) != 32 {
			t.Errorf("%+v", o)
		}
		line := fmt.Sprintf("%s %s %s %d", o.Class, o.KeyType, o.Role, o.Version)
		if o.Role == "resident" {
			line += " " + o.Label
		}
		found = append(found, line)
	}
	slices.Sort(found)
	want := []string{
		"CKO_PRIVATE_KEY CKK_EC_EDWARDS resident 0 " + *edwards.KeyId,
		"CKO_SECRET_KEY CKK_AES domain 1", "CKO_SECRET_KEY CKK_AES sealing 1", "CKO_SECRET_KEY CKK_GENERIC_SECRET record 1",
	}
	if !slices.Equal(found, want) {
		t.Errorf("the token has %q, want %q", found, want)
	}
	output, code = kms11test.Command(t, "hsm", "objects", "--data", server.Dir)
	if code != 0 || !strings.Contains(output, *edwards.KeyId) || !strings.Contains(output, "LABEL") {
		t.Errorf("kms11 hsm objects left with %d and printed\n%s", code, output)
	}
}

// TestSelfTest takes SoftHSM2's answers for right, and those of a token that errs for wrong.
func TestSelfTest(t *testing.T) {
	module := newFaultModule(t)
	server := kms11test.Start(t)
	output, code := kms11test.Command(t, "hsm", "selftest", "--data", server.Dir)
	if code != 0 || strings.Contains(output, "WRONG") || strings.Count(output, " ok ") < 12 {
		t.Errorf("kms11 hsm selftest left with %d and printed\n%s", code, output)
	}
	server.Stop(t)
	module.set(t, lies, 1)
	output, code = kms11test.Command(t, "hsm", "selftest", "--data", server.Dir)
	for _, mechanism := range []string{"AES-256-GCM", "CKM_SHA256_HMAC", "RSA PKCS #1 v1.5 signature", "Ed25519"} {
		if !slices.ContainsFunc(strings.Split(output, "\n"), func(line string) bool {
			return strings.HasPrefix(line, mechanism+" ") && strings.Contains(line, " WRONG ")
		}) {
			t.Errorf("a wrong answer of %s goes unseen", mechanism)
		}
	}
	if code != exitToken {
		t.Errorf("kms11 hsm selftest left with %d and printed\n%s", code, output)
	}
	module.set(t, lies, 0)
}

func TestMeasureToken(t *testing.T) {
	server := kms11test.Start(t)
	output, code := kms11test.Command(t, "hsm", "bench", "--json", "--for", "20ms", "--concurrency", "1", "--concurrency", "2", "--data", server.Dir)
	var figures []struct {
		Name        string
		Concurrency int
		Calls       int
		P50Micros   float64
		P99Micros   float64
		Detail      string
	}
	if err := json.Unmarshal([]byte(output), &figures); err != nil || code != 0 || len(figures) < 12 {
		t.Fatalf("kms11 hsm bench left with %d and printed\n%s", code, output)
	}
	for _, f := range figures {
		if f.Detail != "" || f.Calls < f.Concurrency || f.P50Micros <= 0 || f.P99Micros < f.P50Micros {
			t.Errorf("%+v", f)
		}
	}
	wantRefusal(t, exitUsage, "concurrency", "hsm", "bench", "--concurrency", "0", "--data", server.Dir)
}

// TestInitToken makes a token by command and a domain in it.
func TestInitToken(t *testing.T) {
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"softhsm2.conf": "directories.tokendir = " + tokens + "\n", "pin": "a user's PIN\n", "so": "an officer's PIN\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf"))
	arguments := []string{"hsm", "init-token", "--label", "by command", "--pin-file", filepath.Join(dir, "pin"), "--so-pin-file", filepath.Join(dir, "so")}
	output, code := kms11test.Command(t, arguments...)
	if code != 0 || !strings.HasPrefix(output, "pkcs11:token=by%20command?") || strings.Contains(output, "PIN") {
		t.Fatalf("kms11 hsm init-token left with %d and printed\n%s", code, output)
	}
	info, code := kms11test.Command(t, "hsm", "info", "--token", strings.TrimSpace(output), "--data", filepath.Join(dir, "data"))
	if code != 0 || !strings.Contains(info, "by command") {
		t.Errorf("kms11 hsm info left with %d and printed\n%s", code, info)
	}
	wantRefusal(t, exitFailure, "there already", arguments...)
}
