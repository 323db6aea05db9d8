package main

import (
	"maps"
	"slices"
	"strings"
)

func emitErrors(s *source, m *model) {
	status := maps.Clone(m.overrides.UnmodelledErrors)
	s.line("// The errors that the API model declares.\nconst (")
	for _, name := range slices.Sorted(maps.Keys(m.Shapes)) {
		if !m.Shapes[name].Exception {
			continue
		}
		s.line("%s ErrorCode = %[1]q", name)
		if m.Shapes[name].Fault {
			status[name] = 500
		}
	}
	s.line(")\n")
	s.line("// The errors that the service sends without declaring them.\nconst (")
	for _, name := range slices.Sorted(maps.Keys(m.overrides.UnmodelledErrors)) {
		s.line("%s ErrorCode = %[1]q", name)
	}
	s.line(")\n")
	s.line("// errorStatus holds the codes whose HTTP status is not 400. Nothing writes to it.")
	s.line("var errorStatus = map[ErrorCode]int{")
	for _, name := range slices.Sorted(maps.Keys(status)) {
		if status[name] != 400 {
			s.line("%s: %d,", name, status[name])
		}
	}
	s.line("}")
}

// keyMembers are the members that name the key an operation works on.
var keyMembers = []string{"KeyId", "TargetKeyId", "DestinationKeyId"}

func emitOperations(s *source, m *model) {
	s.line("// operations is the table of all operations by name. Nothing writes to it.")
	s.line("var operations = map[string]*Operation{")
	for _, name := range m.operationNames() {
		op := m.Operations[name]
		input := m.Shapes[op.Input].Members
		s.line("%q: {", name)
		s.line("Name: %q,", name)
		s.line("NewRequest: func() Request { return new(%s) },", op.Input)
		s.line("Errors: []ErrorCode{%s},", strings.Join(op.Errors, ", "))
		switch {
		case slices.Contains(m.overrides.AcceptsAlias, name):
			s.line("KeyIDs: KeyIDAnyForm,")
		case slices.ContainsFunc(keyMembers, func(k string) bool { return input.index(k) >= 0 }):
			s.line("KeyIDs: KeyIDNoAlias,")
		}
		if op.Output != "" {
			s.line("HasOutput: true,")
		}
		if slices.Contains(m.overrides.CrossAccount, name) {
			s.line("CrossAccount: true,")
		}
		if slices.Contains(m.overrides.Mutating, name) {
			s.line("Mutates: true,")
		}
		if input.index("GrantTokens") >= 0 {
			s.line("GrantTokens: true,")
		}
		if input.index("DryRun") >= 0 {
			s.line("DryRun: true,")
		}
		if op.Paginated != "" {
			s.line("Paginated: %q,", op.Paginated)
		}
		s.line("},")
	}
	s.line("}")
}
