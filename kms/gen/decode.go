package main

import (
	"fmt"
	"slices"
)

// emitDecode writes Decode for every request type and decode for every structure inside one.
func emitDecode(s *source, m *model) {
	s.line("import \"slices\"\n")
	requests := map[string]bool{}
	for _, op := range m.Operations {
		requests[op.Input] = true
	}
	for _, name := range m.structures(inputOf) {
		if requests[name] {
			s.line("// Decode fills r from the body of a request and validates it: see Request.")
			s.line("func (r *%s) Decode(body []byte) error { return decodeRequest(body, r) }\n", name)
		}
		m.emitDecodeStruct(s, name)
	}
}

// emitDecodeStruct writes straight-line code for the members of one structure, in the model's
// order, which is the order of the violations in a message.
func (m *model) emitDecodeStruct(s *source, name string) {
	shape := m.Shapes[name]
	s.line("func (r *%s) decode(d *decoder, raw value) {\n*r = %[1]s{}", name)
	if len(shape.Members) == 0 {
		s.line("d.members(raw, nil, nil)\n}\n")
		return
	}
	s.line("var m [%d]value", len(shape.Members))
	s.line("d.members(raw, %s, m[:])", memberNames(name))
	for i, e := range shape.Members {
		if slices.Contains(shape.Required, e.Name) {
			s.line("d.require(m[%d], %q)", i, lowerCamel(e.Name))
		}
		s.line("r.%s = %s", e.Name, m.decodeCall(name, i, e))
	}
	for i, e := range shape.Members {
		if unless, ok := m.overrides.RequiredUnless[name+"."+e.Name]; ok {
			list := shape.Members[shape.Members.index(unless.Member)]
			element := m.Shapes[list.Shape].Member
			s.line("if !slices.Contains(r.%s, %s%s) {", unless.Member, element, camel(unless.Contains))
			s.line("d.require(m[%d], %q)\n}", i, lowerCamel(e.Name))
		}
	}
	s.line("}\n")
}

// decodeCall is the expression that decodes member number i of a structure.
func (m *model) decodeCall(structure string, i int, e member) string {
	shape := m.Shapes[e.Shape]
	args := fmt.Sprintf("m[%d], %q", i, lowerCamel(e.Name))
	switch shape.Type {
	case "string":
		call := fmt.Sprintf("d.text(%s, &%s)", args, ruleName(e.Shape))
		if len(shape.Enum) > 0 {
			return e.Shape + "(" + call + ")"
		}
		return call
	case "blob":
		return fmt.Sprintf("d.blob(%s, &%s)", args, ruleName(e.Shape))
	case "integer":
		return fmt.Sprintf("d.integer(%s, &%s)", args, m.rangeRule(structure, e))
	case "boolean":
		return fmt.Sprintf("d.boolean(%s)", args)
	case "timestamp":
		return fmt.Sprintf("d.timestamp(%s)", args)
	case "map":
		return fmt.Sprintf("d.stringMap(%s)", args)
	case "structure":
		return fmt.Sprintf("decodeStruct[%s](d, %s)", e.Shape, args)
	}
	if m.Shapes[shape.Member].Type == "structure" {
		return fmt.Sprintf("decodeStructs[%s](d, %s, &%s)", shape.Member, args, ruleName(e.Shape))
	}
	return fmt.Sprintf("decodeTexts[%s](d, %s, &%s, &%s)", m.goType(shape.Member), args,
		ruleName(e.Shape), ruleName(shape.Member))
}
