package hsmtest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Where openCryptoki keeps the software tokens that integration/tokens/opencryptoki.sh sets up for tests, and
// what its processes share of them.
const (
	openCryptokiTokens = "/var/lib/opencryptoki/kms11-test-*"
	openCryptokiShared = "/dev/shm/var.lib.opencryptoki.kms11-test-*"
)

// openCryptoki counts the tokens in use. There are as many as slots, which are given out one after the other.
var openCryptoki struct {
	mu    sync.Mutex
	taken int
}

// newOpenCryptoki gives the URI of a fresh token. When the last one is given back, all are made empty, as
// only their owner could by the library.
func newOpenCryptoki(t testing.TB) string {
	t.Helper()
	module := namedModule(t)
	openCryptoki.mu.Lock()
	defer openCryptoki.mu.Unlock()
	if openCryptoki.taken == 0 {
		emptyOpenCryptoki(t)
	}
	openCryptoki.taken++
	t.Cleanup(func() {
		openCryptoki.mu.Lock()
		defer openCryptoki.mu.Unlock()
		openCryptoki.taken--
	})
	return initToken(t, module)
}

func emptyOpenCryptoki(t testing.TB) {
	t.Helper()
	var all []string
	for _, pattern := range []string{openCryptokiTokens + "/*", openCryptokiTokens + "/TOK_OBJ/*", openCryptokiShared} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	for _, path := range all {
		if filepath.Base(path) == "TOK_OBJ" {
			continue
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
