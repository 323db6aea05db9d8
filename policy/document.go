// Package policy decides who may do what: it reads policy documents in the AWS policy language
// and evaluates them. It is pure: no I/O, no clock, no state.
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("malformed policy document")

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// A Document is a compiled policy: immutable, safe for concurrent use.
type Document struct {
	// Name is for messages only. Who parsed the document may set it before anyone else has it.
	Name string

	statements []statement
}

type statement struct {
	sid        string
	deny       bool
	principals principals
	actions    texts
	resources  texts
	conditions []condition
}

// withVariables is the version of the policy language in which ${…} is a variable. In the older one
// it is plain text.
const withVariables = "2012-10-17"

// Parse compiles a policy document: version 2012-10-17, or 2008-10-17, which is also meant where
// none is given. Unknown elements and operators, wrong types and values that their operator cannot
// compare with are refused, as AWS refuses them (IAM User Guide, "IAM JSON policy element
// reference"). Elements are case-sensitive; actions, condition keys and operators are not.
func Parse(text []byte) (*Document, error) {
	var top struct {
		Version   string          `json:"Version"`
		ID        *string         `json:"Id"`
		Statement json.RawMessage `json:"Statement"`
	}
	if err := checkNames(text); err != nil {
		return nil, err
	}
	if err := strict(text, &top); err != nil {
		return nil, err
	}
	if top.Version != "" && top.Version != withVariables && top.Version != "2008-10-17" {
		return nil, malformed("unknown version")
	}
	elements, err := oneOrMany[json.RawMessage](top.Statement)
	if err != nil || len(elements) == 0 {
		return nil, malformed("a policy has at least one statement")
	}
	d := &Document{}
	for _, element := range elements {
		s, err := parseStatement(element, top.Version == withVariables)
		if err != nil {
			return nil, err
		}
		d.statements = append(d.statements, s)
	}
	return d, nil
}

// Statements is the number of statements.
func (d *Document) Statements() int { return len(d.statements) }

// Memory is about how many bytes the document takes.
func (d *Document) Memory() int {
	size := 0
	for i := range d.statements {
		s := &d.statements[i]
		size += sizeOf[statement]() + len(s.sid) + s.actions.memory() + s.resources.memory()
		for _, name := range s.principals.names {
			size += sizeOf[string]() + len(name)
		}
		for j := range s.conditions {
			c := &s.conditions[j]
			size += sizeOf[condition]() + sizeOf[Key]() + 3*len(c.key.Text)
			for k := range c.operands {
				size += sizeOf[operand]() + c.operands[k].text.memory() + len(c.operands[k].binary)
			}
		}
	}
	return size
}

func (t *texts) memory() (size int) {
	for i := range t.list {
		size += sizeOf[text]() + t.list[i].memory()
	}
	return size
}

// memory is what a text takes beside its own structure. No allocation has less than 8 bytes.
func (t *text) memory() int {
	size := max(len(t.pattern), 8)
	for i := range t.parts {
		p := &t.parts[i]
		size += sizeOf[part]() + len(p.pattern) + len(p.fallback)
		if p.variable != nil {
			size += sizeOf[Key]() + 3*len(p.variable.Text)
		}
	}
	return size
}

func sizeOf[T any]() int { return int(reflect.TypeFor[T]().Size()) }

// Sid gives the Sid of a statement; empty if it has none.
func (d *Document) Sid(statement int) string { return d.statements[statement].sid }

func parseStatement(text json.RawMessage, variables bool) (statement, error) {
	var raw struct {
		Sid          string
		Effect       string
		Principal    json.RawMessage
		NotPrincipal json.RawMessage
		Action       json.RawMessage
		NotAction    json.RawMessage
		Resource     json.RawMessage
		NotResource  json.RawMessage
		Condition    map[string]map[string]json.RawMessage
	}
	var s statement
	if err := strict(text, &raw); err != nil {
		return s, err
	}
	switch raw.Effect {
	case "Allow":
	case "Deny":
		s.deny = true
	default:
		return s, malformed("Effect is Allow or Deny")
	}
	s.sid = raw.Sid
	var err error
	if s.principals, err = parsePrincipals(raw.Principal, raw.NotPrincipal); err != nil {
		return s, err
	}
	if s.actions, err = parseTexts("Action", raw.Action, raw.NotAction, textForm{wildcards: true}, strings.ToLower); err != nil {
		return s, err
	}
	s.actions.fold = true // action names are not case-sensitive
	resource := textForm{wildcards: true, variables: variables}
	if s.resources, err = parseTexts("Resource", raw.Resource, raw.NotResource, resource, strings.Clone); err != nil {
		return s, err
	}
	s.conditions, err = parseConditions(raw.Condition, variables)
	return s, err
}

func parseTexts(name string, plain, negated json.RawMessage, form textForm, change func(string) string) (texts, error) {
	if plain != nil && negated != nil {
		return texts{}, malformed("both " + name + " and Not" + name)
	}
	t := texts{negated: negated != nil}
	raw := plain
	if t.negated {
		raw = negated
	}
	list, err := oneOrMany[string](raw)
	if err != nil {
		return t, malformed(name + " holds strings")
	}
	for _, s := range list {
		compiled, err := compileText(change(s), form)
		if err != nil {
			return t, err
		}
		t.list = append(t.list, compiled)
	}
	return t, nil
}

// oneOrMany reads a value or a list of values; nothing at all gives an empty list.
func oneOrMany[T any](text json.RawMessage) ([]T, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, nil
	}
	if text[0] == '[' {
		var many []T
		err := json.Unmarshal(text, &many)
		return many, err
	}
	var one T
	err := json.Unmarshal(text, &one)
	return []T{one}, err
}

// strict decodes one JSON value, refusing unknown members and anything after it. The cause is
// not repeated: it could quote the document.
func strict(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return malformed("syntax error or unknown element")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return malformed("text after the document")
	}
	return nil
}
