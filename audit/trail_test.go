package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

func modes() []Mode { return []Mode{Strict, Async} }

func inMode(m Mode) func(*Config) { return func(c *Config) { c.Mode = m } }

func TestChain(t *testing.T) {
	for _, mode := range modes() {
		t.Run(string(mode), func(t *testing.T) {
			tt := newTestTrail(t)
			trail := tt.open(inMode(mode))
			tt.append(trail, 5)
			if got := trail.Sequence(); got != 6 {
				t.Errorf("the last record is %d", got)
			}
			tt.close(trail)
			if err := trail.Append(testEvent(9)); !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
			if err := trail.Ready(); !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
			if report := tt.whole(7); report.Digests != 1 || report.Covered != 7 {
				t.Errorf("%+v", report)
			}

			// The next process goes on.
			trail = tt.open(inMode(mode))
			tt.append(trail, 2)
			tt.close(trail)
			if report := tt.whole(11); report.Digests != 2 || report.Covered != 11 || len(report.Notes) != 0 {
				t.Errorf("%+v", report)
			}
			want := []string{"StartTrail", "Encrypt", "Encrypt", "Encrypt", "Encrypt", "Encrypt", "StopTrail", "StartTrail", "Encrypt", "Encrypt", "StopTrail"}
			if got := tt.names(); !slices.Equal(got, want) {
				t.Errorf("records: %v", got)
			}
			if info, err := os.Stat(tt.files("events-*")[0]); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestAppendManyAtOnce(t *testing.T) {
	for _, mode := range modes() {
		t.Run(string(mode), func(t *testing.T) {
			tt := newTestTrail(t)
			trail := tt.open(inMode(mode), func(c *Config) { c.RotateBytes = 20_000 })
			var appending sync.WaitGroup
			for range 16 {
				appending.Go(func() {
					for i := range 50 {
						if err := trail.Append(testEvent(i)); err != nil {
							t.Error(err)
						}
						if i%10 == 0 {
							if err := trail.digest(context.Background()); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			appending.Wait()
			tt.close(trail)
			if report := tt.whole(802); report.Covered != 802 {
				t.Errorf("covered up to %d", report.Covered)
			}
			if n := len(tt.files("events-*")); n < 10 {
				t.Errorf("%d files", n)
			}
			ids := map[string]bool{}
			for line, err := range Lines(tt.dir, 1) {
				if err != nil {
					t.Fatal(err)
				}
				if id := eventID(line); id == "" || ids[id] {
					t.Errorf("the id %q is not new", id)
				} else {
					ids[id] = true
				}
			}
		})
	}
}

func TestRotationByAge(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open()
	tt.append(trail, 1)
	tt.clock.Advance(23 * time.Hour)
	tt.append(trail, 1)
	if n := len(tt.files("events-*")); n != 1 {
		t.Errorf("%d files before a day has passed", n)
	}
	tt.clock.Advance(time.Hour)
	tt.append(trail, 1)
	tt.close(trail)
	if got := tt.files("events-*"); len(got) != 2 || filepath.Base(got[1]) != "events-00000000000000000004-20261126T120000Z.jsonl" {
		t.Errorf("files: %v", got)
	}
	tt.whole(5)
}

func TestNoEvent(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open()
	for _, event := range []string{"", "{", "[]", "null", "{\n}"} {
		if err := trail.Append([]byte(event)); err == nil {
			t.Errorf("%q was recorded", event)
		}
	}
	tt.close(trail)
	tt.whole(2)
}

func TestOpenRefusesAMode(t *testing.T) {
	c := newTestTrail(t).config()
	c.Mode = "lax"
	if _, err := Open(c); err == nil || !strings.Contains(err.Error(), "lax") {
		t.Errorf("got %v", err)
	}
}

// TestTornEnd: whatever a crash leaves of the last records, the next process goes on behind the last
// whole one and says what it found.
func TestTornEnd(t *testing.T) {
	whole := func(b []byte) []byte { return b }
	for name, c := range map[string]struct {
		tear func([]byte) []byte // of the last file
		lost uint64              // records
		torn bool
	}{
		"nothing":            {whole, 0, false},
		"half a record":      {func(b []byte) []byte { return b[:len(b)-100] }, 1, true},
		"no line break":      {func(b []byte) []byte { return b[:len(b)-1] }, 1, true},
		"more, half written": {func(b []byte) []byte { return append(b, `{"eventVersion":"1.11","userIdent`...) }, 0, true},
		"zeros":              {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, 0, true},
		"a hole": {func(b []byte) []byte {
			clear(b[len(b)-2000 : len(b)-1500])
			return b
		}, 0, true},
		"all of the file": {func(b []byte) []byte { clear(b[:100]); return b }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			tt := newTestTrail(t)
			trail := tt.open()
			tt.append(trail, 5)
			tt.crash(trail)
			var before []byte
			edit(t, tt.files("events-*")[0], func(b []byte) []byte { before = c.tear(b); return before })
			trail = tt.open()
			tt.append(trail, 2)
			tt.close(trail)
			report := tt.verify(VerifyOptions{})
			for _, f := range report.Findings {
				t.Errorf("found: %s", f)
			}
			if got := len(report.Notes) == 1 && strings.Contains(report.Notes[0].Problem, "half-written"); got != c.torn || len(report.Notes) > 1 {
				t.Errorf("notes: %v", report.Notes)
			}
			saved := tt.files("torn-*")
			if (len(saved) == 1) != c.torn {
				t.Fatalf("saved: %v", saved)
			}
			if !c.torn {
				return
			}
			rest, err := os.ReadFile(saved[0])
			if err != nil || !strings.HasSuffix(string(before), string(rest)) || len(rest) == 0 {
				t.Errorf("%d bytes were saved: %v", len(rest), err)
			}
			edit(t, saved[0], func(b []byte) []byte { b[0] ^= 1; return b })
			if report := tt.verify(VerifyOptions{}); len(report.Findings) != 1 {
				t.Errorf("with what was saved changed: %v", report.Findings)
			}
		})
	}
}

// TestTornDigest: an interrupted digest is not there, and a new one covers its records.
func TestTornDigest(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open()
	tt.append(trail, 3)
	if err := trail.digest(t.Context()); err != nil {
		t.Fatal(err)
	}
	tt.append(trail, 3)
	tt.crash(trail)
	if err := os.WriteFile(filepath.Join(tt.dir, digestDir, ".new-1"), []byte(`{"version":1,`), 0o600); err != nil {
		t.Fatal(err)
	}
	trail = tt.open()
	tt.close(trail)
	if report := tt.whole(9); report.Digests != 2 || report.Covered != 9 {
		t.Errorf("%+v", report)
	}
}

// TestMissingEnd: the keystore knows how far the trail went, and a start after its end was cut off
// says so for ever.
func TestMissingEnd(t *testing.T) {
	tt := newTestTrail(t)
	tt.close(tt.open())
	early := map[string][]byte{}
	for _, file := range slices.Concat(tt.files("events-*"), tt.files("digest/*")) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		early[file] = content
	}
	trail := tt.open()
	tt.append(trail, 4)
	tt.close(trail)
	for _, file := range slices.Concat(tt.files("events-*"), tt.files("digest/*")) {
		if content, ok := early[file]; ok {
			edit(t, file, func([]byte) []byte { return content })
		} else if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if report := tt.whole(2); report.Covered != 2 { // by itself it is as whole as it was
		t.Errorf("%+v", report)
	}
	tt.close(tt.open())
	if !strings.Contains(tt.log.String(), "records were removed") {
		t.Errorf("the log says %s", tt.log)
	}
	if got := tt.names(); !slices.Contains(got, "MissingTrail") {
		t.Errorf("records: %v", got)
	}
	report := tt.whole(5)
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0].Problem, "its end was removed") {
		t.Errorf("notes: %v", report.Notes)
	}
	// It was told; from now on the trail is the known one.
	tt.close(tt.open())
	if report := tt.whole(7); len(report.Notes) != 1 {
		t.Errorf("notes: %v", report.Notes)
	}
}

// failingKey fails as often as it is told to.
type failingKey struct {
	softKey
	failures int
}

func (k *failingKey) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if k.failures > 0 {
		k.failures--
		return nil, errors.New("the token is down")
	}
	return k.softKey.Sign(ctx, message)
}

func TestDigestThatFails(t *testing.T) {
	tt := newTestTrail(t)
	key := &failingKey{tt.key, 2}
	trail := tt.open(func(c *Config) { c.Signer, c.RotateBytes = key, 1000 })
	tt.append(trail, 3)
	for range 2 {
		if err := trail.digest(t.Context()); err == nil {
			t.Error("it was signed")
		}
		tt.append(trail, 3)
		if trail.Status().DigestErr == "" {
			t.Error("the status does not say that digests fail")
		}
	}
	if err := trail.digest(t.Context()); err != nil {
		t.Error(err)
	}
	if s := trail.Status(); s.DigestErr != "" || s.Covered != 10 || s.Digest != 1 || s.Sequence != 10 {
		t.Errorf("%+v", s)
	}
	tt.close(trail)
	tt.whole(11)
}

func TestDigestsAtAnInterval(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open(func(c *Config) { c.DigestInterval = time.Millisecond })
	for trail.Status().Digest < 3 { // hangs if there are none
		tt.append(trail, 1)
	}
	tt.close(trail)
	tt.whole(trail.Sequence())
}

func TestRecorded(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open(func(c *Config) { c.RotateBytes = 2000 })
	ids := map[string]bool{"not-there": true}
	for range 10 {
		// A caller may choose parameters that look like an id.
		e := Event{ID: kms.NewRequestID(), Name: "Encrypt", Parameters: details{{"eventID", "chosen"}}}
		ids[e.ID] = true
		if err := trail.Append(e.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	ids["chosen"] = true
	found, err := trail.Recorded(0, ids)
	if err != nil || len(found) != 10 || found["chosen"] || found["not-there"] {
		t.Errorf("found %v, %v", found, err)
	}
	if found, err = trail.Recorded(6, ids); err != nil || len(found) != 5 { // the first record is the trail's own
		t.Errorf("behind record 6: %v, %v", found, err)
	}
	tt.close(trail)
}

func TestFollow(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open(func(c *Config) { c.RotateBytes = 1500 })
	tt.append(trail, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []uint64
	appended := false
	err := Follow(ctx, tt.dir, 3, func(line []byte) error {
		p, err := placeOf(line)
		seen = append(seen, p.sequence)
		if len(seen) == 2 && !appended {
			appended = true
			tt.append(trail, 5)
		}
		if p.sequence == 9 {
			cancel()
		}
		return err
	})
	if err != nil || !slices.Equal(seen, []uint64{3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("saw %v, %v", seen, err)
	}
	tt.close(trail)
	if last, err := LastSequence(tt.dir); last != 10 || err != nil {
		t.Errorf("the last is %d, %v", last, err)
	}
	if last, err := LastSequence(t.TempDir()); last != 0 || err != nil {
		t.Errorf("of nothing: %d, %v", last, err)
	}
}

// TestCloseWithoutTheToken: a token that is gone keeps nothing from ending in good order; the next
// process covers what was not.
func TestCloseWithoutTheToken(t *testing.T) {
	tt := newTestTrail(t)
	trail := tt.open(func(c *Config) { c.Signer = &failingKey{tt.key, 1} })
	tt.append(trail, 2)
	tt.close(trail)
	if !strings.Contains(tt.log.String(), "no last digest") {
		t.Errorf("the log says %s", tt.log)
	}
	tt.close(tt.open())
	if report := tt.whole(6); report.Covered != 6 || report.Digests != 1 {
		t.Errorf("%+v", report)
	}
}
