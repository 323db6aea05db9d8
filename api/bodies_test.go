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
		err := b.read(httptest.NewRecorder(), r, &into, MaxBody)
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
	for _, c := range []struct{ form, want string }{{contentType, `{"__type":"ThrottlingException"`}, {formType, "<Code>Throttling</Code>"}} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", c.form)
		var handler http.Handler
		if c.form == contentType {
			r.Header.Set("X-Amz-Target", targetPrefix+"ListKeys")
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
