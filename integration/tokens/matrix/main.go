// The command matrix writes the table of features and tokens into a page: one row for each feature of
// `kms11 hsm probe --json`, one column for each file.
//
//	go run ./integration/tokens/matrix docs/tokens.md docs/tokens/*.json
//
// The table stands between two comments of the page. A file's name without ".json" heads its column.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	begin = "<!-- matrix: make token-matrix -->\n"
	end   = "<!-- end of matrix -->\n"
)

// A feature is one of the probe's answers.
type feature struct {
	Name string `json:"name"`
	Area string `json:"area"`
	OK   bool   `json:"ok"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: matrix PAGE PROBE [PROBE]")
	}
	page, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	table, err := matrix(args[1:])
	if err != nil {
		return err
	}
	written, err := replace(string(page), table)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return os.WriteFile(args[0], []byte(written), 0o644)
}

// replace puts a table between the comments of a page.
func replace(page, table string) (string, error) {
	head, rest, ok := strings.Cut(page, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", errors.New("it has no place for the matrix")
	}
	return head + begin + table + end + tail, nil
}

// matrix makes the table of the probes in files.
func matrix(files []string) (string, error) {
	var rows []feature
	works := map[string]map[string]bool{} // by file, by feature
	var b strings.Builder
	b.WriteString("| area | feature |")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		var probe []feature
		if err := json.Unmarshal(data, &probe); err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
		works[file] = map[string]bool{}
		for _, f := range probe {
			if f.Name == "" || f.Area == "" {
				return "", fmt.Errorf("%s: a feature without a name or an area", file)
			}
			works[file][f.Name] = f.OK
			if len(rows) == 0 || !has(rows, f.Name) {
				rows = append(rows, f)
			}
		}
		fmt.Fprintf(&b, " %s |", strings.TrimSuffix(filepath.Base(file), ".json"))
	}
	b.WriteString("\n|" + strings.Repeat("---|", 2+len(files)) + "\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s | %s |", row.Area, row.Name)
		for _, file := range files {
			switch ok, known := works[file][row.Name]; {
			case !known:
				b.WriteString(" ? |")
			case ok:
				b.WriteString(" yes |")
			default:
				b.WriteString(" no |")
			}
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

func has(rows []feature, name string) bool {
	for _, row := range rows {
		if row.Name == name {
			return true
		}
	}
	return false
}
