package hsm_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

// hide moves the directory of a token away, as a lost disk would; the answer brings it back.
func hide(t *testing.T, token *hsm.Token) (back func()) {
	t.Helper()
	info, err := token.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(hsmtest.TokenDir(t), "*"+info.Serial[:4]+"-"+info.Serial[4:]))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("%d directories of token %s: %v", len(dirs), info.Serial, err)
	}
	away := filepath.Join(t.TempDir(), "token")
	if err := os.Rename(dirs[0], away); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if err := os.Rename(away, dirs[0]); err != nil {
			t.Error(err)
		}
	})
}

func TestSessionLost(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(testing.TB, *hsm.Token)
	}{{"short", hsm.LoseShort}, {"holder", hsm.LoseHolder}, {"all", hsm.LoseAll}} {
		t.Run(c.name, func(t *testing.T) {
			token := hsmtest.Token(t)
			d := hsmtest.Domain(t, token)
			m := newKey(t, d)
			sealed := seal(t, d, &m, "a", "text")
			for range 3 {
				c.lose(t, token)
				var group sync.WaitGroup
				for range 8 {
					group.Go(func() {
						got, err := d.Decrypt(t.Context(), &m, sealed, []byte("a"))
						if err != nil || string(got) != "text" {
							t.Errorf("Decrypt after the loss: %v", err)
						}
					})
				}
				group.Wait()
				mustOpen(t, d, &m, seal(t, d, &m, "b", "more"), "b", "more")
				if err := d.Health(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestTokenDownComesBack(t *testing.T) {
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	m := newKey(t, d)
	sealed := seal(t, d, &m, "a", "text")
	hsm.MarkDown(t, token)
	if !hsm.Settled(t, token) {
		t.Fatal("the token did not come back")
	}
	mustOpen(t, d, &m, sealed, "a", "text")
}

// TestStorageVanishes takes the directory of a SoftHSM2 token away and brings it back. Only
// C_Finalize and C_Initialize make SoftHSM2 see it again, while a second token of the module goes
// on serving.
func TestStorageVanishes(t *testing.T) {
	hsmtest.Require(t, hsmtest.GoneStorage)
	failures := &logCounter{message: "token is still down"}
	token := hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURI(t), Logger: slog.New(failures)})
	bystander := hsmtest.Token(t)
	d, other := hsmtest.Domain(t, token), hsmtest.Domain(t, bystander)
	m, om := newKey(t, d), newKey(t, other)
	sealed, osealed := seal(t, d, &m, "a", "text"), seal(t, other, &om, "a", "text")

	back := hide(t, token)
	defer back()
	if err := d.Health(t.Context()); !errors.Is(err, hsm.ErrTokenDown) {
		t.Fatalf("Health without storage: %v", err)
	}
	if _, err := d.Decrypt(t.Context(), &m, sealed, []byte("a")); !errors.Is(err, hsm.ErrTokenDown) {
		t.Errorf("Decrypt without storage: %v", err)
	}

	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				t.Logf("%d calls on the other token meanwhile", n)
				return
			default:
			}
			if got, err := other.Decrypt(t.Context(), &om, osealed, []byte("a")); err != nil || string(got) != "text" {
				t.Errorf("the other token: %v", err)
				return
			}
		}
	})
	for failures.n.Load() < 2 && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
	back()
	up := hsm.Settled(t, token)
	close(stop)
	group.Wait()
	if !up {
		t.Fatal("the token did not come back")
	}
	mustOpen(t, d, &m, sealed, "a", "text")
	mustOpen(t, other, &om, osealed, "a", "text")
	if err := errors.Join(d.Health(t.Context()), other.Health(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestWrongPIN(t *testing.T) {
	uri := hsmtest.NewURI(t)
	file := filepath.Join(t.TempDir(), "pin")
	pin := os.Getenv(uri.PINSource[len("env:"):])
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	uri.PINSource = (&url.URL{Scheme: "file", Path: file}).String()

	write("not the PIN")
	if _, err := hsm.OpenToken(t.Context(), hsm.Config{URI: uri}); !errors.Is(err, hsm.ErrPIN) {
		t.Fatalf("a wrong PIN: %v", err)
	}
	uri2 := uri
	uri2.PINSource = file + ".absent"
	if _, err := hsm.OpenToken(t.Context(), hsm.Config{URI: uri2}); !errors.Is(err, hsm.ErrPIN) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no PIN file: %v", err)
	}

	// In the background, a wrong PIN ends the attempts for good.
	write(pin)
	logins := &logCounter{message: "login"}
	token := hsmtest.Open(t, hsm.Config{URI: uri, Logger: slog.New(logins)})
	write("not the PIN")
	hsm.LoseAll(t, token) // with the login, which lasts as long as any session
	hsm.MarkDown(t, token)
	if hsm.Settled(t, token) {
		t.Fatal("the token is up with a wrong PIN")
	}
	write(pin)
	if n := logins.n.Load(); n != 2 {
		t.Errorf("%d logins, not the first and one with the wrong PIN", n)
	}
	err := token.Health(t.Context())
	if !errors.Is(err, hsm.ErrTokenDown) || !errors.Is(err, hsm.ErrPIN) {
		t.Errorf("after the refusal: %v", err)
	}
}

// A logCounter counts the log records of one message.
type logCounter struct {
	message string
	n       atomic.Int64
}

func (c *logCounter) Enabled(context.Context, slog.Level) bool { return true }
func (c *logCounter) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *logCounter) WithGroup(string) slog.Handler            { return c }
func (c *logCounter) Handle(_ context.Context, r slog.Record) error {
	if r.Message == c.message {
		c.n.Add(1)
	}
	return nil
}
