package main

import (
	"os"
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

// TestFloors runs the benchmark on its floors, with real processes and a real token.
func TestFloors(t *testing.T) {
	opts, err := parseFlags([]string{"-only", "http,sigv4,token,bare", "-rounds", "2", "-requests", "20", "-concurrency", "1,4"})
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
	if !strings.Contains(text.String(), "floor: bare path") {
		t.Errorf("printed\n%s", &text)
	}
	file := filepath.Join(t.TempDir(), "report.json")
	if err := report.writeJSON(file); err != nil {
		t.Fatal(err)
	}
}

// TestFloorRefuses has a floor answer a request that it must not accept: a window fails then,
// and no figure comes of it.
func TestFloorRefuses(t *testing.T) {
	for _, floor := range []string{"sigv4", "bare"} {
		s := &subject{name: floor, operation: "Encrypt"}
		if err := s.startFloor(t.Context(), t.TempDir()); err != nil {
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
