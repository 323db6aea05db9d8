package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kms11/kms11/sigv4"
)

// identity is what requests are signed with.
type identity struct{ accessKeyID, secret, region string }

// prepare makes the bytes of a signed request: the headers that boto3 sends, and signs.
func (id identity) prepare(host, operation, body string) ([]byte, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+host+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	r.Header.Set("User-Agent", "kms11-bench")
	r.Header.Set("Accept-Encoding", "identity")
	if err := sigv4.Sign(r, []byte(body), id.accessKeyID, sigv4.Credential{Secret: id.secret}, id.region, "kms", time.Now()); err != nil {
		return nil, err
	}
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		return nil, err
	}
	return wire.Bytes(), nil
}

// A connection sends requests one after another. It reads just enough HTTP for the servers
// measured here, so that the client leaves the machine's CPUs to them.
type connection struct {
	conn   net.Conn
	reader *bufio.Reader
	body   []byte
}

// windowBound ends a window whose server hangs.
const windowBound = 5 * time.Minute

func dial(ctx context.Context, address string) (*connection, error) {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(windowBound)); err != nil {
		conn.Close()
		return nil, err
	}
	return &connection{conn: conn, reader: bufio.NewReader(conn)}, nil
}

// do sends a request and gives the body of its answer, valid until the next call. Any status
// but 200 is an error.
func (c *connection) do(request []byte) ([]byte, error) {
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	ok := bytes.HasPrefix(line, []byte("HTTP/1.1 200 "))
	status := string(line[:min(len(line), 12)])
	length := -1
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return nil, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		const name = "content-length:"
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err != nil {
				return nil, fmt.Errorf("content length: %w", err)
			}
		}
	}
	if length < 0 {
		return nil, errors.New("an answer without Content-Length")
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	if _, err := io.ReadFull(c.reader, c.body); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("the server answered %q %.300q", status, c.body)
	}
	return c.body, nil
}

// connections are ready to send.
type connections []*connection

// connect opens n connections and sends warm on each.
func connect(ctx context.Context, address string, n int, warm []byte) (connections, error) {
	var all connections
	for range n {
		c, err := dial(ctx, address)
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, c)
		if warm == nil {
			continue
		}
		if _, err := c.do(warm); err != nil {
			all.close()
			return nil, err
		}
	}
	return all, nil
}

func (all connections) close() {
	for _, c := range all {
		c.conn.Close()
	}
}

// each sends n requests, shared among the connections: request(i) is the i-th. answer, if not
// nil, sees each body, from the connection's goroutine.
func (all connections) each(n int, request func(i int) []byte, answer func(i int, body []byte) error) error {
	faults := make([]error, len(all))
	var wait sync.WaitGroup
	for w, c := range all {
		wait.Go(func() {
			for i := w; i < n; i += len(all) {
				body, err := c.do(request(i))
				if err == nil && answer != nil {
					err = answer(i, body)
				}
				if err != nil {
					faults[w] = err
					return
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(faults...)
}

// anyOf picks requests at random.
func anyOf(requests [][]byte) func(int) []byte {
	if len(requests) == 1 {
		return func(int) []byte { return requests[0] }
	}
	return func(int) []byte { return requests[rand.IntN(len(requests))] }
}
