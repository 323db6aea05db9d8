package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// emitConstraints writes one variable for each constrained shape that a request uses.
func emitConstraints(s *source, m *model) {
	var roots []string
	for _, op := range m.Operations {
		roots = append(roots, op.Input)
	}
	used := m.usedRules()
	s.line("import \"regexp\"\n")
	s.line("// The constraints of the shapes that requests use. Nothing writes to them.\nvar (")
	for _, name := range m.reachable(roots) {
		shape := m.Shapes[name]
		if !used[ruleName(name)] {
			continue
		}
		switch shape.Type {
		case "string":
			s.line("%s = textRule{%s}", ruleName(name), textRule(shape))
		case "blob":
			s.line("%s = blobRule{%s}", ruleName(name), limits(shape))
		case "integer":
			s.line("%s = rangeRule{%s}", ruleName(name), limits(shape))
		case "list":
			s.line("%s = listRule{%s}", ruleName(name), limits(shape))
		}
	}
	s.line("\n// Narrower than the shape for one member.")
	for _, path := range slices.Sorted(maps.Keys(m.overrides.Ranges)) {
		b := m.overrides.Ranges[path]
		s.line("%s = rangeRule{min: %d, max: %d}", ruleName(strings.ReplaceAll(path, ".", "")), b.Min, b.Max)
	}
	s.line(")\n")

	s.line("// The member names of the structures that requests use, in the model's order.\nvar (")
	for _, name := range m.structures(inputOf) {
		s.line("%s = []string{%s}", memberNames(name), quoted(m.Shapes[name].Members))
	}
	s.line(")")
}

// usedRules are the variables that the decoder of some request names.
func (m *model) usedRules() map[string]bool {
	used := map[string]bool{}
	for _, name := range m.structures(inputOf) {
		for _, e := range m.Shapes[name].Members {
			used[m.rangeRule(name, e)] = true
			used[ruleName(m.Shapes[e.Shape].Member)] = true
		}
	}
	return used
}

func limits(shape *shape) string {
	var fields []string
	if shape.Min != nil && *shape.Min != 0 {
		fields = append(fields, fmt.Sprintf("min: %d", *shape.Min))
	}
	if shape.Max != nil {
		fields = append(fields, fmt.Sprintf("max: %d", *shape.Max))
	}
	return strings.Join(fields, ", ")
}

func textRule(shape *shape) string {
	fields := limits(shape)
	if shape.Pattern != "" {
		fields += fmt.Sprintf(", pattern: %s, compiled: regexp.MustCompile(%s)",
			literal(shape.Pattern), literal(re2(cmp.Or(shape.Accepts, shape.Pattern))))
	}
	if len(shape.Enum) > 0 {
		fields += ", values: []string{"
		for _, value := range shape.Enum {
			fields += strconv.Quote(value) + ", "
		}
		fields += "}"
	}
	if shape.Sensitive {
		fields += ", sensitive: true"
	}
	return strings.TrimPrefix(fields, ", ")
}

func literal(s string) string {
	if strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

var unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

// re2 turns a Java pattern of the model into RE2 syntax. AWS matches the whole value, \u0020 is
// spelt \x{0020}, and Java's \s holds the vertical tab, which RE2's does not.
func re2(pattern string) string {
	pattern = unicodeEscape.ReplaceAllString(pattern, `\x{$1}`)
	pattern = strings.ReplaceAll(pattern, `\s`, `\s\v`)
	return `\A(?:` + pattern + `)\z`
}

func memberNames(structure string) string { return "members" + structure }

func quoted(list members) string {
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = strconv.Quote(e.Name)
	}
	return strings.Join(names, ", ")
}
