package integration_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kms11/kms11/integration/kms11test"
)

const keystoreFile = "keystore.db"

// The exit codes that `kms11 help` promises.
const (
	exitFailure  = 1
	exitUsage    = 2
	exitToken    = 3
	exitMismatch = 4
)

func TestRestartKeepsEverything(t *testing.T) {
	server := kms11test.Start(t)
	admin := server.Admin(t)
	client := server.Client(t)
	key := must(client.CreateKey(t.Context(), &kms.CreateKeyInput{Description: aws.String("kept")}))(t).KeyMetadata
	sealed := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("kept")}))(t)
	for range 2 {
		server.Stop(t)
		server.Restart(t)
		if again := server.Admin(t); again != admin {
			t.Error("a restart changed admin.env")
		}
		client := server.Client(t)
		if found := describe(t, client, *key.Arn); *found.Description != "kept" {
			t.Errorf("the description is %q", *found.Description)
		}
		if opened := must(client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))(t); string(opened.Plaintext) != "kept" {
			t.Error("the blob decrypts to other bytes")
		}
		createKey(t, client)
	}
}

// TestStartRefusals starts servers that must not start, and wants the reason.
func TestStartRefusals(t *testing.T) {
	cases := []struct {
		name string
		args []string
		says string // a part of the reason
	}{
		{"off loopback without TLS", []string{"--listen", "0.0.0.0:0"}, "tls.certificate"},
		{"every address without TLS", []string{"--listen", ":0"}, "tls.certificate"},
		{"a listen address without a port", []string{"--listen", "127.0.0.1"}, "127.0.0.1"},
		{"a port that is none", []string{"--listen", "127.0.0.1:http11"}, "http11"},
		{"an account of 11 digits", []string{"--account", "11112222333"}, "11112222333"},
		{"a Region that is none", []string{"--region", "Nowhere"}, "Nowhere"},
		{"a flag that is none", []string{"--no-such-flag"}, "no-such-flag"},
		{"dev mode off loopback", []string{"--dev", "--listen", "0.0.0.0:0"}, "loopback"},
		{"dev mode on every address", []string{"--dev", "--listen", ":0"}, "loopback"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			args := append([]string{"serve", "--data", dir}, c.args...)
			wantRefusal(t, exitUsage, c.says, args...)
			if _, err := os.Stat(filepath.Join(dir, keystoreFile)); err == nil {
				t.Error("it made a keystore before it refused")
			}
		})
	}

	configs := map[string]struct{ text, says string }{
		"an unknown setting":        {"lisen: 127.0.0.1:0\n", "lisen"},
		"a setting of another type": {"sessions: many\n", "many"},
		"a config that is no YAML":  {"listen: [\n", "line 1"},
		"a token URI that is none":  {"tokens: ['http://token']\n", "tokens"},
	}
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "kms11.yaml")
			if err := os.WriteFile(file, []byte(config.text), 0o600); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, exitUsage, config.says, "serve", "--config", file, "--data", filepath.Join(t.TempDir(), "data"))
		})
	}
	t.Run("a config file that is not there", func(t *testing.T) {
		wantRefusal(t, exitUsage, "none.yaml", "serve", "--config", "none.yaml", "--data", filepath.Join(t.TempDir(), "data"))
	})
	t.Run("a data directory that is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, exitFailure, file, "serve", "--data", file, "--listen", kms11test.FreeAddress(t))
	})
	t.Run("a directory that is being served", func(t *testing.T) {
		server := kms11test.Start(t)
		wantRefusal(t, exitFailure, server.Dir, "serve", "--data", server.Dir, "--listen", kms11test.FreeAddress(t))
		createKey(t, server.Client(t))
	})
	t.Run("an address that is taken", func(t *testing.T) {
		server := kms11test.Start(t)
		wantRefusal(t, exitFailure, server.Listen, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--listen", server.Listen)
	})
}

