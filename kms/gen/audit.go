package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// emitAudit writes what the audit trail may tell of each request and response: the members that
// overrides.json lists, and no other.
func emitAudit(s *source, m *model) {
	for _, name := range m.auditedStructures() {
		s.line("// AppendAudit implements Audited.")
		audited := m.overrides.Audited[name]
		if len(audited) == 0 {
			s.line("func (*%s) AppendAudit(b []byte) []byte { return append(b, \"null\"...) }\n", name)
			continue
		}
		s.line("func (r *%s) AppendAudit(b []byte) []byte {\no := object{b: b}", name)
		for _, e := range m.Shapes[name].Members {
			if slices.Contains(audited, e.Name) {
				m.emitAuditMember(s, name, e)
			}
		}
		s.line("return o.endOrNull()\n}\n")
	}
}

// auditedStructures are the inputs and outputs of all operations and what else is listed, in
// alphabetical order.
func (m *model) auditedStructures() []string {
	names := slices.Collect(maps.Keys(m.overrides.Audited))
	for _, op := range m.Operations {
		names = append(names, op.Input)
		if op.Output != "" {
			names = append(names, op.Output)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (m *model) emitAuditMember(s *source, structure string, e member) {
	field := "r." + e.Name
	of := m.Shapes[e.Shape]
	switch {
	case of.Type == "string" && m.overrides.AuditDefaults[structure+"."+e.Name] != "":
		s.line("o.textOr(%q, string(%s), %q)", lowerCamel(e.Name), field, m.overrides.AuditDefaults[structure+"."+e.Name])
	case len(of.Enum) > 0:
		s.line("o.text(%q, string(%s))", lowerCamel(e.Name), field)
	case of.Type == "structure":
		s.line("nested(&o, %q, %s, (*%s).AppendAudit)", lowerCamel(e.Name), field, e.Shape)
	case of.Type == "list" && m.Shapes[of.Member].Type == "structure":
		s.line("nestedList(&o, %q, %s, (*%s).AppendAudit)", lowerCamel(e.Name), field, of.Member)
	case of.Type == "list":
		s.line("texts(&o, %q, %s)", lowerCamel(e.Name), field)
	default:
		s.line("o.%s(%q, %s)", auditScalars[of.Type], lowerCamel(e.Name), field)
	}
}

// auditScalars are the methods of object. There is none for a blob: no blob of the API is for
// the trail.
var auditScalars = map[string]string{
	"boolean":   "flag",
	"integer":   "number",
	"string":    "text",
	"timestamp": "time",
	"map":       "pairs",
}

// checkAudited refuses members that no trail may show: those that the model marks as sensitive or
// that hold something so marked, and blobs. A structure is shown by its own list.
func (m *model) checkAudited() error {
	for name, listed := range m.overrides.Audited {
		structure, ok := m.Shapes[name]
		if !ok || structure.Type != "structure" {
			return fmt.Errorf("audited: no structure %s in the model", name)
		}
		for _, member := range listed {
			i := structure.Members.index(member)
			if i < 0 {
				return fmt.Errorf("audited: no member %s.%s in the model", name, member)
			}
			shape := structure.Members[i].Shape
			of := m.Shapes[shape]
			if of.Type == "list" {
				shape, of = of.Member, m.Shapes[of.Member]
			}
			switch {
			case of.Type == "structure" && m.overrides.Audited[shape] == nil:
				return fmt.Errorf("audited: %s.%s is a %s, which has no list of its own", name, member, shape)
			case of.Type == "structure":
			case of.Type == "blob", of.Sensitive:
				return fmt.Errorf("audited: %s.%s is sensitive or a blob: it may hold a secret", name, member)
			}
		}
	}
	for path := range m.overrides.AuditDefaults {
		structure, member, _ := strings.Cut(path, ".")
		if !slices.Contains(m.overrides.Audited[structure], member) {
			return fmt.Errorf("auditDefaults: %s is not audited", path)
		}
	}
	for _, op := range m.overrides.Mutating {
		if m.Operations[op] == nil {
			return fmt.Errorf("mutating: no operation %s in the model", op)
		}
	}
	return nil
}
