package integration_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kms11/kms11/integration/kms11test"
)

// wait ends when done does. It is for what happens by itself, after a time that does not matter.
func wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not within two minutes: %s", what)
}

// softHSMModule is the library that the server uses.
func softHSMModule(t testing.TB) string {
	t.Helper()
	if module := os.Getenv("SOFTHSM2_MODULE"); module != "" {
		return module
	}
	for _, path := range []string{
		"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
		"/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib/pkcs11/libsofthsm2.so",
		"/opt/homebrew/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
	} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("no libsofthsm2.so: run `make deps`, or set SOFTHSM2_MODULE")
	return ""
}

// TestXKSCredentialRotation changes credentials while clients use them: two work at once, and a change
// counts from the moment that its command has ended. No request fails that should not.
func TestXKSCredentialRotation(t *testing.T) {
	p := startXKS(t)
	p.importKey(t, "k")
	first, second := *p, *p
	second.key = p.newCredential(t, xksPrefix)

	var stop atomic.Bool
	var served atomic.Int64
	var clients sync.WaitGroup
	// Those who hold the second credential must never see an error, whatever happens to others.
	for range 4 {
		clients.Go(func() {
			for !stop.Load() {
				if a := second.call(t, "/keys/k/encrypt", encryptBody([]byte("x"), nil)); a.status != http.StatusOK {
					t.Errorf("under load: %v", a)
				}
				served.Add(1)
			}
		})
	}
	for range 3 {
		before := served.Load()
		first.ok(t, "/keys/k/encrypt", encryptBody([]byte("x"), nil))
		p.admin(t, "credential", "disable", "--id", first.key.AccessKeyID)
		first.call(t, "/keys/k/encrypt", encryptBody([]byte("x"), nil)).refused(t, "a disabled credential", "AuthenticationFailedException")
		p.admin(t, "credential", "enable", "--id", first.key.AccessKeyID)
		first.ok(t, "/keys/k/encrypt", encryptBody([]byte("x"), nil))
		third := *p
		third.key = p.newCredential(t, xksPrefix)
		third.ok(t, "/keys/k/encrypt", encryptBody([]byte("x"), nil))
		p.admin(t, "credential", "delete", "--id", third.key.AccessKeyID)
		third.call(t, "/keys/k/encrypt", encryptBody([]byte("x"), nil)).refused(t, "a deleted credential", "AuthenticationFailedException")
		p.admin(t, "tenant", "update", "--prefix", xksPrefix, "--rate", "100000")
		wait(t, "the others are served meanwhile", func() bool { return served.Load() > before })
	}
	stop.Store(true)
	clients.Wait()
	list := p.admin(t, "credential", "list")
	if !strings.Contains(list, first.key.AccessKeyID) || strings.Contains(list, first.key.SecretAccessKey) {
		t.Error("the list of credentials lacks one, or shows a secret")
	}
	if strings.Contains(p.Log(t), first.key.SecretAccessKey) {
		t.Error("a secret is in the log")
	}
	p.Kill(t)
	p.Restart(t)
	first.ok(t, "/keys/k/encrypt", encryptBody([]byte("x"), nil))
}

