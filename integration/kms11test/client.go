package kms11test

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// Admin is what admin.env holds: an access key and where to use it.
type Admin struct {
	Key      aws.Credentials
	Region   string
	Endpoint string
}

// Admin reads the server's admin.env. A server in dev mode takes any access key, so there it is
// made up.
func (s *Server) Admin(t testing.TB) Admin {
	t.Helper()
	if s.dev {
		return Admin{
			Key:      aws.Credentials{AccessKeyID: Account, SecretAccessKey: "any"},
			Region:   Region,
			Endpoint: "http://" + s.Listen,
		}
	}
	values := s.adminEnv(t)
	return Admin{
		Key:      aws.Credentials{AccessKeyID: values["AWS_ACCESS_KEY_ID"], SecretAccessKey: values["AWS_SECRET_ACCESS_KEY"]},
		Region:   values["AWS_REGION"],
		Endpoint: values["AWS_ENDPOINT_URL_KMS"],
	}
}

func (s *Server) adminEnv(t testing.TB) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir, "admin.env"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		name, value, found := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		if found {
			values[name] = strings.Trim(value, `'"`)
		}
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL_KMS"} {
		if values[name] == "" {
			t.Fatalf("admin.env does not set %s", name)
		}
	}
	return values
}

// Env is the whole environment of a client process that talks to the server: what admin.env
// sets, and nothing of the caller's AWS set-up.
func (s *Server) Env(t testing.TB) []string {
	t.Helper()
	home := t.TempDir()
	env := []string{
		"HOME=" + home,
		"PATH=" + os.Getenv("PATH"),
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + filepath.Join(home, "config"),
		"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(home, "credentials"),
	}
	for name, value := range s.adminEnv(t) {
		env = append(env, name+"="+value)
	}
	return env
}

// Client is the AWS SDK's client for the server, as its administrator. It never retries, so
// that a test sees every answer.
func (s *Server) Client(t testing.TB) *kms.Client {
	t.Helper()
	return s.ClientWith(t, s.Admin(t).Key)
}

// ClientWith is Client with another access key.
func (s *Server) ClientWith(t testing.TB, key aws.Credentials) *kms.Client {
	t.Helper()
	return kms.New(kms.Options{
		BaseEndpoint:     aws.String("http://" + s.Listen),
		Region:           Region,
		Credentials:      credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, key.SessionToken),
		RetryMaxAttempts: 1,
		HTTPClient:       awshttp.NewBuildableClient().WithTransportOptions(bufferWholeRequests),
	})
}

// bufferWholeRequests keeps the SDK from breaking a connection now and then. With net/http's
// default buffer the end of a request of more than 4 KB is on its way before the transport has
// looked whether the body goes on. If the answer arrives in between, the SDK closes the body, the
// transport takes that for a failed write and drops the connection, and what it had not read of
// the answer is lost. The SDK's retries hide this; a client that never retries would show it.
func bufferWholeRequests(transport *http.Transport) { transport.WriteBufferSize = 64 << 10 }
