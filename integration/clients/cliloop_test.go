package clients_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// cli is the AWS CLI v1 in a directory of its own. It runs many commands in one process, since each
// process takes a second to start; TestAdminEnv and TestGreeting start it as its users do.
type cli struct{ loop }

func newCLI(t *testing.T, server *kms11test.Server) cli {
	t.Helper()
	env := server.Env(t)
	for _, variable := range env {
		if file, ok := strings.CutPrefix(variable, "AWS_CONFIG_FILE="); ok {
			if err := os.WriteFile(file, []byte("[default]\n"+literalURLs), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return cli{newLoop(t, "cli_loop.py", env)}
}

// literalURLs keeps version 1 from fetching a parameter that is a URL, such as the endpoint of an external
// key store.
const literalURLs = "cli_follow_urlparam = false\n"

// command runs `aws kms args...` and gives its output and error output.
func (c cli) command(t *testing.T, args ...string) (output, errors string, ok bool) {
	t.Helper()
	return c.run(t, append([]string{"kms"}, args...)...)
}

// run runs `aws args...`.
func (c cli) run(t *testing.T, args ...string) (output, errors string, ok bool) {
	t.Helper()
	var answer struct {
		Output, Errors string
		Code           int
	}
	c.exchange(t, args, &answer)
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
