package main

// emitEncode writes AppendJSON for every structure that an output has: straight-line code, since an
// answer's body is written for every request.
func emitEncode(s *source, m *model) {
	for _, name := range m.structures(outputOf) {
		s.line("// AppendJSON implements Response.")
		s.line("func (r *%s) AppendJSON(b []byte) []byte {\no := object{b: b}", name)
		for _, e := range m.Shapes[name].Members {
			m.emitEncodeMember(s, name, e)
		}
		s.line("return o.end()\n}\n")
		s.line("// MarshalJSON is AppendJSON for encoding/json.")
		s.line("func (r %s) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }\n", name)
	}
}

func (m *model) emitEncodeMember(s *source, structure string, e member) {
	field := "r." + e.Name
	of := m.Shapes[e.Shape]
	to, list := "o", "&o"
	if m.alwaysEmitted(structure, e.Name) {
		to, list = "o.keep()", "o.keep()"
	}
	switch {
	case len(of.Enum) > 0:
		s.line("%s.text(%q, string(%s))", to, e.Name, field)
	case of.Type == "structure":
		s.line("nested(%s, %q, %s, (*%s).AppendJSON)", list, e.Name, field, e.Shape)
	case of.Type == "list" && m.Shapes[of.Member].Type == "structure":
		s.line("nestedList(%s, %q, %s, (*%s).AppendJSON)", list, e.Name, field, of.Member)
	case of.Type == "list":
		s.line("texts(%s, %q, %s)", list, e.Name, field)
	default:
		s.line("%s.%s(%q, %s)", to, encodeScalars[of.Type], e.Name, field)
	}
}

// encodeScalars are the methods of object.
var encodeScalars = map[string]string{
	"blob":      "blob",
	"boolean":   "flag",
	"integer":   "number",
	"map":       "pairs",
	"string":    "text",
	"timestamp": "seconds",
}
