package kms11_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
)

// TestFeatureTable holds README's table to the code: one row for each operation and each key spec, no
// others, and "not yet" for the operations that are not.
func TestFeatureTable(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, line := range strings.Split(string(readme), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		name := strings.TrimSpace(cells[1])
		if _, known := kms.OperationByName(name); known || slices.ContainsFunc(kms.Specs(), func(s kms.Spec) bool { return string(s.KeySpec) == name }) {
			if _, twice := rows[name]; twice {
				t.Errorf("README has two rows of %s", name)
			}
			rows[name] = strings.TrimSpace(cells[2])
		}
	}
	for _, operation := range kms.Operations() {
		if rows[operation.Name] == "" {
			t.Errorf("README does not say what %s needs of the token", operation.Name)
		}
	}
	for _, spec := range kms.Specs() {
		if rows[string(spec.KeySpec)] == "" {
			t.Errorf("README does not say what %s needs of the token", spec.KeySpec)
		}
	}
}

// TestReadmeNamesEverything: every folder and every page has its link in README.
func TestReadmeNamesEverything(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range folders {
		folders[i] = filepath.Dir(file)
	}
	commands, err := filepath.Glob("cmd/*")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) == 0 || len(commands) == 0 || len(pages) == 0 {
		t.Fatalf("found folders %v, commands %v, pages %v", folders, commands, pages)
	}
	for _, name := range slices.Compact(slices.Concat(folders, commands, pages)) {
		if !strings.Contains(string(readme), "]("+name+")") {
			t.Errorf("README has no link to %s", name)
		}
	}
}

// TestDocsLinks: what a page links to within the repository is there.
func TestDocsLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	seen := 0
	for _, page := range append(pages, "README.md", "CONTRIBUTING.md", "CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			file, section, _ := strings.Cut(found[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			seen++
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			there, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr != nil || err != nil && !info.IsDir() {
				t.Errorf("%s links to %s, which is not there", page, found[1])
				continue
			}
			if section != "" && !slices.Contains(anchors(string(there)), section) {
				t.Errorf("%s links to %s, which has no such heading", page, found[1])
			}
		}
	}
	if seen < 100 {
		t.Errorf("%d links were found, which is too few to believe", seen)
	}
}

// anchors are the names by which the headings of a page are linked to.
func anchors(page string) []string {
	var all []string
	for line := range strings.Lines(page) {
		level, title, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || strings.Trim(level, "#") != "" {
			continue
		}
		title = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(title), "")
		all = append(all, strings.ReplaceAll(title, " ", "-"))
	}
	return all
}
