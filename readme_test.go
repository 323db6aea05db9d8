package kms11_test

import (
	"os"
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