// TestXKSCredentialFile reads a credential from a file, and follows it.
func TestXKSCredentialFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credential.json")
	write := func(key aws.Credentials) {
		t.Helper()
		content := consoleFile{XksProxyUriPath: xksPrefix + "/kms/xks/v1"}
		content.XksProxyAuthenticationCredential.AccessKeyId = key.AccessKeyID
		content.XksProxyAuthenticationCredential.RawSecretAccessKey = key.SecretAccessKey
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		// As a rotation should write: one file or the other, never half of one.
		if err := os.WriteFile(file+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	one := aws.Credentials{AccessKeyID: strings.Repeat("FILE", 6), SecretAccessKey: strings.Repeat("secret1+", 6)}
	two := aws.Credentials{AccessKeyID: strings.Repeat("NEXT", 6), SecretAccessKey: strings.Repeat("another=", 6) + "and/longer"}
	write(one)
	p := startXKS(t, "credentials: ["+file+"]")
	body := fields{"requestMetadata": xksMetadata("KmsHealthCheck")}
	old, next := *p, *p
	old.key, next.key = one, two
	old.ok(t, "/health", body)
	p.ok(t, "/health", body)
	write(two)
	wait(t, "the new file is read", func() bool { return next.call(t, "/health", body).status == http.StatusOK })
	old.call(t, "/health", body).refused(t, "the old file's credential", "AuthenticationFailedException")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	wait(t, "the file's end is noticed", func() bool { return next.call(t, "/health", body).status == http.StatusUnauthorized })
	p.ok(t, "/health", body)
}

// TestXKSThrottling: a tenant beyond its rate is told so, others are not.
func TestXKSThrottling(t *testing.T) {
	p := startXKS(t)
	p.admin(t, "tenant", "create", "--prefix", "/other/tenant")
	other := *p
	other.prefix, other.key = "/other/tenant", p.newCredential(t, "/other/tenant")
	p.admin(t, "tenant", "update", "--prefix", xksPrefix, "--rate", "1")
	body := fields{"requestMetadata": xksMetadata("KmsHealthCheck")}
	var served, throttled atomic.Int32
	var clients sync.WaitGroup
	for range 100 { // to be served at 1 a second they would have to take 99 seconds
		clients.Go(func() {
			switch a := p.call(t, "/health", body); a.status {
			case http.StatusOK:
				served.Add(1)
			default:
				throttled.Add(1)
				a.refused(t, "beyond the rate", "ThrottlingException")
			}
			other.ok(t, "/health", body)
		})
	}
	clients.Wait()
	if served.Load() == 0 || throttled.Load() == 0 {
		t.Errorf("%d served, %d throttled", served.Load(), throttled.Load())
	}
	p.admin(t, "tenant", "update", "--prefix", xksPrefix, "--rate", "0")
	for range 20 {
		p.ok(t, "/health", body)
	}
}

// TestXKSTenants keeps tenants apart: keys, credentials, paths.
func TestXKSTenants(t *testing.T) {
	p := startXKS(t)
	p.importKey(t, "mine")
	p.admin(t, "tenant", "create", "--prefix", "/")
	root := *p
	root.prefix, root.key = "/", p.newCredential(t, "/")
	body := fields{"requestMetadata": xksMetadata("DescribeKey")}
	root.ok(t, "/health", body)
	root.call(t, "/keys/mine/metadata", body).refused(t, "another tenant's key", "KeyNotFoundException")
	mixed := *p
	mixed.key = root.key
	mixed.call(t, "/keys/mine/metadata", body).refused(t, "another tenant's credential", "AuthenticationFailedException")
	for what, args := range map[string][]string{
		"a prefix that is there":   {"tenant", "create", "--prefix", xksPrefix},
		"no slash":                 {"tenant", "create", "--prefix", "example"},
		"a slash at the end":       {"tenant", "create", "--prefix", "/example/"},
		"a character of no prefix": {"tenant", "create", "--prefix", "/exa.mple"},
		"a long one":               {"tenant", "create", "--prefix", "/" + strings.Repeat("x", 117)},
		"a tenant with keys":       {"tenant", "delete", "--prefix", xksPrefix},
		"an id that is taken":      {"key", "create", "--prefix", "/", "--id", "mine", "--object", "pkcs11:token=kms11;object=mine"},
		"no tenant":                {"key", "create", "--prefix", "/nobody", "--id", "x", "--object", "pkcs11:token=kms11;object=mine"},
		"no tenant for it":         {"credential", "create", "--prefix", "/nobody"},
		"no such key":              {"key", "disable", "--id", "nobody"},
		"a bad key id":             {"key", "create", "--prefix", "/", "--id", "a/b", "--object", "pkcs11:token=kms11;object=mine"},
		"no such credential":       {"credential", "disable", "--id", "NOBODY"},
		"no such tenant":           {"tenant", "update", "--prefix", "/nobody", "--rate", "1"},
	} {
		output, code := p.tryAdmin(t, args...)
		if code == 0 || !strings.HasPrefix(output, "kms11: ") || strings.Count(output, "\n") != 1 {
			t.Errorf("%s: left with %d: %s", what, code, output)
		}
	}
	p.admin(t, "key", "delete", "--id", "mine")
	p.admin(t, "credential", "delete", "--id", p.key.AccessKeyID)
	p.admin(t, "tenant", "delete", "--prefix", xksPrefix)
	p.call(t, "/health", body).refused(t, "a deleted tenant", "InvalidUriPathException")
	root.ok(t, "/health", body)
}

// TestXKSRules is the secondary authorisation: on the metadata of a request, except for health.
func TestXKSRules(t *testing.T) {
	p := startXKS(t)
	p.importKey(t, "k")
	p.importKey(t, "l")
	rules := filepath.Join(t.TempDir(), "rules.json")
	set := func(text string) (output string, code int) {
		t.Helper()
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p.tryAdmin(t, "tenant", "update", "--prefix", xksPrefix, "--rules", rules)
	}
	if output, code := set(`[
		{"principals": ["arn:aws:iam::123456789012:user/A*", "AWS Internal"], "kmsOperations": ["Encrypt", "GenerateDataKey*"], "kmsKeyArns": ["arn:aws:kms:us-east-2:123456789012:key/*"], "keys": ["k"]},
		{"principals": ["arn:aws:iam::123456789012:role/r?le"], "sourceVpces": ["vpce-1"], "sourceVpcs": ["vpc-*"], "viaServices": ["ebs"]}
	]`); code != 0 {
		t.Fatal(output)
	}
	base := xksMetadata("Encrypt")
	role := with(base, "awsPrincipalArn", "arn:aws:iam::123456789012:role/role", "awsSourceVpc", "vpc-7", "awsSourceVpce", "vpce-1")
	for what, c := range map[string]struct {
		key      string
		metadata fields
		allowed  bool
	}{
		"the first rule":            {"k", base, true},
		"a wildcard's operation":    {"k", with(base, "kmsOperation", "GenerateDataKeyWithoutPlaintext"), true},
		"AWS Internal":              {"k", with(base, "awsPrincipalArn", "AWS Internal"), true},
		"another key":               {"l", base, false},
		"another operation":         {"k", with(base, "kmsOperation", "ReEncrypt"), false},
		"another user":              {"k", with(base, "awsPrincipalArn", "arn:aws:iam::123456789012:user/Bob"), false},
		"case counts":               {"k", with(base, "awsPrincipalArn", "arn:aws:iam::123456789012:user/alice"), false},
		"another account's KMS key": {"k", with(base, "kmsKeyArn", "arn:aws:kms:us-east-2:999999999999:key/1"), false},
		"the second rule":           {"l", role, true},
		"another endpoint":          {"l", with(role, "awsSourceVpce", "vpce-2"), false},
		"no endpoint":               {"l", with(role, "awsSourceVpce", nil), false},
		"another service":           {"l", with(role, "kmsViaService", "s3"), false},
		"a longer role":             {"l", with(role, "awsPrincipalArn", "arn:aws:iam::123456789012:role/roole"), false},
	} {
		a := p.call(t, "/keys/"+c.key+"/encrypt", with(encryptBody([]byte("x"), nil), "requestMetadata", c.metadata))
		if c.allowed {
			if a.status != http.StatusOK {
				t.Errorf("%s: %v", what, a)
			}
			continue
		}
		a.refused(t, what, "AccessDeniedException")
	}
	p.call(t, "/keys/k/metadata", fields{"requestMetadata": with(base, "kmsKeyArn", nil)}).refused(t, "no key ARN", "AccessDeniedException")
	p.ok(t, "/health", fields{"requestMetadata": fields{"kmsRequestId": "r", "kmsOperation": "Anything"}})
	for _, bad := range []string{`{}`, `[{"principal": ["x"]}]`, `[{"principals": "x"}]`, `[{"principals": [""]}]`, `nonsense`} {
		if output, code := set(bad); code == 0 {
			t.Errorf("rules %s are taken: %s", bad, output)
		}
	}
	p.call(t, "/keys/l/encrypt", encryptBody([]byte("x"), nil)).refused(t, "bad rules change nothing", "AccessDeniedException")
	if output, code := set(`[]`); code != 0 {
		t.Fatal(output)
	}
	p.ok(t, "/keys/l/encrypt", encryptBody([]byte("x"), nil))
	p.Stop(t) // all lines are there then
	if log := p.Log(t); !strings.Contains(log, "error=AccessDeniedException") || !strings.Contains(log, "principal=arn:aws:iam::123456789012:user/Bob") {
		t.Error("the log does not say who was denied")
	}
}

// TestXKSAdminNeedsAServer: the commands say what is missing.
func TestXKSAdminNeedsAServer(t *testing.T) {
	output, code := kms11test.Command(t, "xks", "tenant", "list", "--data", filepath.Join(t.TempDir(), "nothing"))
	if code != 1 || !strings.Contains(output, "start kms11 serve") {
		t.Errorf("left with %d: %s", code, output)
	}
}
