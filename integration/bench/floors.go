package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/sigv4"
)

// floorIdentity is what the floors accept. They listen on loopback while they are measured and
// guard nothing.
func floorIdentity() identity {
	return identity{accessKeyID: "AKIABENCH", secret: "bench-secret", region: "us-east-1"}
}

// A floor is what a process of this program is to be: one of the subjects, its kind of token, how many keys
// a bare path has on it, and a directory of its own for that.
type floor struct {
	name string
	kind tokenKind
	keys int
	dir  string
}

// The environment variables that tell a process that it is a floor, and which.
const (
	floorEnv      = "KMS11_BENCH_FLOOR"
	floorTokenEnv = "KMS11_BENCH_TOKEN"
	floorKeysEnv  = "KMS11_BENCH_KEYS"
	floorDirEnv   = "KMS11_BENCH_DIR"
)

func (f floor) environment() []string {
	return environment(floorEnv+"="+f.name, floorTokenEnv+"="+f.kind.name, floorKeysEnv+"="+strconv.Itoa(f.keys), floorDirEnv+"="+f.dir)
}

// runFloor is this process as the floor that its environment says.
func runFloor() error {
	kind, err := tokenKindOf(os.Getenv(floorTokenEnv))
	if err != nil {
		return err
	}
	keys, err := strconv.Atoi(os.Getenv(floorKeysEnv))
	if err != nil {
		return err
	}
	return floor{name: os.Getenv(floorEnv), kind: kind, keys: keys, dir: os.Getenv(floorDirEnv)}.run()
}

// open makes the floor's token with a key of the spec.
func (f floor) open(spec kms.KeySpec) (*hsm.Bare, error) { return f.kind.open(f.dir, spec) }

// run serves until standard input ends: with the parent.
func (f floor) run() error {
	if f.name == "token" {
		return f.serveTokenLoop()
	}
	handlers := map[string]func() (http.Handler, error){
		"http":  func() (http.Handler, error) { return fixedAnswer(readBody), nil },
		"sigv4": func() (http.Handler, error) { return fixedAnswer(verifiedBody(floorVerifier())), nil },
	}
	for bare, call := range bareCalls() {
		handlers[bare] = func() (http.Handler, error) { return f.newBarePath(call) }
	}
	newHandler, known := handlers[f.name]
	if !known {
		return fmt.Errorf("no such floor")
	}
	handler, err := newHandler()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // the end of input is the signal, whatever ends it
		server.Close()
	}()
	fmt.Println(listener.Addr())
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// serveTokenLoop makes as many token calls as each line of standard input says.
func (f floor) serveTokenLoop() error {
	t, err := f.open(kms.KeySpecSymmetricDefault)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	plaintext := make([]byte, plaintextSize)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		for range n {
			if _, err := t.Encrypt(plaintext); err != nil {
				return err
			}
		}
		fmt.Println("done")
	}
	return lines.Err()
}

// fixedAnswer is net/http's own cost, and that of read: a body of an Encrypt answer's size.
func fixedAnswer(read func(*http.Request) ([]byte, error)) http.HandlerFunc {
	body := []byte(`{"CiphertextBlob":"` + strings.Repeat("A", 196) + `","KeyId":"` + bareKeyARN + `","EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`)
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := read(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, body)
	}
}

// verifiedBody reads a request and checks its signature.
func verifiedBody(verifier *sigv4.Verifier) func(*http.Request) ([]byte, error) {
	return func(r *http.Request) ([]byte, error) {
		body, err := readBody(r)
		if err != nil {
			return nil, err
		}
		_, err = verifier.Verify(r, body)
		return body, err
	}
}

// floorVerifier knows floorIdentity.
func floorVerifier() *sigv4.Verifier {
	id := floorIdentity()
	return sigv4.NewVerifier(sigv4.Config{
		Service: "kms",
		Lookup: func(_ context.Context, accessKeyID string) (sigv4.Credential, error) {
			if accessKeyID != id.accessKeyID {
				return sigv4.Credential{}, sigv4.ErrUnknownKey
			}
			return sigv4.Credential{Secret: id.secret}, nil
		},
		RegionOK: func(region string) bool { return region == id.region },
	})
}

func readBody(r *http.Request) ([]byte, error) {
	const maxBody = 1 << 20
	if r.ContentLength < 0 || r.ContentLength > maxBody {
		return nil, fmt.Errorf("a body of %d bytes", r.ContentLength)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

func answer(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a client that is gone is the client's matter
}
