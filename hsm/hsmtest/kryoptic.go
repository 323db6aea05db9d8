package hsmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// kryopticSlots is the number of slots in one configuration of Kryoptic, which it reads at
// C_Initialize, and so the most tokens that one test can have.
const kryopticSlots = 8

// kryoptic is the configuration in use. It lives from the first token of a test to the end of the last
// one's.
var kryoptic struct {
	mu     sync.Mutex
	groups int
	taken  int
}

// newKryoptic gives the URI of a fresh token.
func newKryoptic(t testing.TB) string {
	t.Helper()
	module := namedModule(t)
	kryoptic.mu.Lock()
	defer kryoptic.mu.Unlock()
	if kryoptic.taken == 0 {
		newKryopticGroup(t)
	}
	kryoptic.taken++
	t.Cleanup(func() {
		kryoptic.mu.Lock()
		defer kryoptic.mu.Unlock()
		kryoptic.taken--
	})
	return initToken(t, module)
}

// newKryopticGroup makes a configuration of empty slots the one that the library reads next.
func newKryopticGroup(t testing.TB) {
	t.Helper()
	kryoptic.groups++
	dir := filepath.Join(filepath.Dir(TokenDir(t)), fmt.Sprintf("kryoptic-%d", kryoptic.groups))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for n := range kryopticSlots {
		fmt.Fprintf(&text, "[[slots]]\nslot = %d\ndbtype = \"sqlite\"\ndbargs = %q\n", n, filepath.Join(dir, fmt.Sprintf("%d.sql", n)))
	}
	conf := filepath.Join(dir, "kryoptic.conf")
	if err := os.WriteFile(conf, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Setenv("KRYOPTIC_CONF", conf); err != nil {
		t.Fatal(err)
	}
}