// TestTokenAndStoreMustBelongTogether takes apart what belongs together. A server that made a
// new token beside an old keystore, or the reverse, would lose every key without a word.
func TestTokenAndStoreMustBelongTogether(t *testing.T) {
	stopped := func(t *testing.T) *kms11test.Server {
		server := kms11test.Start(t)
		createKey(t, server.Client(t))
		server.Stop(t)
		return server
	}
	refused := func(t *testing.T, server *kms11test.Server, code int, says string) (output string) {
		t.Helper()
		return wantRefusal(t, code, says, "serve", "--data", server.Dir, "--listen", server.Listen)
	}

	t.Run("the keystore is gone", func(t *testing.T) {
		server := stopped(t)
		if err := os.Remove(filepath.Join(server.Dir, keystoreFile)); err != nil {
			t.Fatal(err)
		}
		refused(t, server, exitMismatch, "keystore")
	})
	t.Run("the token is gone", func(t *testing.T) {
		server := stopped(t)
		if err := os.RemoveAll(filepath.Join(server.Dir, "token")); err != nil {
			t.Fatal(err)
		}
		refused(t, server, exitMismatch, "token")
		if _, err := os.Stat(filepath.Join(server.Dir, keystoreFile)); err != nil {
			t.Error("the keystore went with it")
		}
	})
	t.Run("the token's objects are gone", func(t *testing.T) {
		server := stopped(t)
		if err := os.RemoveAll(tokenDir(t, server.Dir)); err != nil {
			t.Fatal(err)
		}
		refused(t, server, exitToken, "token")
	})
	t.Run("another server's keystore", func(t *testing.T) {
		one, two := stopped(t), stopped(t)
		store, err := os.ReadFile(filepath.Join(two.Dir, keystoreFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(one.Dir, keystoreFile), store, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, one, exitMismatch, "token")
	})
	t.Run("the keystore is no keystore", func(t *testing.T) {
		server := stopped(t)
		if err := os.WriteFile(filepath.Join(server.Dir, keystoreFile), []byte(strings.Repeat("nonsense ", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, server, exitMismatch, keystoreFile)
	})
	t.Run("a wrong PIN", func(t *testing.T) {
		server := stopped(t)
		const wrong = "a-wrong-PIN-7316"
		if err := os.WriteFile(filepath.Join(server.Dir, userPINFile), []byte(wrong+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if output := refused(t, server, exitToken, "PIN"); strings.Contains(output, wrong) {
			t.Error("the reason repeats the PIN")
		}
	})
}

// TestEditedRecordIsRefused edits a key's record in the file, as someone who can write the
// keystore could, and leaves the rest as it is.
func TestEditedRecordIsRefused(t *testing.T) {
	server := kms11test.Start(t)
	const before, after = "description-before-the-edit", "description-edited-by-a-foe"
	client := server.Client(t)
	edited := must(client.CreateKey(t.Context(), &kms.CreateKeyInput{Description: aws.String(before)}))(t).KeyMetadata
	untouched := createKey(t, client)
	server.Stop(t)

	path := filepath.Join(server.Dir, keystoreFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(data, []byte(before), []byte(after))
	if bytes.Equal(changed, data) {
		t.Fatal("the record's text is not in the file: this test edits nothing")
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}

	server.Restart(t)
	client = server.Client(t)
	_, err = client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: edited.KeyId})
	wantCode(t, err, "KMSInternalException", "")
	_, err = client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: edited.KeyId, Plaintext: []byte("x")})
	wantCode(t, err, "KMSInternalException", "")
	describe(t, client, *untouched.KeyId)
}

// wantRefusal runs a command that must end by itself with this exit code and one line of reason.
func wantRefusal(t *testing.T, code int, says string, args ...string) (output string) {
	t.Helper()
	output, got := kms11test.Command(t, args...)
	if got != code {
		t.Errorf("kms11 %q left with %d, want %d", args, got, code)
	}
	if !strings.Contains(output, says) {
		t.Errorf("the reason does not say %q:\n%s", says, output)
	}
	if strings.Contains(output, "goroutine ") {
		t.Errorf("a stack trace instead of a reason:\n%s", output)
	}
	return output
}

// tokenDir finds the directory of the one SoftHSM2 token below dir.
func tokenDir(t testing.TB, dir string) string {
	t.Helper()
	var found []string
	walk(t, dir, func(path string, info fs.FileInfo) {
		if info.Name() == "token.object" {
			found = append(found, filepath.Dir(path))
		}
	})
	if len(found) != 1 {
		t.Fatalf("tokens: %q", found)
	}
	return found[0]
}
