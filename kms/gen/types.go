package main

import (
	"maps"
	"slices"
)

func emitEnums(s *source, m *model) {
	for _, name := range slices.Sorted(maps.Keys(m.Shapes)) {
		values := m.Shapes[name].Enum
		if len(values) == 0 {
			continue
		}
		s.line("// %s is an enum of the API.\ntype %[1]s string\n", name)
		s.line("// The values of %s, in the model's order.\nconst (", name)
		for _, value := range values {
			s.line("%[1]s%[2]s %[1]s = %[3]q", name, camel(value), value)
		}
		s.line(")\n")
	}
}

func emitRequests(s *source, m *model) {
	for _, name := range m.structures(inputOf) {
		m.emitStruct(s, name)
	}
}

func emitResponses(s *source, m *model) {
	requests := m.structures(inputOf)
	for _, name := range m.structures(outputOf) {
		if !slices.Contains(requests, name) {
			m.emitStruct(s, name)
		}
	}
}

func (m *model) emitStruct(s *source, name string) {
	s.line("// %s is the structure of this name in the API.", name)
	s.line("type %s struct {", name)
	for _, e := range m.Shapes[name].Members {
		s.line("%s %s `json:%q`", e.Name, m.goType(e.Shape), m.fieldTag(name, e))
	}
	s.line("}\n")
}

// emitRedaction writes methods that keep the contents of structures with sensitive members out of
// formatted text and logs. Their JSON is the wire format and stays complete.
func emitRedaction(s *source, m *model) {
	s.line("import (\n\"fmt\"\n\"io\"\n\"log/slog\"\n)\n")
	structures := slices.Concat(m.structures(inputOf), m.structures(outputOf))
	slices.Sort(structures)
	for _, name := range slices.Compact(structures) {
		if !m.holdsSensitive(name) {
			continue
		}
		s.line("// Format prints the type's name only: it holds sensitive members.")
		s.line("func (%s) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, \"kms.%[1]s\") }\n", name)
		s.line("// LogValue is the type's name only: it holds sensitive members.")
		s.line("func (%s) LogValue() slog.Value { return slog.StringValue(\"kms.%[1]s\") }\n", name)
	}
}

// emitResponseTypes writes a test's way from an operation to its response type.
func emitResponseTypes(s *source, m *model) {
	s.line("// responseTypes makes an empty response of each operation that has one.")
	s.line("var responseTypes = map[string]func() any{")
	for _, name := range m.operationNames() {
		if output := m.Operations[name].Output; output != "" {
			s.line("%q: func() any { return new(%s) },", name, output)
		}
	}
	s.line("}")
}
