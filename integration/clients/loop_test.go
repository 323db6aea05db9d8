package clients_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// loop is a Python client that answers one line of JSON with another until its input ends. It runs in a
// directory of its own.
type loop struct {
	dir       string
	questions *json.Encoder
	answers   *json.Decoder
}

func newLoop(t *testing.T, script string, env []string) loop {
	t.Helper()
	path, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python(t), "-B", path)
	cmd.Dir, cmd.Env = t.TempDir(), env
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
	bound := time.AfterFunc(clientBound, func() { _ = cmd.Process.Kill() }) // the question that waits fails
	t.Cleanup(func() {
		stdin.Close()
		_, _ = io.Copy(io.Discard, stdout) // to its end
		bound.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	})
	return loop{cmd.Dir, json.NewEncoder(stdin), json.NewDecoder(stdout)}
}

// exchange sends a question and waits for its answer.
func (l loop) exchange(t *testing.T, question, answer any) {
	t.Helper()
	if err := l.questions.Encode(question); err != nil {
		t.Fatalf("the Python client: %v", err)
	}
	if err := l.answers.Decode(answer); err != nil {
		t.Fatalf("the Python client: %v", err)
	}
}
