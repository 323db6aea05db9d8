package integration_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// faultModule is a PKCS#11 library between a server and SoftHSM2 that fails on command: see
// testdata/faults.c, whose struct control this reads and writes.
type faultModule struct {
	library string
	control *os.File
}

// The fields of struct control.
const (
	faultsOfMillion = iota
	hangsOfMillion
	hangMillis
	isDead
	lies
	callCount
	failedCount
	hungCount
	loginCount
	refusedPINs
	openSessions
	liveObjects
	restartCount
	controlFields
)

// newFaultModule compiles the library and has the servers that the test starts from now on use it in
// place of SoftHSM2's own.
func newFaultModule(t *testing.T) *faultModule {
	t.Helper()
	m := compileFaults(t)
	t.Setenv("SOFTHSM2_MODULE", m.library)
	return m
}

// compileFaults makes one more library, which forwards to a copy of SoftHSM2 of its own.
func compileFaults(t *testing.T) *faultModule {
	t.Helper()
	compiler := strings.Fields(string(must(exec.Command("go", "env", "CC").Output())(t)))
	library := filepath.Join(t.TempDir(), "faults.so")
	args := append(compiler[1:], "-shared", "-fPIC", "-O1", "-o", library, filepath.Join("testdata", "faults.c"), "-ldl")
	if output, err := exec.Command(compiler[0], args...).CombinedOutput(); err != nil {
		t.Fatalf("no C compiler, which `make deps` installs? %v\n%s", err, output)
	}
	if err := os.WriteFile(library+".real", must(os.ReadFile(softHSM(t)))(t), 0o700); err != nil {
		t.Fatal(err)
	}
	control := must(os.OpenFile(library+".control", os.O_CREATE|os.O_RDWR, 0o600))(t)
	t.Cleanup(func() { control.Close() })
	if err := control.Truncate(8 * controlFields); err != nil {
		t.Fatal(err)
	}
	return &faultModule{library, control}
}

// softHSM finds SoftHSM2's library where Debian and Ubuntu put it, or where SOFTHSM2_MODULE says.
func softHSM(t *testing.T) string {
	t.Helper()
	for _, path := range []string{os.Getenv("SOFTHSM2_MODULE"), "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("SoftHSM2's library is not found: run `make deps`, or set SOFTHSM2_MODULE")
	return ""
}

func (m *faultModule) set(t testing.TB, field int, value uint64) {
	t.Helper()
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], value)
	if _, err := m.control.WriteAt(b[:], int64(8*field)); err != nil {
		t.Fatal(err)
	}
}

func (m *faultModule) get(t testing.TB, field int) uint64 {
	t.Helper()
	var b [8]byte
	if _, err := m.control.ReadAt(b[:], int64(8*field)); err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(b[:])
}
