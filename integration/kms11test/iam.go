package kms11test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// IAM runs `kms11 iam ACTION` against the server. stdin is what it reads from standard input, if a flag
// says so.
func (s *Server) IAM(t testing.TB, stdin, action string, args ...string) (stdout, stderr string, exitCode int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(t), append([]string{"iam", action, "--data", s.Dir}, args...)...)
	cmd.Env = ServerEnv(t)
	cmd.Stdin = bytes.NewReader([]byte(stdin))
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), complaint.String(), cmd.ProcessState.ExitCode()
}

// MustIAM is IAM for actions that have to succeed.
func (s *Server) MustIAM(t testing.TB, stdin, action string, args ...string) string {
	t.Helper()
	stdout, stderr, code := s.IAM(t, stdin, action, args...)
	if code != 0 {
		t.Fatalf("kms11 iam %s: %d %s", action, code, stderr)
	}
	return stdout
}

// User makes a user with a policy, if it is not empty, and gives an access key of it.
func (s *Server) User(t testing.TB, account, name, policy string) aws.Credentials {
	t.Helper()
	s.MustIAM(t, "", "create-user", "--account", account, "--user", name)
	if policy != "" {
		s.MustIAM(t, policy, "put-policy", "--account", account, "--user", name, "--name", "use", "--policy", "-")
	}
	return s.AccessKey(t, account, name)
}

// AccessKey makes an access key of a user.
func (s *Server) AccessKey(t testing.TB, account, user string) aws.Credentials {
	t.Helper()
	var key struct{ AccessKeyID, SecretAccessKey string }
	if err := json.Unmarshal([]byte(s.MustIAM(t, "", "create-access-key", "--json", "--account", account, "--user", user)), &key); err != nil {
		t.Fatal(err)
	}
	return aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}
}

// Role makes a role with a policy, if it is not empty.
func (s *Server) Role(t testing.TB, account, name, trust, policy string) {
	t.Helper()
	s.MustIAM(t, trust, "create-role", "--account", account, "--role", name, "--trust", "-")
	if policy != "" {
		s.MustIAM(t, policy, "put-policy", "--account", account, "--role", name, "--name", "use", "--policy", "-")
	}
}

// STS is the AWS SDK's client of STS for the server, with an access key or, if it is empty, none. It
// never retries.
func (s *Server) STS(t testing.TB, key aws.Credentials) *sts.Client {
	t.Helper()
	options := sts.Options{BaseEndpoint: aws.String("http://" + s.Listen), Region: Region, RetryMaxAttempts: 1}
	if key.AccessKeyID != "" {
		options.Credentials = credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, key.SessionToken)
	}
	return sts.New(options)
}

// HangUp has the server read its identities directory at once.
func (s *Server) HangUp(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// Write puts a file into a directory, replacing the one of that name as a whole.
func Write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}
