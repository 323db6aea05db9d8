// Package policy decides who may do what: it reads policy documents in the AWS policy language
// and evaluates them. It is pure: no I/O, no clock, no state.
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("malformed policy document")

// A Document is a compiled policy: immutable, safe for concurrent use.
type Document struct {
	statements []statement
}

type statement struct {
	deny         bool
	principals   principals
	actions      patterns
	resources    patterns
	hasCondition bool
}

// patterns match a name if any of them does; negated, if none of them does. Absent patterns
// (no Action, no Resource) match nothing: AWS accepts such a statement and gives it no effect.
type patterns struct {
	negated bool
	folded  bool // the list is in lower case and names are compared so
	list    []string
}

type principals struct {
	present bool
	negated bool
	any     bool
	arns    []string // account ids are kept in their ARN form arn:…:iam::<id>:root
}

// Parse compiles a policy document. Unknown elements, wrong types and unknown effects are
// refused, as AWS refuses them (AWS page "IAM JSON policy element reference"). Condition blocks
// are read for their shape; how they bear on a decision is said at Evaluate.
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
	if top.Version != "" && top.Version != "2012-10-17" && top.Version != "2008-10-17" {
		return nil, fmt.Errorf("%w: unknown version %q", ErrMalformed, top.Version)
	}
	elements, err := oneOrMany[json.RawMessage](top.Statement)
	if err != nil || len(elements) == 0 {
		return nil, fmt.Errorf("%w: a policy has at least one statement", ErrMalformed)
	}
	d := &Document{}
	for _, element := range elements {
		s, err := parseStatement(element)
		if err != nil {
			return nil, err
		}
		d.statements = append(d.statements, s)
	}
	return d, nil
}

func parseStatement(text json.RawMessage) (statement, error) {
	var raw struct {
		Sid          *string
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
		return s, fmt.Errorf("%w: Effect is Allow or Deny", ErrMalformed)
	}
	var err error
	if s.principals, err = parsePrincipals(raw.Principal, raw.NotPrincipal); err != nil {
		return s, err
	}
	if s.actions, err = parsePatterns("Action", raw.Action, raw.NotAction); err != nil {
		return s, err
	}
	s.actions.folded = true // action names are not case-sensitive
	for i, action := range s.actions.list {
		s.actions.list[i] = strings.ToLower(action)
	}
	if s.resources, err = parsePatterns("Resource", raw.Resource, raw.NotResource); err != nil {
		return s, err
	}
	for operator, keys := range raw.Condition {
		for key, values := range keys {
			if _, err := oneOrMany[scalar](values); err != nil {
				return s, fmt.Errorf("%w: condition %s on %s has a value that is no scalar", ErrMalformed, operator, key)
			}
			s.hasCondition = true
		}
	}
	return s, nil
}

func parsePatterns(name string, plain, negated json.RawMessage) (patterns, error) {
	if plain != nil && negated != nil {
		return patterns{}, fmt.Errorf("%w: both %s and Not%s", ErrMalformed, name, name)
	}
	p := patterns{negated: negated != nil}
	text := plain
	if p.negated {
		text = negated
	}
	var err error
	if p.list, err = oneOrMany[string](text); err != nil {
		return p, fmt.Errorf("%w: %s holds strings", ErrMalformed, name)
	}
	return p, nil
}

func parsePrincipals(plain, negated json.RawMessage) (principals, error) {
	p := principals{present: plain != nil || negated != nil, negated: negated != nil}
	if plain != nil && negated != nil {
		return p, fmt.Errorf("%w: both Principal and NotPrincipal", ErrMalformed)
	}
	text := plain
	if p.negated {
		text = negated
	}
	if text == nil {
		return p, nil
	}
	if bytes.Equal(bytes.TrimSpace(text), []byte(`"*"`)) {
		p.any = true
		return p, nil
	}
	var byType map[string]json.RawMessage
	if err := strict(text, &byType); err != nil {
		return p, err
	}
	for kind, values := range byType {
		if !slices.Contains([]string{"AWS", "Service", "Federated", "CanonicalUser"}, kind) {
			return p, fmt.Errorf("%w: unknown principal type %q", ErrMalformed, kind)
		}
		list, err := oneOrMany[string](values)
		if err != nil {
			return p, fmt.Errorf("%w: a principal is a string", ErrMalformed)
		}
		for _, value := range list {
			switch {
			case kind == "AWS" && value == "*":
				p.any = true
			case kind == "AWS" && isAccountID(value):
				p.arns = append(p.arns, "arn:aws:iam::"+value+":root")
			default:
				p.arns = append(p.arns, value)
			}
		}
	}
	return p, nil
}

func isAccountID(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// A scalar is a condition value: AWS allows strings, numbers and booleans.
type scalar struct{ any }

func (s *scalar) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &s.any); err != nil {
		return err
	}
	switch s.any.(type) {
	case string, float64, bool:
		return nil
	}
	return ErrMalformed
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
		return fmt.Errorf("%w: syntax error or unknown element", ErrMalformed)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: text after the document", ErrMalformed)
	}
	return nil
}
