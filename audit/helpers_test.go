package audit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/testkit"
)

// softKey stands for the token's key.
type softKey struct{ *ecdsa.PrivateKey }

func newKey(t testing.TB) softKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return softKey{key}
}

func (k softKey) Public() *ecdsa.PublicKey { return &k.PublicKey }

func (k softKey) Sign(_ context.Context, message []byte) ([]byte, error) {
	hash := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, k.PrivateKey, hash[:])
}

// testTrail is a trail in a directory, with the key and the anchor that outlive it.
type testTrail struct {
	t      testing.TB
	dir    string
	key    softKey
	anchor *Anchor
	clock  *testkit.Clock
	log    *testkit.Log
}

func newTestTrail(t testing.TB) *testTrail {
	t.Helper()
	return &testTrail{t: t, dir: filepath.Join(t.TempDir(), "audit"), key: newKey(t), clock: testkit.NewClock(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)), log: new(testkit.Log)}
}

// config has no digest of its own accord: tests ask for them.
func (tt *testTrail) config() Config {
	return Config{
		Dir: tt.dir, Signer: tt.key, DigestInterval: time.Hour, RetryInterval: 10 * time.Millisecond, SyncInterval: 10 * time.Millisecond,
		Anchor: tt.anchor, OnDigest: func(_ context.Context, a Anchor) error { tt.anchor = &a; return nil },
		Account: "111122223333", Region: "us-east-1", Version: "test", Now: tt.clock.Now, Logger: slog.New(slog.NewTextHandler(tt.log, nil)),
	}
}

func (tt *testTrail) open(change ...func(*Config)) *Trail {
	tt.t.Helper()
	c := tt.config()
	for _, change := range change {
		change(&c)
	}
	trail, err := Open(c)
	if err != nil {
		tt.t.Fatal(err)
	}
	return trail
}

func (tt *testTrail) close(trail *Trail) {
	tt.t.Helper()
	if err := trail.Close(); err != nil {
		tt.t.Fatal(err)
	}
}

// crash ends a trail as the death of its process does: nothing is written any more.
func (tt *testTrail) crash(trail *Trail) {
	tt.t.Helper()
	trail.mu.Lock()
	trail.closed = true
	trail.down.Store(true)
	trail.mu.Unlock()
	close(trail.quit)
	trail.done.Wait()
	trail.segment.abandon()
}

func (tt *testTrail) append(trail *Trail, n int) {
	tt.t.Helper()
	for i := range n {
		if err := trail.Append(testEvent(i)); err != nil {
			tt.t.Fatal(err)
		}
	}
}

func testEvent(i int) []byte {
	e := Event{ID: kms.NewRequestID(), RequestID: kms.NewRequestID(), Time: time.Unix(1_800_000_000+int64(i), 0), Name: "Encrypt", Region: "us-east-1",
		Identity: &Identity{Type: "IAMUser", ARN: "arn:aws:iam::111122223333:user/alice", Account: "111122223333", UserName: "alice", AccessKeyID: "AKIAIOSFODNN7EXAMPLE"},
		SourceIP: "127.0.0.1", UserAgent: "test", ReadOnly: true, Recipient: "111122223333",
		Resources: [2]Resource{{Account: "111122223333", ARN: fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/%012d", i)}}}
	return e.Append(nil)
}

func (tt *testTrail) verify(o VerifyOptions) *Report {
	tt.t.Helper()
	if o.Keys == nil {
		o.Keys = []*ecdsa.PublicKey{tt.key.Public()}
	}
	report, err := Verify(tt.dir, o)
	if err != nil {
		tt.t.Fatal(err)
	}
	return report
}

// whole wants a trail without findings, with records up to last.
func (tt *testTrail) whole(last uint64) *Report {
	tt.t.Helper()
	report := tt.verify(VerifyOptions{})
	for _, f := range report.Findings {
		tt.t.Errorf("found: %s", f)
	}
	if report.Last != last || report.Records != last {
		tt.t.Errorf("%d records, the last is %d, want %d", report.Records, report.Last, last)
	}
	return report
}

// names gives the eventNames of all records.
func (tt *testTrail) names() []string {
	tt.t.Helper()
	var names []string
	for line, err := range Lines(tt.dir, 1) {
		if err != nil {
			tt.t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(line), `"eventName":"`)
		name, _, _ := strings.Cut(rest, `"`)
		names = append(names, name)
	}
	return names
}

func (tt *testTrail) files(form string) []string {
	tt.t.Helper()
	files, err := filepath.Glob(filepath.Join(tt.dir, form))
	if err != nil {
		tt.t.Fatal(err)
	}
	return files
}

// edit changes a file's content.
func edit(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
