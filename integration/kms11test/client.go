package kms11test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
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
	transport := &http.Transport{} // its own, with no connection to a server that was killed
	t.Cleanup(transport.CloseIdleConnections)
	return kms.New(kms.Options{
		BaseEndpoint:     aws.String("http://" + s.Listen),
		Region:           Region,
		Credentials:      credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, key.SessionToken),
		RetryMaxAttempts: 1,
		HTTPClient:       wholeBodies{http.Client{Transport: transport, Timeout: clientBound}},
	})
}

// clientBound only ends a request that hangs.
const clientBound = time.Minute

// wholeBodies gives net/http request bodies that it knows to be in memory. With the SDK's own
// body it sends every byte before it looks whether the body goes on; if the answer comes first,
// the SDK closes the body, net/http takes that for a failed write and drops the connection, and
// with it what is still unread of an answer of more than 4 KB. The SDK's retries hide this; the
// client of these tests does not retry.
type wholeBodies struct{ http.Client }

func (c wholeBodies) Do(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		request = request.Clone(request.Context())
		request.Body = io.NopCloser(bytes.NewReader(body))
	}
	return c.Client.Do(request)
}
