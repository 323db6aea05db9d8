package hsmtest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kms11/kms11/hsm"
)

// nssGroup is the number of tokens that one C_Initialize of NSS gets, and so the most that one test
// can have: NSS learns of its tokens then, and not later.
const nssGroup = 8

// nss is the group in use. It lives from the first token of a test to the end of the last one's.
var nss struct {
	mu     sync.Mutex
	dir    string // of the process; made on first use
	groups int
	labels []string // of the present group, those not taken
	init   string   // of the present group
	taken  int
}

// newNSS gives the URI of a fresh token.
func newNSS(t testing.TB) string {
	t.Helper()
	module := nssModule(t)
	nss.mu.Lock()
	defer nss.mu.Unlock()
	if nss.taken == 0 {
		newNSSGroup(t)
	}
	if len(nss.labels) == 0 {
		t.Fatalf("a test has more than %d tokens of NSS", nssGroup)
	}
	label := nss.labels[0]
	nss.labels = nss.labels[1:]
	nss.taken++
	t.Cleanup(func() {
		nss.mu.Lock()
		defer nss.mu.Unlock()
		nss.taken--
	})
	return "pkcs11:token=" + url.PathEscape(label) + "?module-path=" + module +
		"&pin-source=env:" + pinVariable + "&x-kms11-init=" + url.PathEscape(nss.init)
}

func nssModule(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(ModuleVariable); path != "" {
		return path
	}
	path, err := hsm.FindNSS()
	if err != nil {
		t.Fatalf("%v: run `make token-deps`, or set %s to libsoftokn3.so", err, ModuleVariable)
	}
	return path
}

// newNSSGroup makes the directories of a group: copies of one that certutil made.
func newNSSGroup(t testing.TB) {
	t.Helper()
	if nss.dir == "" {
		nss.dir = filepath.Join(filepath.Dir(TokenDir(t)), "nss")
		first := filepath.Join(nss.dir, "first")
		if err := os.MkdirAll(first, 0o700); err != nil {
			t.Fatal(err)
		}
		pin := filepath.Join(nss.dir, "pin")
		if err := os.WriteFile(pin, []byte(os.Getenv(pinVariable)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), "certutil", "-N", "-d", "sql:"+first, "-f", pin)
		command.Env = append(os.Environ(), "LD_LIBRARY_PATH=")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("certutil makes no token: %v: %s; where it is not installed, run `make token-deps`", err, out)
		}
	}
	nss.groups++
	nss.labels = nil
	var tokens strings.Builder
	random := make([]byte, 4)
	for n := range nssGroup {
		dir := filepath.Join(nss.dir, fmt.Sprintf("%d-%d", nss.groups, n))
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(nss.dir, "first"))); err != nil {
			t.Fatal(err)
		}
		_, _ = rand.Read(random) // crypto/rand never fails
		label := "test " + hex.EncodeToString(random)
		nss.labels = append(nss.labels, label)
		fmt.Fprintf(&tokens, " 0x%x=[configdir='sql:%s' certPrefix='' keyPrefix='' secmod='' tokenDescription='%s']", 4+n, dir, label)
	}
	nss.init = "configdir='' certPrefix='' keyPrefix='' secmod='' flags=noModDB,noCertDB tokens=<" + tokens.String()[1:] + ">"
}
