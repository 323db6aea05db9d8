package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain makes the test binary a floor where the benchmark starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv(floorEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// testedKind is the name of the kind of token that the tests run on, by the variable that chooses it for
// the suites of the product's packages too.
func testedKind() string { return cmp.Or(os.Getenv("KMS11_HSMTEST"), tokenKinds()[0].name) }

// TestFloors runs the benchmark on its floors, with real processes and a real token.
func TestFloors(t *testing.T) {
	opts, err := parseFlags([]string{"-token", testedKind(), "-only", "http,sigv4,token,bare", "-rounds", "2", "-requests", "20", "-concurrency", "1,4"})
	if err != nil {
		t.Fatal(err)
	}
	results, err := measureAll(t.Context(), opts, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	report := newReport(opts)
	report.Results = results
	var names []string
	for _, r := range results {
		names = append(names, r.Name)
		if len(r.Samples) != 2 || r.CPUMicros <= 0 || r.PerSecond <= 0 {
			t.Errorf("%s at %d: %+v", r.Name, r.Concurrency, r)
		}
	}
	if got := strings.Join(names, " "); got != "http http sigv4 sigv4 token bare bare" {
		t.Errorf("measured %s", got)
	}
	var text strings.Builder
	report.print(&text)
	for _, want := range []string{"floor: bare path", "token " + testedKind() + ";"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	file := filepath.Join(t.TempDir(), "report.json")
	if err := report.writeJSON(file); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"token": "` + testedKind() + `"`; !strings.Contains(string(written), want) {
		t.Errorf("no %s in\n%s", want, written)
	}
}

// TestFloorRefuses has a floor answer a request that it must not accept: a window fails then,
// and no figure comes of it.
func TestFloorRefuses(t *testing.T) {
	kind, err := tokenKindOf(testedKind())
	if err != nil {
		t.Fatal(err)
	}
	for _, floor := range []string{"sigv4", "bare"} {
		s := &subject{name: floor, operation: "Encrypt"}
		if err := s.startFloor(t.Context(), kind, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		s.id.secret = "wrong"
		_, err := s.window(t.Context(), 1, 1)
		if err == nil || !strings.Contains(err.Error(), "InvalidSignature") {
			t.Errorf("%s: %v", floor, err)
		}
		if err := s.proc.stop(); err != nil {
			t.Error(err)
		}
	}
}

// libraries are files that a process has mapped which calls a token of a kind.
var libraries = map[string]string{"softhsm": "libsofthsm2.so", "nss": "libsoftokn3.so"}

// TestKeysOfBarePath has bare paths with several keys answer: what one key encrypted, another would not decrypt.
func TestKeysOfBarePath(t *testing.T) {
	kind, err := tokenKindOf(testedKind())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range xksFloors(3) {
		if err := f.startFloor(t.Context(), kind, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		if _, err := f.window(t.Context(), 2, 40); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		if err := f.proc.stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestServer has a server of each sort that is measured, the plain one and one with a proxy, answer a
// window of requests on a token of the kind, and sees that it loaded the library of that kind alone.
func TestServer(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "kms11")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "../../cmd/kms11").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	opts, err := parseFlags([]string{"-token", testedKind(), "-server", binary})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), opts, filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	encrypt := &subject{name: "encrypt", operation: "Encrypt"}
	if err := s.give(t.Context(), []*subject{encrypt}); err != nil {
		t.Fatal(err)
	}
	if _, err := encrypt.window(t.Context(), 2, 20); err != nil {
		t.Error(err)
	}
	x, err := newXKSServer(t.Context(), opts, filepath.Join(t.TempDir(), "xks"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer x.stop()
	if err := x.fill(1); err != nil {
		t.Fatal(err)
	}
	if _, err := x.requests(t.Context(), "xks-decrypt", "/keys/%s/decrypt"); err != nil {
		t.Error(err)
	}
	for _, server := range []*server{s, x.server} {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", server.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for kind, library := range libraries {
			if got := strings.Contains(string(maps), library); got != (kind == testedKind()) {
				t.Errorf("on %s the server has mapped %s: %v", testedKind(), library, got)
			}
		}
	}
}
