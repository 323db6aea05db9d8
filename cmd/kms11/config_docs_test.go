package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestSettingsAreDocumented holds the table of settings in docs/operations.md to the fields of Config:
// each is there with its environment variable, no other is, and the fields of a list of objects are in
// its row or on the page that the row names.
func TestSettingsAreDocumented(t *testing.T) {
	const docs = "../../docs"
	text, err := os.ReadFile(filepath.Join(docs, "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Settings\n")
	section, _, _ = strings.Cut(section, "\n## ")
	quoted := regexp.MustCompile("`([^`]+)`")
	page := regexp.MustCompile(`\]\(([a-z0-9-]+\.md)\)`)
	rows := map[string]string{} // the row of each field
	for line := range strings.Lines(section) {
		cells := strings.SplitN(line, "|", 4)
		if len(cells) < 4 {
			continue
		}
		fields, _, _ := strings.Cut(cells[1], ":") // behind the colon are the fields of an object in a list
		for _, field := range quoted.FindAllStringSubmatch(fields, -1) {
			rows[field[1]] = line
		}
	}
	settings := settingsOf(reflect.TypeFor[Config](), "")
	for field, kind := range settings {
		row, found := rows[field]
		variable := "`KMS11_" + strings.ToUpper(strings.ReplaceAll(field, ".", "_")) + "`"
		if !found || !strings.Contains(row, variable) {
			t.Errorf("docs/operations.md has no row of the setting `%s` and its environment variable %s", field, variable)
			continue
		}
		if kind.Kind() != reflect.Slice || kind.Elem().Kind() != reflect.Struct {
			continue
		}
		about := row
		for _, name := range page.FindAllStringSubmatch(row, -1) {
			more, err := os.ReadFile(filepath.Join(docs, name[1]))
			if err != nil {
				t.Fatal(err)
			}
			about += string(more)
		}
		for inner := range settingsOf(kind.Elem(), "") {
			if !strings.Contains(about, "`"+inner+"`") && !strings.Contains(about, inner+":") {
				t.Errorf("neither the row of `%s` nor the page that it names has its field %s", field, inner)
			}
		}
	}
	for field := range rows {
		if _, found := settings[field]; !found {
			t.Errorf("docs/operations.md has a row of `%s`, which is no setting", field)
		}
	}
}

// settingsOf gives the fields of a struct of settings by their paths in the file.
func settingsOf(of reflect.Type, prefix string) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for i := range of.NumField() {
		field := of.Field(i)
		name := prefix + field.Tag.Get("yaml")
		if field.Type.Kind() != reflect.Struct {
			all[name] = field.Type
			continue
		}
		for inner, kind := range settingsOf(field.Type, name+".") {
			all[inner] = kind
		}
	}
	return all
}
