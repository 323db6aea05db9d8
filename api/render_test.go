package api

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

func TestFail(t *testing.T) {
	var log bytes.Buffer
	h := NewHandler(nil, nil, slog.New(slog.NewTextHandler(&log, nil)))
	for _, c := range []struct {
		err    error
		status int
		body   string
	}{
		{kms.Errorf(kms.NotFoundException, "Invalid keyId 'x'"), 400, `{"__type":"NotFoundException","message":"Invalid keyId 'x'"}`},
		{kms.Errorf(kms.AccessDeniedException, "User: a"), 400, `{"__type":"AccessDeniedException","Message":"User: a"}`},
		{kms.InvalidCiphertextException.Err(), 400, `{"__type":"InvalidCiphertextException"}`},
		{kms.Errorf(kms.KeyUnavailableException, "later").Because(errors.New("token: C_Encrypt")), 500, `{"__type":"KeyUnavailableException","message":"later"}`},
		{errors.New("disk /var/lib/kms11 is full"), 500, `{"__type":"KMSInternalException"}`},
		{fmt.Errorf("%w: disk full", ops.ErrTrailStopped), 500, `{"__type":"KMSInternalException"}`},
		{kms.RequestEntityTooLargeException.Err(), 413, `{"__type":"RequestEntityTooLargeException"}`},
	} {
		log.Reset()
		w := httptest.NewRecorder()
		h.fail(w, httptest.NewRequest("POST", "/", nil), "id", c.err)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%v: got %d %s, want %d %s", c.err, w.Code, w.Body, c.status, c.body)
		}
		if got := w.Header().Get("X-Amzn-ErrorType"); got != string(kms.AsError(c.err).Code) {
			t.Errorf("%v: error type header %q", c.err, got)
		}
		// That the trail is stopped the trail says once.
		want := c.status == 500 && !errors.Is(c.err, ops.ErrTrailStopped)
		if logged := strings.Contains(log.String(), "request failed"); logged != want {
			t.Errorf("%v: logged is %v", c.err, logged)
		}
	}
}

func TestEncode(t *testing.T) {
	var b bytes.Buffer
	if encode(&b, nil); b.Len() != 0 {
		t.Errorf("no output: %q", b.String())
	}
	if encode(&b, &kms.GetKeyPolicyResponse{Policy: `<&">`}); b.String() != `{"Policy":"<&\">"}` {
		t.Errorf("got %q", b.String())
	}
}
