package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// model is the API with the overrides applied.
type model struct {
	Operations map[string]*operation
	Shapes     map[string]*shape
	overrides  overrides
}

type operation struct {
	Input     string
	Output    string // empty for an operation without output
	Errors    []string
	Paginated string // the list member of the output, empty if not paginated
}

type shape struct {
	Type      string
	Required  []string
	Members   members
	Member    string // the element shape of a list
	Enum      []string
	Min, Max  *int
	Pattern   string
	Accepts   string `json:"-"` // overrides what Pattern lets through; messages print Pattern
	Sensitive bool
	Exception bool
	Fault     bool
}

// member is one member of a structure.
type member struct {
	Name  string
	Shape string
}

// members keeps the order of the file, which is the order of validation messages and of output.
type members []member

func (m *members) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil { // the opening brace
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var shape string
		if err := dec.Decode(&shape); err != nil {
			return err
		}
		*m = append(*m, member{name.(string), shape})
	}
	return nil
}

func (m members) index(name string) int {
	return slices.IndexFunc(m, func(e member) bool { return e.Name == name })
}

// overrides is overrides.json. Members are named "Shape.Member".
type overrides struct {
	UnmodelledErrors map[string]int // code to HTTP status
	Ranges           map[string]bounds
	RequiredUnless   map[string]condition
	Required         []string
	AlwaysEmitted    []string
	MemberAfter      map[string]string // the member to the one it follows
	AcceptsAlias     []string          // operations that take all four forms of key identifier
	CrossAccount     []string          // operations that work on a key of another account
	Accepts          map[string]string // shapes that let more through than their pattern says, and what
	Mutating         []string          // operations that change something: all others are read-only in the audit trail
	// Audited are the members of each structure that the audit trail may show.
	Audited map[string][]string
	// AuditDefaults are what the trail shows of an audited member that a request leaves out.
	AuditDefaults map[string]string
}

type bounds struct{ Min, Max int }

// condition is met when the list Member contains the enum value Contains.
type condition struct{ Member, Contains string }

func loadModel(dir string) (*model, error) {
	var m model
	if err := load(filepath.Join(dir, "model.json"), &m); err != nil {
		return nil, err
	}
	if err := load(filepath.Join(dir, "overrides.json"), &m.overrides); err != nil {
		return nil, err
	}
	if err := m.checkOverrides(); err != nil {
		return nil, fmt.Errorf("overrides.json: %w", err)
	}
	for _, path := range m.overrides.Required {
		structure, name, _ := strings.Cut(path, ".")
		m.Shapes[structure].Required = append(m.Shapes[structure].Required, name)
	}
	for path, after := range m.overrides.MemberAfter {
		structure, name, _ := strings.Cut(path, ".")
		m.Shapes[structure].Members.moveAfter(name, after)
	}
	for name, pattern := range m.overrides.Accepts {
		m.Shapes[name].Accepts = pattern
	}
	return &m, nil
}

func load(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// checkOverrides refuses an override of something that the model does not have.
func (m *model) checkOverrides() error {
	paths := slices.Concat(m.overrides.Required, m.overrides.AlwaysEmitted,
		slices.Collect(maps.Keys(m.overrides.Ranges)),
		slices.Collect(maps.Keys(m.overrides.RequiredUnless)),
		slices.Collect(maps.Keys(m.overrides.MemberAfter)))
	for _, path := range paths {
		structure, name, _ := strings.Cut(path, ".")
		s, ok := m.Shapes[structure]
		if !ok || s.Members.index(name) < 0 {
			return fmt.Errorf("no member %s in the model", path)
		}
		if after, ok := m.overrides.MemberAfter[path]; ok && s.Members.index(after) < 0 {
			return fmt.Errorf("no member %s.%s in the model", structure, after)
		}
	}
	for _, op := range slices.Concat(m.overrides.AcceptsAlias, m.overrides.CrossAccount) {
		if m.Operations[op] == nil {
			return fmt.Errorf("no operation %s in the model", op)
		}
	}
	for name := range m.overrides.Accepts {
		if s := m.Shapes[name]; s == nil || s.Pattern == "" {
			return fmt.Errorf("no shape %s with a pattern in the model", name)
		}
	}
	return m.checkAudited()
}

func (m members) moveAfter(name, after string) {
	from := m.index(name)
	moved := m[from]
	rest := slices.Delete(slices.Clone(m), from, from+1)
	copy(m, slices.Insert(rest, rest.index(after)+1, moved))
}

// operationNames are the operations in alphabetical order.
func (m *model) operationNames() []string {
	return slices.Sorted(maps.Keys(m.Operations))
}

// reachable gives the names of the structures, lists and scalars that are used by the given
// structures, themselves included, in alphabetical order.
func (m *model) reachable(roots []string) []string {
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if name == "" || seen[name] {
			return
		}
		seen[name] = true
		s := m.Shapes[name]
		for _, e := range s.Members {
			visit(e.Shape)
		}
		visit(s.Member)
	}
	for _, root := range roots {
		visit(root)
	}
	return slices.Sorted(maps.Keys(seen))
}

// structures are the structures used by requests, or by responses, in alphabetical order.
func (m *model) structures(of func(*operation) string) []string {
	var roots []string
	for _, op := range m.Operations {
		roots = append(roots, of(op))
	}
	return slices.DeleteFunc(m.reachable(roots), func(name string) bool {
		return m.Shapes[name].Type != "structure"
	})
}

func inputOf(op *operation) string  { return op.Input }
func outputOf(op *operation) string { return op.Output }

// holdsSensitive says whether a shape is marked sensitive or contains one that is.
func (m *model) holdsSensitive(name string) bool {
	return slices.ContainsFunc(m.reachable([]string{name}), func(n string) bool {
		return m.Shapes[n].Sensitive
	})
}
