package integration_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestPoolOfTokens has a server with two tokens in its domain lose the storage of one under load and
// get it back: with a library for each token, and with one for both, which has to be initialised
// again while all calls wait. No request may fail either way, and afterwards both tokens work.
func TestPoolOfTokens(t *testing.T) {
	for name, shared := range map[string]bool{"a library each": false, "one library": true} {
		t.Run(name, func(t *testing.T) {
			tokens := newPool(t, shared)
			server := tokens.serve(t)
			client := server.Client(t)
			key := newKey(t, client, types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt)

			var stop atomic.Bool
			var longest atomic.Int64
			var rounds atomic.Uint64
			var running sync.WaitGroup
			for range 16 {
				running.Go(func() {
					for !stop.Load() {
						begun := time.Now()
						confirm, err := evidenceOf(t.Context(), client, key)
						if err == nil {
							err = confirm(t.Context(), client)
						}
						if err != nil {
							t.Errorf("a request failed: %v", err)
							return
						}
						rounds.Add(1)
						for took := int64(time.Since(begun)); ; {
							if was := longest.Load(); took <= was || longest.CompareAndSwap(was, took) {
								break
							}
						}
					}
				})
			}
			tokens.works(t, 0, &rounds)
			tokens.works(t, 1, &rounds)
			if !server.healthy(t) {
				t.Error("the server is not healthy to begin with")
			}
			back := tokens.hide(t, 0)
			if server.healthy(t) {
				t.Error("the server is healthy without the storage of a token")
			}
			tokens.works(t, 1, &rounds)
			back()
			for deadline := time.Now().Add(recoveryBound); !server.healthy(t); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("the token does not come back\n%s", server.Log(t))
				}
			}
			tokens.works(t, 0, &rounds)
			tokens.works(t, 1, &rounds)
			stop.Store(true)
			running.Wait()
			t.Logf("%d rounds, the longest %v", rounds.Load(), time.Duration(longest.Load()).Round(time.Millisecond))
		})
	}
}

// A pool is SoftHSM2 tokens for one domain.
type pool struct {
	modules []*faultModule // of each token
	config  string
	dirs    []string
}

type pooled struct{ *kms11test.Server }

// newPool makes two tokens, in one library or in one each.
func newPool(t *testing.T, shared bool) *pool {
	t.Helper()
	dir := t.TempDir()
	store := filepath.Join(dir, "tokens")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"softhsm2.conf": "directories.tokendir = " + store + "\n", "pin": "a PIN\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf"))
	p := &pool{config: filepath.Join(dir, "kms11.yaml")}
	text := "tokens:\n"
	known := map[string]bool{}
	for i := range 2 {
		if i == 0 || !shared {
			p.modules = append(p.modules, compileFaults(t))
		} else {
			p.modules = append(p.modules, p.modules[0])
		}
		pin := filepath.Join(dir, "pin")
		uri, code := kms11test.Command(t, "hsm", "init-token", "--module", p.modules[i].library, "--label", fmt.Sprint("token ", i), "--pin-file", pin, "--so-pin-file", pin)
		if code != 0 {
			t.Fatal(uri)
		}
		text += "  - " + strings.TrimSpace(uri) + "\n"
		for _, entry := range must(os.ReadDir(store))(t) {
			if !known[entry.Name()] {
				known[entry.Name()] = true
				p.dirs = append(p.dirs, filepath.Join(store, entry.Name()))
			}
		}
	}
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pool) serve(t *testing.T) pooled {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	if output, code := kms11test.Command(t, "init", "--config", p.config, "--data", data, "--account", kms11test.Account); code != 0 {
		t.Fatal(output)
	}
	return pooled{kms11test.StartIn(t, data, "--config", p.config)}
}

// hide moves the storage of a token away, as a lost disk would; the answer brings it back.
func (p *pool) hide(t *testing.T, i int) (back func()) {
	t.Helper()
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(p.dirs[i], away); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(away, p.dirs[i]); err != nil {
			t.Fatal(err)
		}
	}
}

// works waits until the library of a token was called while requests are served.
func (p *pool) works(t *testing.T, i int, rounds *atomic.Uint64) {
	t.Helper()
	calls, served := p.modules[i].get(t, callCount), rounds.Load()
	for deadline := time.Now().Add(recoveryBound); p.modules[i].get(t, callCount) < calls+100 || rounds.Load() < served+100; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("token %d is not used", i)
		}
	}
}

// healthy asks the server, whose answer may be a second old.
func (s pooled) healthy(t *testing.T) bool {
	t.Helper()
	time.Sleep(1100 * time.Millisecond)
	response := must(http.Get("http://" + s.Listen + "/healthz"))(t)
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
