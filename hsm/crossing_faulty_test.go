package hsm

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
)

// compile makes a library of testdata/faulty.c.
func compile(t *testing.T, flags ...string) string {
	t.Helper()
	out, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		t.Fatal(err)
	}
	compiler := strings.Fields(string(out))
	library := filepath.Join(t.TempDir(), "faulty.so")
	args := append(compiler[1:], "-shared", "-fPIC", "-o", library)
	out, err = exec.Command(compiler[0], append(append(args, flags...), filepath.Join("testdata", "faulty.c"))...).CombinedOutput()
	if err != nil {
		t.Fatalf("no C compiler, which `make deps` installs? %v\n%s", err, out)
	}
	return library
}

// The faults of testdata/faulty.c.
const (
	sound = iota
	neverEnough
	forgetful
	modest
	boastful
	leaky
	untidy
	stuck
)

var soundAnswer = bytes.Repeat([]byte{0xAA}, 100)

// TestFaultyLibrary has a library break the rules for the size of an answer.
func TestFaultyLibrary(t *testing.T) {
	x, err := openCrossing(compile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	for _, c := range []struct {
		name  string
		fault uint
		room  int
		code  pkcs11.Error // 0 if the answer is right
	}{
		{"sound", sound, 100, 0},
		{"too small", sound, 1, 0},
		{"asks for one byte more without end", neverEnough, 7, pkcs11.CKR_BUFFER_TOO_SMALL},
		{"forgets the operation", forgetful, 99, 0},
		{"asks for less than it needs", modest, 3, 0},
		{"says that it wrote past the end", boastful, 100, pkcs11.CKR_GENERAL_ERROR},
		{"leaves plaintext behind", leaky, 100, pkcs11.CKR_ENCRYPTED_DATA_INVALID},
		{"works in the whole buffer", untidy, 200, 0},
		{"has room to spare", sound, maxRandom, 0},
	} {
		for _, op := range []*operation{&opEncrypt, &opDecrypt, &opSign} {
			out := make([]byte, c.room)
			got, function, err := x.do(&message{operation: op, mechanism: c.fault}, out)
			if c.code == 0 && (err != nil || !bytes.Equal(got, soundAnswer) || cap(got) != len(got)) {
				t.Errorf("%s, %s: %x, %s, %v", c.name, op.run, got, function, err)
			}
			if c.code != 0 && (!errors.Is(err, c.code) || function != op.run || got != nil) {
				t.Errorf("%s, %s: %x, %s, %v", c.name, op.run, got, function, err)
			}
			rest := out
			if c.code == 0 && c.room >= len(soundAnswer) {
				rest = out[len(soundAnswer):]
			}
			if !bytes.Equal(rest, make([]byte, len(rest))) {
				t.Errorf("%s, %s: something is left in the buffer", c.name, op.run)
			}
			if got, function, err := x.do(&message{operation: op, mechanism: sound}, make([]byte, 100)); !bytes.Equal(got, soundAnswer) {
				t.Fatalf("%s, %s: the session is not free afterwards: %s, %v", c.name, op.run, function, err)
			}
		}
		if c.fault == forgetful || c.fault == leaky {
			continue // the same as others to C_WrapKey
		}
		got, err := x.wrap(1, c.fault, nil, 1, 1, make([]byte, c.room))
		if c.code == 0 && !bytes.Equal(got, soundAnswer) || c.code != 0 && !errors.Is(err, c.code) {
			t.Errorf("%s, C_WrapKey: %x, %v", c.name, got, err)
		}
	}
	// What cannot be ended shows as CKR_OPERATION_ACTIVE, for which the session is opened anew.
	if _, _, err := x.do(&message{operation: &opSign, mechanism: stuck}, make([]byte, 1)); !errors.Is(err, pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL)) {
		t.Errorf("stuck: %v", err)
	}
	if _, function, err := x.do(&message{operation: &opSign}, make([]byte, 1)); function != "C_SignInit" || !errors.Is(err, pkcs11.Error(pkcs11.CKR_OPERATION_ACTIVE)) {
		t.Errorf("after stuck: %s, %v", function, err)
	}
}

// TestFaultyAttributes has lengths change between the two calls that read them.
func TestFaultyAttributes(t *testing.T) {
	x, err := openCrossing(compile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	for _, c := range []struct {
		kind uint // the lengths: first call in the low byte, second in the next
		want int  // length of the value, or -1
	}{{0x0404, 4}, {0x0000, 0}, {0x0408, 4}, {0x0804, -1}, {0xFF04, -1}, {0x04FF, -1}} {
		got, err := x.attributes(1, 1, []uint{c.kind, c.kind})
		switch {
		case c.want < 0 && err == nil:
			t.Errorf("0x%04X: %d and %d bytes", c.kind, len(got[0]), len(got[1]))
		case c.want >= 0 && (err != nil || len(got[0]) != c.want || len(got[1]) != c.want):
			t.Errorf("0x%04X: %v, %v", c.kind, got, err)
		}
		if c.kind == 0x04FF { // it stopped after the first call
			_, _ = x.attributes(1, 1, []uint{0x00FF})
		}
	}
}

func TestNotALibrary(t *testing.T) {
	for flags, want := range map[string]string{
		"-DNO_LIST": "C_GetFunctionList",
		"-DGAP":     "gaps",
	} {
		x, err := openCrossing(compile(t, flags))
		if err == nil {
			x.close()
			t.Errorf("%s: it is taken", flags)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", flags, err)
		}
	}
	if _, err := openCrossing("/no/such/library.so"); err == nil || !strings.Contains(err.Error(), "/no/such/library.so") {
		t.Errorf("no file: %v", err)
	}
}
