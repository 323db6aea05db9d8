package clients_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

func TestCLI(t *testing.T) {
	aws := newCLI(t, kms11test.Start(t))
	var made metadata
	aws.ask(t, &made, "create-key", "--description", "by the CLI")
	key := made.KeyMetadata
	if key.KeyState != "Enabled" || key.Description != "by the CLI" || !strings.HasSuffix(key.Arn, ":key/"+key.KeyId) {
		t.Errorf("create-key gave %+v", key)
	}

	var blob struct{ CiphertextBlob, Plaintext, KeyId string }
	open := func(ciphertext string, options ...string) []byte {
		t.Helper()
		args := append([]string{"decrypt", "--ciphertext-blob", aws.write(t, "sealed", decode(t, ciphertext))}, options...)
		aws.ask(t, &blob, args...)
		return decode(t, blob.Plaintext)
	}
	binary := []byte("\x00\xff bytes that are no text\n")
	aws.ask(t, &blob, "encrypt", "--key-id", key.KeyId, "--plaintext", aws.write(t, "clear", binary), "--encryption-context", "app=cli,stage=test")
	if opened := open(blob.CiphertextBlob, "--encryption-context", "stage=test,app=cli"); !bytes.Equal(opened, binary) || blob.KeyId != key.Arn {
		t.Error("decrypt gave other bytes than were encrypted from a file")
	}
	// Version 1 takes the argument of --plaintext as the bytes themselves, not as base64.
	aws.ask(t, &blob, "encrypt", "--key-id", key.Arn, "--plaintext", "aGVsbG8=")
	sealed := blob.CiphertextBlob
	if opened := open(sealed); string(opened) != "aGVsbG8=" {
		t.Error("decrypt gave other bytes than were encrypted from the command line")
	}

	aws.ask(t, &blob, "generate-data-key", "--key-id", key.KeyId, "--key-spec", "AES_256")
	dataKey := decode(t, blob.Plaintext)
	if opened := open(blob.CiphertextBlob); len(dataKey) != 32 || !bytes.Equal(opened, dataKey) {
		t.Error("the data key's blob holds other bytes than its plaintext")
	}
	aws.ask(t, &blob, "generate-data-key-without-plaintext", "--key-id", key.KeyId, "--number-of-bytes", "20")
	if opened := open(blob.CiphertextBlob); len(opened) != 20 {
		t.Errorf("the hidden data key has %d bytes", len(opened))
	}
	aws.ask(t, &blob, "generate-random", "--number-of-bytes", "64")
	if random := decode(t, blob.Plaintext); len(random) != 64 {
		t.Errorf("generate-random gave %d bytes", len(random))
	}

	var other metadata
	aws.ask(t, &other, "create-key")
	var moved struct{ CiphertextBlob, SourceKeyId, KeyId string }
	aws.ask(t, &moved, "re-encrypt", "--ciphertext-blob", aws.write(t, "sealed", decode(t, sealed)), "--destination-key-id", other.KeyMetadata.KeyId)
	if opened := open(moved.CiphertextBlob); string(opened) != "aGVsbG8=" || moved.SourceKeyId != key.Arn || moved.KeyId != other.KeyMetadata.Arn {
		t.Errorf("re-encrypt went from %s to %s, or changed the bytes", moved.SourceKeyId, moved.KeyId)
	}

	var list struct{ Keys []struct{ KeyArn string } }
	aws.ask(t, &list, "list-keys", "--page-size", "1") // the CLI follows the pages by itself
	var listed []string
	for _, entry := range list.Keys {
		listed = append(listed, entry.KeyArn)
	}
	if len(listed) != 2 || !slices.Contains(listed, key.Arn) || !slices.Contains(listed, other.KeyMetadata.Arn) {
		t.Errorf("list-keys gave %q", listed)
	}

	aws.ask(t, nil, "update-key-description", "--key-id", key.KeyId, "--description", "renamed")
	aws.ask(t, nil, "disable-key", "--key-id", key.KeyId)
	var found metadata
	aws.ask(t, &found, "describe-key", "--key-id", key.Arn)
	if found.KeyMetadata.KeyState != "Disabled" || found.KeyMetadata.Description != "renamed" {
		t.Errorf("describe-key gave %+v", found.KeyMetadata)
	}
	aws.refused(t, "An error occurred (DisabledException) when calling the Encrypt operation: "+key.Arn+" is disabled.",
		"encrypt", "--key-id", key.KeyId, "--plaintext", "x")
	aws.ask(t, nil, "enable-key", "--key-id", key.KeyId)
	aws.refused(t, "(DryRunOperationException)", "encrypt", "--key-id", key.KeyId, "--plaintext", "x", "--dry-run")
	aws.refused(t, "An error occurred (NotFoundException) when calling the DescribeKey operation: Invalid keyId 'no-key'",
		"describe-key", "--key-id", "no-key")
	aws.refused(t, "(InvalidCiphertextException)", "decrypt", "--ciphertext-blob", aws.write(t, "sealed", []byte("no blob")))
}

// TestAdminEnv uses admin.env as its user does: a shell reads it, and the CLI needs no more.
func TestAdminEnv(t *testing.T) {
	interpreter := python(t)
	server := kms11test.Start(t)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `. "$1" && exec "$2" -m awscli kms list-keys`, "sh", filepath.Join(server.Dir, "admin.env"), interpreter)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	if output, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(output), `"Keys": []`) {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestGreeting runs the lines that serve prints for its user to try, as they are printed.
func TestGreeting(t *testing.T) {
	interpreter := python(t)
	server := kms11test.Start(t)
	_, text, _ := strings.Cut(server.Log(t), "Try it in another shell:\n")
	text, _, found := strings.Cut(text, "\nStop with")
	if !found {
		t.Fatalf("the server's greeting has another form:\n%s", server.Log(t))
	}
	script := "set -eu\naws() { " + interpreter + " -m awscli \"$@\"; }\n" + text
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = filepath.Dir(server.Dir) // where the server was started
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	output, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "hello token\n") || !strings.Contains(string(output), "CiphertextBlob") {
		t.Errorf("%v\n%s", err, output)
	}
	t.Log("ok: the lines that serve prints")
}
