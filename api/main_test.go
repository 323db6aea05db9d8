package api

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/sigv4"
)

func TestMain(m *testing.M) { hsmtest.Main(m) }

const (
	testAccount = "111122223333"
	testRegion  = "eu-central-1"
)

// site is a service behind the endpoint, over a SoftHSM2 token, with a clock that only a test moves.
type site struct {
	t       testing.TB
	service *ops.Service
	handler http.Handler
	log     *bytes.Buffer

	mu  sync.Mutex
	now time.Time
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), log: new(bytes.Buffer)}
	domain := hsmtest.Domain(t)
	engine, err := boltengine.Create(filepath.Join(t.TempDir(), "keystore.db"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := keystore.Create(t.Context(), engine, domain.Describe(), domain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.service = ops.New(ops.Config{Store: store, Domain: domain, Account: testAccount, Region: testRegion, Now: s.clock})
	s.handler = Endpoint(NewHandler(s.service, NewSigV4(s.service), log), NewSTS(s.service, NewSTSSigV4(s.service), log))
	return s
}

func (s *site) handlerLog() *slog.Logger { return slog.New(slog.NewTextHandler(s.log, nil)) }

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) advance(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(by)
}

// administer does what an administrator would, and reads the answer.
func (s *site) administer(action string, request any, answer any) {
	s.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := s.service.Administer(s.t.Context(), ops.Origin{}, action, body)
	if err != nil {
		s.t.Fatalf("%s: %v", action, err)
	}
	text, err := json.Marshal(got)
	if err != nil {
		s.t.Fatal(err)
	}
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			s.t.Fatal(err)
		}
	}
}

// credentials are what a client signs with.
type credentials struct{ id, secret, token string }

// ask sends a request, signed for a service if there are credentials.
func (s *site) ask(c credentials, scope, region string, r *http.Request, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	r.Host = "kms11.test"
	r.Body = io.NopCloser(strings.NewReader(body))
	if c.id != "" {
		err := sigv4.Sign(r, []byte(body), c.id, sigv4.Credential{Secret: c.secret, SessionToken: c.token}, region, scope, s.clock())
		if err != nil {
			s.t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// sts sends a form to STS.
func (s *site) sts(c credentials, form string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return s.ask(c, "sts", testRegion, r, form)
}

// kms sends a request to KMS.
func (s *site) kms(c credentials, operation, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	return s.ask(c, "kms", testRegion, r, body)
}

// wantXML checks an error of STS.
func wantXML(t testing.TB, w *httptest.ResponseRecorder, status int, code, message string) {
	t.Helper()
	var got struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error   struct{ Type, Code, Message string }
		ID      string `xml:"RequestId"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Errorf("%v in %s", err, w.Body)
		return
	}
	kind := "Sender"
	if status >= 500 {
		kind = "Receiver"
	}
	if w.Code != status || got.Error.Code != code || got.Error.Message != message || got.Error.Type != kind || got.ID == "" || got.ID != w.Header().Get("X-Amzn-Requestid") ||
		w.Header().Get("Content-Type") != "text/xml" {
		t.Errorf("got  %d %+v\nwant %d %s: %s", w.Code, got.Error, status, code, message)
	}
}
