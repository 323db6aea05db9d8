package clients_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/integration/kms11test"
)

// cli is the AWS CLI v1 in a directory of its own. It runs many commands in one process, since each
// process takes a second to start; TestAdminEnv and TestGreeting start it as its users do.
type cli struct {
	dir      string
	commands *json.Encoder
	answers  *json.Decoder
}

func newCLI(t *testing.T, server *kms11test.Server) cli {
	t.Helper()
	loop, err := filepath.Abs("cli_loop.py")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python(t), "-B", loop)
	cmd.Dir, cmd.Env = t.TempDir(), server.Env(t)
	for _, variable := range cmd.Env {
		// Version 1 fetches a parameter that is a URL, such as the endpoint of an external key store.
		if file, ok := strings.CutPrefix(variable, "AWS_CONFIG_FILE="); ok {
			if err := os.WriteFile(file, []byte("[default]\ncli_follow_urlparam = false\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bound := time.AfterFunc(clientBound, func() { _ = cmd.Process.Kill() }) // the command that waits fails
	t.Cleanup(func() {
		stdin.Close()
		_, _ = io.Copy(io.Discard, stdout) // to its end
		bound.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the AWS CLI: %v", err)
		}
	})
	return cli{cmd.Dir, json.NewEncoder(stdin), json.NewDecoder(stdout)}
}

// command runs `aws kms args...` and gives its output and error output.
func (c cli) command(t *testing.T, args ...string) (output, errors string, ok bool) {
	t.Helper()
	var answer struct {
		Output, Errors string
		Code           int
	}
	if err := c.commands.Encode(append([]string{"kms"}, args...)); err != nil {
		t.Fatalf("aws kms %s: %v", args[0], err)
	}
	if err := c.answers.Decode(&answer); err != nil {
		t.Fatalf("aws kms %s: %v", args[0], err)
	}
	return answer.Output, answer.Errors, answer.Code == 0
}

// ask runs a command that must succeed and decodes its JSON.
func (c cli) ask(t *testing.T, into any, args ...string) {
	t.Helper()
	output, errors, ok := c.command(t, args...)
	if !ok {
		t.Fatalf("aws kms %s: %s", args[0], errors)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal([]byte(output), into); err != nil {
		t.Fatalf("aws kms %s: %v", args[0], err)
	}
	t.Logf("ok: aws kms %s", args[0])
}

// refused runs a command that must fail with this text.
func (c cli) refused(t *testing.T, want string, args ...string) {
	t.Helper()
	if _, errors, ok := c.command(t, args...); ok || !strings.Contains(errors, want) {
		t.Errorf("aws kms %s: success %v, %q does not say %q", args[0], ok, errors, want)
	}
}

// write makes a file in the CLI's directory and gives the argument that sends its bytes.
func (c cli) write(t *testing.T, name string, data []byte) (argument string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return "fileb://" + name
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// metadata is what the tests read of a key's description.
type metadata struct {
	KeyMetadata struct {
		KeyId, Arn, KeyState, Description string
		DeletionDate                      float64 // seconds: version 1 prints what came
		SigningAlgorithms                 []string
	}
}
