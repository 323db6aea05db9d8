package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/sigv4"
)

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("a body was read beyond what needs no turn")
	return 0, io.EOF
}

// TestLargeBodiesTakeTurns: while as many large bodies are read as may be, no more memory is taken for
// others, and small ones do not wait.
func TestLargeBodiesTakeTurns(t *testing.T) {
	b := bodies{turns: make(chan struct{}, 1)} // and no wait
	read := func(body io.Reader, length int64) (int, error) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.ContentLength = length
		var into bytes.Buffer
		err := b.read(httptest.NewRecorder(), r, &into, MaxBody, nil)
		return into.Len(), err
	}
	for _, c := range []struct {
		size   int
		length int64
	}{{0, 0}, {largeBody, largeBody}, {largeBody - 1, -1}, {largeBody, -1}, {largeBody + 1, largeBody + 1}, {MaxBody, MaxBody}, {MaxBody, -1}} {
		b.wait = time.Minute
		if n, err := read(strings.NewReader(strings.Repeat("x", c.size)), c.length); n != c.size || err != nil {
			t.Errorf("of %d bytes, announced as %d: %d bytes, %v", c.size, c.length, n, err)
		}
	}
	b.wait = 0
	b.turns <- struct{}{}
	if n, err := read(strings.NewReader(strings.Repeat("x", largeBody)), largeBody); n != largeBody || err != nil {
		t.Errorf("a small body: %d bytes, %v", n, err)
	}
	for _, length := range []int64{MaxBody, -1} {
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", largeBody)), unread{t})
		if n, err := read(body, length); n > largeBody || !errors.Is(err, errTurn) {
			t.Errorf("announced as %d, without a turn: %d bytes, %v", length, n, err)
		}
	}
	<-b.turns
	for _, length := range []int64{MaxBody + 1, -1} {
		var tooLarge *http.MaxBytesError
		if n, err := read(strings.NewReader(strings.Repeat("x", MaxBody+1)), length); n > MaxBody+1 || !errors.As(err, &tooLarge) {
			t.Errorf("too large, announced as %d: %d bytes, %v", length, n, err)
		}
	}
	if len(b.turns) != 0 {
		t.Error("a turn was not given back")
	}
}

// TestNoTurnIsThrottling: who could get no turn is told to come again.
func TestNoTurnIsThrottling(t *testing.T) {
	s := newSite(t)
	body := strings.Repeat("x", largeBody+1)
	full := bodies{turns: make(chan struct{})}
	alice := s.newUser("alice", "")
	for _, c := range []struct{ form, want string }{{contentType, `{"__type":"ThrottlingException"`}, {formType, "<Code>Throttling</Code>"}} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", c.form)
		var handler http.Handler
		if c.form == contentType {
			r.Header.Set("X-Amz-Target", targetPrefix+"ListKeys")
			if err := sigv4.Sign(r, []byte(body), alice.id, sigv4.Credential{Secret: alice.secret}, testRegion, "kms", s.clock()); err != nil {
				t.Fatal(err)
			}
			kms := NewHandler(s.service, NewSigV4(s.service), s.handlerLog())
			kms.bodies = full
			handler = kms
		} else {
			sts := NewSTS(s.service, NewSTSSigV4(s.service), s.handlerLog())
			sts.bodies = full
			handler = sts
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("got %d %s, want %s", w.Code, w.Body, c.want)
		}
	}
}

// counting counts what is read of a body.
type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// TestBodiesOfNobody: of a request that names no access key there is, no more of the body is read than of any
// request, and the answer is what it would be with a short body.
func TestBodiesOfNobody(t *testing.T) {
	s := newSite(t)
	alice := s.newUser("alice", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`)
	ask := func(by credentials, change func(http.Header), body string, length int64) (answer string, read int) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Host = "kms11.test"
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("X-Amz-Target", targetPrefix+"ListKeys")
		if err := sigv4.Sign(r, []byte(body), by.id, sigv4.Credential{Secret: by.secret, SessionToken: by.token}, testRegion, "kms", s.clock()); err != nil {
			t.Fatal(err)
		}
		change(r.Header)
		counted := &counting{Reader: strings.NewReader(body)}
		r.Body, r.ContentLength = io.NopCloser(counted), length
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		return w.Body.String(), counted.n
	}
	same := func(http.Header) {}
	body := func(size int) string { return `{"Limit":1}` + strings.Repeat(" ", size-len(`{"Limit":1}`)) }
	for name, c := range map[string]struct {
		by     credentials
		change func(http.Header)
		want   string
	}{
		"no header":       {alice, func(h http.Header) { h.Del("Authorization") }, "MissingAuthenticationTokenException"},
		"a broken header": {alice, func(h http.Header) { h.Set("Authorization", "AWS4-HMAC-SHA256 x") }, "IncompleteSignatureException"},
		"an unknown key":  {credentials{id: "AKIAAAAAAAAAAAAAAAAA", secret: "x"}, same, "UnrecognizedClientException"},
		"a made-up token": {credentials{id: "ASIAAAAAAAAAAAAAAAAA", secret: "x", token: "x"}, same, "UnrecognizedClientException"},
		"another day":     {alice, func(h http.Header) { h.Set("X-Amz-Date", "20200401T000000Z") }, "InvalidSignatureException"},
		"a wrong token":   {credentials{id: alice.id, secret: alice.secret, token: "x"}, same, "UnrecognizedClientException"},
		"somebody":        {alice, same, ""},
	} {
		short, _ := ask(c.by, c.change, body(100), 100)
		if !strings.Contains(short, c.want) {
			t.Fatalf("%s: %s", name, short)
		}
		for _, size := range []int{freeBody + 1, largeBody + 1, MaxBody} {
			for _, length := range []int64{int64(size), -1} {
				answer, read := ask(c.by, c.change, body(size), length)
				most := 0
				switch {
				case c.want == "":
					most = size
				case length < 0:
					most = freeBody
				}
				if answer != short || read > most || c.want == "" && read != size {
					t.Errorf("%s, %d bytes announced as %d: read %d, %s", name, size, length, read, answer)
				}
			}
		}
	}
	// The signature counts once the body is there.
	wrong := credentials{id: alice.id, secret: "x"}
	if answer, read := ask(wrong, same, body(MaxBody), MaxBody); !strings.Contains(answer, "InvalidSignatureException") || read != MaxBody {
		t.Errorf("a wrong signature: read %d, %s", read, answer)
	}
	// So does its length, whoever sends it.
	if answer, read := ask(wrong, func(h http.Header) { h.Del("Authorization") }, body(MaxBody+1), MaxBody+1); !strings.Contains(answer, "RequestEntityTooLargeException") || read != 0 {
		t.Errorf("a body that is too large: read %d, %s", read, answer)
	}
}
