package hsm_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

// resident is the memory of this process, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm") // proc(5): total and resident, in pages
	if err != nil {
		t.Fatal(err)
	}
	var total, pages int
	if _, err := fmt.Sscan(string(statm), &total, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestForgeriesCostNoMemory gives the token 80 MB of forged messages, which the binding would
// keep.
func TestForgeriesCostNoMemory(t *testing.T) {
	const count, size, bound = 20_000, 4096, 20 << 20
	token := hsmtest.Token(t)
	hsm.Forge(t, token, count/100, size)
	before := resident(t)
	hsm.Forge(t, token, count, size)
	if grown := resident(t) - before; grown > bound {
		t.Errorf("%d forged messages of %d bytes cost %d KB", count, size, grown>>10)
	} else {
		t.Logf("%d forged messages of %d bytes cost %d KB", count, size, grown>>10)
	}
}
