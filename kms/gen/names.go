package main

import (
	"slices"
	"strings"
)

// camel turns a value such as RSA_2048 or ROTATIONS_ONLY into Rsa2048 or RotationsOnly, the Go
// spelling that the AWS SDKs use. Words that have lower-case letters already stay as they are.
func camel(value string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(value, "_") {
		if word == strings.ToUpper(word) {
			word = word[:1] + strings.ToLower(word[1:])
		}
		b.WriteString(word)
	}
	return b.String()
}

// lowerCamel is a member's name as validation messages print it: KeyId becomes keyId.
func lowerCamel(name string) string {
	return strings.ToLower(name[:1]) + name[1:]
}

// scalars are the Go types of the shapes that have no type of their own.
var scalars = map[string]string{
	"blob":      "[]byte",
	"boolean":   "bool",
	"integer":   "int",
	"string":    "string",
	"timestamp": "Timestamp",
	"map":       "map[string]string", // the model's only map is the encryption context
}

// goType is the Go type of a member of the given shape.
func (m *model) goType(name string) string {
	s := m.Shapes[name]
	switch {
	case len(s.Enum) > 0:
		return name
	case s.Type == "structure":
		return "*" + name
	case s.Type == "list":
		return "[]" + strings.TrimPrefix(m.goType(s.Member), "*")
	default:
		return scalars[s.Type]
	}
}

// ruleName is the variable that holds the constraints of a shape.
func ruleName(shape string) string { return "rule" + shape }

// rangeRule is the variable that holds the constraints of a member: the shape's own unless the
// overrides narrow it for this member.
func (m *model) rangeRule(structure string, e member) string {
	if _, ok := m.overrides.Ranges[structure+"."+e.Name]; ok {
		return ruleName(structure + e.Name)
	}
	return ruleName(e.Shape)
}

// fieldTag is the JSON tag of a member.
func (m *model) fieldTag(structure string, e member) string {
	option := ",omitempty"
	if m.Shapes[e.Shape].Type == "timestamp" {
		option = ",omitzero"
	}
	if m.alwaysEmitted(structure, e.Name) {
		option = ""
	}
	return e.Name + option
}

// alwaysEmitted says whether a member is written even if it is empty. Required members are: a
// tag's value, for one, may be empty but not absent.
func (m *model) alwaysEmitted(structure, name string) bool {
	return slices.Contains(m.overrides.AlwaysEmitted, structure+"."+name) ||
		slices.Contains(m.Shapes[structure].Required, name)
}
