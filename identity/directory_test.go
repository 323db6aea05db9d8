package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/ops"
)

func wantJSON(t *testing.T, name string, text json.RawMessage) {
	t.Helper()
	if !json.Valid(text) {
		t.Errorf("%s is no JSON: %q", name, text)
	}
}

// follower is a directory with what it handed over.
type follower struct {
	*Directory
	used    []ops.IdentitySet
	refused []error
	fail    error
	log     bytes.Buffer
}

func newFollower(t *testing.T) *follower {
	f := &follower{}
	f.Directory = &Directory{
		path:        t.TempDir(),
		environment: func(string) (string, bool) { return "", false },
		use: func(_ context.Context, set ops.IdentitySet) error {
			if f.fail == nil {
				f.used = append(f.used, set)
			}
			return f.fail
		},
		refuse: func(err error) { f.refused = append(f.refused, err) },
		log:    slog.New(slog.NewTextHandler(&f.log, nil)),
	}
	return f
}

// write puts a file in place, with a time of change long ago, so that it does not look just written.
func (f *follower) write(t *testing.T, name, text string, age time.Duration) {
	t.Helper()
	path := filepath.Join(f.path, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-age)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

// TestReload changes a directory in every way and looks at what is handed over.
func TestReload(t *testing.T) {
	f := newFollower(t)
	look := func(must bool, handed, refused int) {
		t.Helper()
		f.reload(t.Context(), must)
		if len(f.used) != handed || len(f.refused) != refused {
			t.Fatalf("handed over %d times, refused %d times; want %d and %d: %v", len(f.used), len(f.refused), handed, refused, f.refused)
		}
	}
	f.write(t, "a.yaml", "users: [{name: alice}]", time.Hour)
	f.write(t, "b.json", `{"roles":[{"name":"app","trust":{}}]}`, time.Hour)
	f.write(t, ".hidden.yaml", "nonsense", time.Hour)
	f.write(t, "notes.txt", "nonsense", time.Hour)
	if err := os.Mkdir(filepath.Join(f.path, "sub.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	look(false, 1, 0)
	if set := f.used[0]; len(set.Users) != 1 || len(set.Roles) != 1 || set.Users[0].File != "a.yaml" || set.Roles[0].File != "b.json" {
		t.Errorf("got %+v", f.used[0])
	}
	look(false, 1, 0) // nothing has changed
	look(true, 2, 0)  // but it must
	f.write(t, "a.yaml", "users: [{name: alicia}]", time.Hour)
	look(false, 3, 0)
	f.write(t, "c.yml", "users: [{name: bob, accessKeys: [{id: x, secretFile: s}]}]", time.Hour)
	f.write(t, "s", "one", time.Hour)
	look(false, 4, 0)
	f.write(t, "s", "two", 30*time.Minute) // a secret's file
	look(false, 5, 0)
	if key := f.used[4].Users[1].Keys[0]; key.Secret != "two" {
		t.Error("the new secret was not read")
	}
	if err := os.Remove(filepath.Join(f.path, "c.yml")); err != nil {
		t.Fatal(err)
	}
	look(false, 6, 0)

	f.write(t, "a.yaml", "users: [{nome: alice}]", time.Hour)
	look(false, 6, 1)
	look(false, 6, 2) // tried again
	if n := strings.Count(f.log.String(), "is refused"); n != 1 {
		t.Errorf("the same refusal is logged %d times", n)
	}
	if !strings.Contains(f.refused[0].Error(), "a.yaml: ") || strings.Contains(f.refused[0].Error(), "\n") {
		t.Errorf("refused because %v", f.refused[0])
	}
	f.write(t, "a.yaml", "users: [{name: alice}]", time.Hour)
	look(false, 7, 2)
	look(false, 7, 2)
	// What the service refuses is tried again without a change: its token may have been away.
	f.fail = errors.New("the token is down")
	look(true, 7, 3)
	f.fail = nil
	look(false, 8, 3)

	// A file may be written again within the clock of the file system: it is read once more.
	f.write(t, "a.yaml", "users: [{name: alice}]", 0)
	look(false, 9, 3)
	f.read = f.read.Add(-2 * time.Second) // as if that much time had passed
	f.write(t, "a.yaml", "users: [{name: ALICE}]", 2*time.Second)
	f.stamp = stampOf(must(f.files())(t)) // the change does not show
	look(false, 10, 3)
	look(false, 10, 3)

	if err := os.RemoveAll(f.path); err != nil {
		t.Fatal(err)
	}
	look(false, 10, 4) // the directory is gone: what it said stays
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// TestFollow has the directory read when a signal says so, and no more once the context has ended.
func TestFollow(t *testing.T) {
	f := newFollower(t)
	handed := make(chan ops.IdentitySet, 1)
	f.use = func(_ context.Context, set ops.IdentitySet) error { handed <- set; return nil }
	ctx, cancel := context.WithCancel(t.Context())
	now := make(chan os.Signal, 1)
	ended := make(chan struct{})
	f.failure = ""
	go func() {
		defer close(ended)
		f.Follow(ctx, now)
	}()
	f.write(t, "a.yaml", "users: [{name: alice}]", time.Hour)
	now <- os.Interrupt
	for set := range handed {
		if len(set.Users) == 1 {
			break
		}
	}
	cancel()
	for {
		select {
		case <-handed:
			continue
		case <-ended:
		}
		return
	}
}
