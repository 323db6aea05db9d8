package hsmtest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// A Witness is a PKCS#11 library that passes every call on to a copy of SoftHSM2's library of its own,
// which so has a state of its own, and writes down the calls that make, move or read keys.
type Witness struct {
	Module string // path of the library
	log    string
}

// NewWitness builds the library in C, from testdata/witness.c. Without a C compiler the test fails.
func NewWitness(t testing.TB) *Witness {
	t.Helper()
	dir := t.TempDir()
	w := &Witness{Module: filepath.Join(dir, "witness.so"), log: filepath.Join(dir, "calls")}
	behind := filepath.Join(dir, "softhsm.so")
	copyFile(t, behind, Module(t))
	_, here, _, _ := runtime.Caller(0)
	source := filepath.Join(filepath.Dir(filepath.Dir(here)), "testdata", "witness.c")
	out, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		t.Fatal(err)
	}
	compiler := strings.Fields(string(out))
	args := append(compiler[1:], "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", w.Module,
		"-DBEHIND="+strconv.Quote(behind), "-DLOG="+strconv.Quote(w.log), source, "-ldl", "-lpthread")
	if out, err := exec.Command(compiler[0], args...).CombinedOutput(); err != nil {
		t.Fatalf("no C compiler, which `make deps` installs? %v\n%s", err, out)
	}
	return w
}

func copyFile(t testing.TB, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.Copy(out, in); err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A WitnessedCall is one C_ call. Values are those of witness.c: numbers in hexadecimal but for
// handles, byte strings in hexadecimal.
type WitnessedCall struct {
	Function string
	Values   map[string]string
}

// OK says whether the call succeeded.
func (c WitnessedCall) OK() bool { return c.Values["rv"] == "0" }

// Calls are those since the start, or since the last Calls.
func (w *Witness) Calls(t testing.TB) []WitnessedCall {
	t.Helper()
	text, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(w.log, 0); err != nil {
		t.Fatal(err)
	}
	var calls []WitnessedCall
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		c := WitnessedCall{Function: fields[0], Values: map[string]string{}}
		for _, f := range fields[1:] {
			name, value, _ := strings.Cut(f, "=")
			c.Values[name] = value
		}
		calls = append(calls, c)
	}
	return calls
}
