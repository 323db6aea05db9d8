package xks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/kms11/kms11/sigv4"
)

// DefaultTimeout is how long AWS KMS waits for a proxy, from connection to the last byte.
const DefaultTimeout = 250 * time.Millisecond

// maxAnswer bounds a proxy's answer in bytes; the longest valid ones have under 20,000.
const maxAnswer = 64 << 10

// ClientConfig says how a proxy is reached. It prints without its secret.
type ClientConfig struct {
	// Endpoint is "https://" and a host, with a port where that is not 443; "http://" is for tests
	// and for the network of one machine.
	Endpoint string
	// URIPath is the XksProxyUriPath, such as "/example/kms/xks/v1".
	URIPath     string
	AccessKeyID string
	Secret      string
	// Region is that of the calling KMS, for the credential scope.
	Region string
	// RootCAs verify the proxy's certificate; nil: the system's.
	RootCAs *x509.CertPool
	// Certificates are the client's own, for a proxy that wants one.
	Certificates []tls.Certificate
	// Timeout bounds one request, connection set-up included; 0: DefaultTimeout.
	Timeout time.Duration
	// Allowed says to which addresses it may connect; nil: to all.
	Allowed func(netip.Addr) bool
	// IdleConnections is how many connections are kept; 0: 64.
	IdleConnections int
	// Now is the clock of signatures; nil: time.Now.
	Now func() time.Time
}

func (ClientConfig) String() string   { return "xks.ClientConfig(***)" }
func (ClientConfig) GoString() string { return "xks.ClientConfig(***)" }

// A Client sends the requests of a KMS to one external key store proxy. It keeps its connections,
// may be used by many goroutines at once, and sends a request a second time only where a kept
// connection turns out to be closed. Close it when it is no longer needed.
type Client struct {
	config    ClientConfig
	base      string
	transport *http.Transport
}

// NewClient makes a client; it does not connect yet. An error is about the configuration.
func NewClient(c ClientConfig) (*Client, error) {
	endpoint, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || endpoint.Host == "" || endpoint.Scheme != "https" && endpoint.Scheme != "http":
		return nil, fmt.Errorf("xks: endpoint %q is not https:// and a host", c.Endpoint)
	case endpoint.Path != "" || endpoint.RawQuery != "" || endpoint.User != nil || endpoint.Fragment != "":
		return nil, fmt.Errorf("xks: endpoint %q has more than a host and a port", endpoint.Redacted())
	case !ValidURIPath(c.URIPath):
		return nil, fmt.Errorf("xks: URI path %q is not an optional prefix and %s", c.URIPath, APIRoot)
	case !ValidAccessKeyID(c.AccessKeyID):
		return nil, errors.New("xks: the access key id is not 20 to 30 of A to Z and 2 to 7")
	case !ValidSecret(c.Secret):
		return nil, errors.New("xks: the secret access key is not 43 to 64 of the letters, the digits, /, + and =")
	case c.Region == "":
		return nil, errors.New("xks: no Region")
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.IdleConnections == 0 {
		c.IdleConnections = 64
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{config: c, base: c.Endpoint + c.URIPath, transport: newTransport(&c)}, nil
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Health asks for GetHealthStatus.
func (c *Client) Health(ctx context.Context, in HealthRequest) (HealthResponse, error) {
	var out HealthResponse
	err := c.call(ctx, "/health", in, &out)
	if err == nil {
		err = out.check()
	}
	return out, err
}

// GetMetadata asks for GetKeyMetadata of an external key. Whether the key is fit for a KMS key is
// for the caller to say.
func (c *Client) GetMetadata(ctx context.Context, keyID string, in MetadataRequest) (MetadataResponse, error) {
	var out MetadataResponse
	err := c.callKey(ctx, keyID, "/metadata", in, &out)
	if err == nil {
		err = out.check()
	}
	return out, err
}

// Encrypt encrypts under an external key. An answer whose integrity value is wrong, or missing
// where it was asked for, is ErrMalformed. An empty Algorithm is AES_GCM.
func (c *Client) Encrypt(ctx context.Context, keyID string, in EncryptRequest) (EncryptResponse, error) {
	if in.Algorithm == "" {
		in.Algorithm = AlgorithmAESGCM
	}
	var out EncryptResponse
	err := c.callKey(ctx, keyID, "/encrypt", in, &out)
	if err == nil {
		err = out.check(&in)
	}
	return out, err
}

// Decrypt decrypts what Encrypt made with the same additional authenticated data. An empty
// Algorithm is AES_GCM.
func (c *Client) Decrypt(ctx context.Context, keyID string, in DecryptRequest) (DecryptResponse, error) {
	if in.Algorithm == "" {
		in.Algorithm = AlgorithmAESGCM
	}
	var out DecryptResponse
	err := c.callKey(ctx, keyID, "/decrypt", in, &out)
	if err == nil && len(out.Plaintext) != len(in.Ciphertext) {
		err = malformed("plaintext and ciphertext have different lengths")
	}
	return out, err
}

func (c *Client) callKey(ctx context.Context, keyID, operation string, in, out any) error {
	if !ValidKeyID(keyID) {
		return fmt.Errorf("xks: %q is not the id of an external key", keyID)
	}
	return c.call(ctx, "/keys/"+keyID+operation, in, out)
}

// call sends one request and reads its answer into out.
func (c *Client) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("xks: %w", err)
	}
	defer clear(body) // it may hold plaintext
	status, answer, err := c.Post(ctx, path, body)
	if err != nil {
		return err
	}
	defer clear(answer)
	if status != http.StatusOK {
		return errorOf(status, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return malformed("it is not the JSON of the operation")
	}
	return nil
}

// Post signs and sends a body to a path below the URI path and gives the status and the body of
// the answer, whatever they are.
func (c *Client) Post(ctx context.Context, path string, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("xks: %w", err)
	}
	r.Header["Content-Type"] = []string{"application/json"}
	// Without values it is not sent, but it tells net/http that a request on a kept connection
	// that the proxy has closed meanwhile may go out again: no operation changes anything.
	r.Header["Idempotency-Key"] = []string{}
	err = sigv4.Sign(r, body, c.config.AccessKeyID, sigv4.Credential{Secret: c.config.Secret}, c.config.Region, ServiceName, c.config.Now())
	if err != nil {
		return 0, nil, fmt.Errorf("xks: %w", err)
	}
	var answered atomic.Bool // set by the goroutine that reads the connection
	r = r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { answered.Store(true) }}))
	response, err := c.transport.RoundTrip(r)
	if err != nil {
		return 0, nil, transportError(ctx, err, answered.Load())
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, transportError(ctx, err, true)
	}
	if len(answer) > maxAnswer {
		return 0, nil, malformed("it is longer than 64 KiB")
	}
	return response.StatusCode, answer, nil
}

// errorOf reads an error answer.
func errorOf(status int, answer []byte) error {
	var body errorBody
	if err := json.Unmarshal(answer, &body); err != nil || body.Name == "" {
		return malformed(fmt.Sprintf("HTTP %d without an errorName", status))
	}
	return &Error{HTTPStatus: status, Name: printable(body.Name), Message: printable(body.Message)}
}

// printable makes a proxy's text fit for a log.
func printable(s string) string {
	clean := make([]byte, 0, min(len(s), MaxErrorMessage))
	for i := 0; i < len(s) && len(clean) < MaxErrorMessage; i++ {
		if s[i] >= ' ' && s[i] <= '~' {
			clean = append(clean, s[i])
		} else {
			clean = append(clean, '?')
		}
	}
	return string(clean)
}
