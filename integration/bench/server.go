package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A server is a kms11 process on a data directory of its own.
type server struct {
	*process
	binary  string
	audit   string
	args    []string
	dir     string // for its data, home and log
	address string
	id      identity
}

// startBound is how long a server may take from its start to its first answer.
const startBound = 2 * time.Minute

// newServer makes a server's data directory under dir, starts it and waits until it answers.
func newServer(ctx context.Context, opts options, dir string) (*server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // only to find a free port
	if err != nil {
		return nil, err
	}
	s := &server{binary: opts.binary, audit: opts.audit, args: opts.serveArgs, dir: dir, address: listener.Addr().String()}
	if err := listener.Close(); err != nil {
		return nil, err
	}
	if err := s.configure(ctx, opts.token, opts.config); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	healthz := []byte("GET /healthz HTTP/1.1\r\nHost: " + s.address + "\r\n\r\n")
	if err := s.waitFor(ctx, healthz); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	if err := s.readAdmin(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// start starts the process, without waiting until it answers.
func (s *server) start(ctx context.Context) error {
	args := append([]string{"serve", "--data", filepath.Join(s.dir, "data"), "--listen", s.address}, s.args...)
	p, err := startProcess(ctx, "kms11", s.dir, s.environment(), s.binary, args...)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w (`make build` makes it)", err)
	}
	if err != nil {
		return err
	}
	p.watch()
	s.process = p
	return nil
}

// waitFor sends a request over and over until it is answered with 200.
func (s *server) waitFor(ctx context.Context, request []byte) error {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	for {
		all, err := connect(ctx, s.address, 1, request)
		all.close()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-s.exited:
			return fmt.Errorf("kms11 serve ended before it answered%s", s.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("kms11 serve did not answer: %w; last: %w%s", ctx.Err(), err, s.lastWords())
		}
	}
}

// readAdmin takes the administrator's access key from admin.env.
func (s *server) readAdmin() error {
	data, err := os.ReadFile(filepath.Join(s.dir, "data", "admin.env"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		value = strings.Trim(value, `'"`)
		switch name {
		case "AWS_ACCESS_KEY_ID":
			s.id.accessKeyID = value
		case "AWS_SECRET_ACCESS_KEY":
			s.id.secret = value
		case "AWS_REGION":
			s.id.region = value
		}
	}
	if s.id.accessKeyID == "" || s.id.secret == "" || s.id.region == "" {
		return errors.New("admin.env lacks an access key or a Region")
	}
	return nil
}

// ask sends one request and gives the body of its answer.
func (s *server) ask(ctx context.Context, operation, body string) ([]byte, error) {
	request, err := s.id.prepare(s.address, operation, body)
	if err != nil {
		return nil, err
	}
	all, err := connect(ctx, s.address, 1, nil)
	if err != nil {
		return nil, err
	}
	defer all.close()
	answer, err := all[0].do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	return answer, nil
}

// createKey makes one key as the parameters of CreateKey say; none make a symmetric one.
func (s *server) createKey(ctx context.Context, parameters string) (string, error) {
	answer, err := s.ask(ctx, "CreateKey", cmp.Or(parameters, "{}"))
	if err != nil {
		return "", err
	}
	return createdKey(answer)
}

func createdKey(answer []byte) (string, error) {
	var out struct{ KeyMetadata struct{ KeyId string } }
	if err := json.Unmarshal(answer, &out); err != nil || out.KeyMetadata.KeyId == "" {
		return "", fmt.Errorf("CreateKey: no KeyId in the answer: %w", err)
	}
	return out.KeyMetadata.KeyId, nil
}

// createKeys makes n symmetric keys and gives their ids.
func (s *server) createKeys(ctx context.Context, n int) ([]string, error) {
	request, err := s.id.prepare(s.address, "CreateKey", `{}`)
	if err != nil {
		return nil, err
	}
	all, err := connect(ctx, s.address, min(n, setUpConnections), nil)
	if err != nil {
		return nil, err
	}
	defer all.close()
	ids := make([]string, n)
	err = all.each(n, func(int) []byte { return request }, func(i int, body []byte) error {
		var err error
		ids[i], err = createdKey(body)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("CreateKey: %w", err)
	}
	return ids, nil
}

// setUpConnections is how many requests are in flight while a measurement is set up.
const setUpConnections = 8

// encryptBody is an Encrypt request for plaintextSize bytes.
func encryptBody(keyID string) string {
	return `{"KeyId":"` + keyID + `","Plaintext":"` + plaintext64 + `"}`
}

// decryptBody is a Decrypt request for a ciphertext in base64.
func decryptBody(ciphertext string) string { return `{"CiphertextBlob":"` + ciphertext + `"}` }

// ciphertextSize is about what the ciphertext of plaintextSize bytes takes in base64.
const ciphertextSize = 152

// plaintextSize is what every Encrypt of this benchmark encrypts, in bytes.
const plaintextSize = 32

// plaintext64 is plaintextSize zero bytes in base64.
const plaintext64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
