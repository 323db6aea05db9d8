package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPageIsCurrent holds the page to the probes beside it.
func TestPageIsCurrent(t *testing.T) {
	const root = "../../../docs/"
	files, err := filepath.Glob(root + "tokens/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d probes: %v", len(files), err)
	}
	table, err := matrix(files)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(root + "tokens.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := replace(string(page), table)
	if err != nil {
		t.Fatal(err)
	}
	if want != string(page) {
		t.Error("docs/tokens.md is not what its probes say: run `make token-matrix`")
	}
	if n := strings.Count(table, "\n"); n < 40 {
		t.Errorf("a table of %d lines", n)
	}
}

func TestReplace(t *testing.T) {
	page := "a\n" + begin + "old\n" + end + "b\n"
	if got, err := replace(page, "new\n"); err != nil || got != "a\n"+begin+"new\n"+end+"b\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", begin, end, end + begin} {
		if _, err := replace(bad, "new\n"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMatrixRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"none.json": "", "text.json": "x", "nameless.json": `[{"area":"a","ok":true}]`} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := matrix([]string{file}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := run([]string{"page"}); err == nil {
		t.Error("a page without probes")
	}
}
