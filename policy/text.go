package policy

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// A text is what a policy wants a value to be: literal bytes, wildcards, and variables that the
// request fills in. It is compiled once and never changed.
type text struct {
	pattern []byte // of a text without variables
	parts   []part // of a text with variables; nil otherwise
}

// part is a run of literal bytes and wildcards, or one variable.
type part struct {
	pattern  []byte
	runs     int    // how many of its bytes stand for a run
	variable *Key   // nil: pattern counts
	fallback string // what stands for the variable where the request has no value
	standIn  bool   // there is a fallback
}

// textForm says how the text of an element is read.
type textForm struct {
	wildcards bool // * and ? are wildcards
	variables bool // ${…} is a variable
}

// compileText reads a text of a policy. A ${…} that is none of AWS's forms of a variable makes it
// malformed (IAM User Guide, "IAM policy elements: Variables and tags").
func compileText(s string, form textForm) (text, error) {
	if !form.variables || !strings.Contains(s, "${") {
		return text{pattern: compilePattern(s, form.wildcards)}, nil
	}
	var t text
	for s != "" {
		before, rest, found := strings.Cut(s, "${")
		if before != "" {
			pattern := compilePattern(before, form.wildcards)
			t.parts = append(t.parts, part{pattern: pattern, runs: bytes.Count(pattern, []byte{anyRun})})
		}
		if !found {
			break
		}
		inside, after, closed := strings.Cut(rest, "}")
		if !closed {
			return text{}, malformed("a policy variable has no end")
		}
		p, err := compileVariable(inside)
		if err != nil {
			return text{}, err
		}
		t.parts = append(t.parts, p)
		s = after
	}
	return t, nil
}

// compileVariable reads what stands between ${ and }: a condition key, perhaps with a default in
// single quotes, or one of the characters that have a meaning of their own.
func compileVariable(inside string) (part, error) {
	switch inside {
	case "*", "?", "$":
		return part{pattern: []byte(inside)}, nil
	}
	name, fallback, standIn := strings.Cut(inside, ",")
	name = strings.TrimSpace(name)
	if name == "" || strings.ContainsAny(name, "${'\"*? ") {
		return part{}, malformed("a policy variable has no name that a condition key can have")
	}
	p := part{variable: newKey(name), standIn: standIn}
	if standIn {
		fallback = strings.TrimSpace(fallback)
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return part{}, malformed("the default of a policy variable is not in single quotes")
		}
		p.fallback = fallback[1 : len(fallback)-1]
	}
	return p, nil
}

func compilePattern(s string, wildcards bool) []byte {
	pattern := []byte(s)
	if wildcards {
		for i, c := range pattern {
			switch c {
			case '*':
				pattern[i] = anyRun
			case '?':
				pattern[i] = anyOne
			}
		}
	}
	return pattern
}

// resolve gives the text's pattern for a request, in space where it has variables. It is not ok if
// a variable has no value: then nothing matches. A variable's value is literal, wildcards in it
// have no meaning, and a key with several values is no variable. The pattern is not filled in further
// than it takes to fit nothing of length bytes.
func (t *text) resolve(r *Request, from Kind, length int, space []byte) (pattern []byte, ok bool) {
	if t.parts == nil {
		return t.pattern, true
	}
	runs := 0 // all that may stand for nothing
	for i := range t.parts {
		p := &t.parts[i]
		full := len(space)-runs > length
		if p.variable == nil {
			if !full {
				space = append(space, p.pattern...)
				runs += p.runs
			}
			continue
		}
		if r.spent.exhausted() {
			return nil, false
		}
		value, found := r.lookup(p.variable, from).single()
		switch {
		case !found && !p.standIn:
			return nil, false
		case !found:
			value = p.fallback
		case !utf8.ValidString(value):
			return nil, false // it could hold what stands for a wildcard
		}
		r.spent.add(len(value) / 16)
		if !full {
			space = append(space, value...)
		}
	}
	return space, true
}

// variableSpace is how many bytes a text with variables may resolve to without an allocation.
const variableSpace = 256

// equalFold is strings.EqualFold that allocates for other than ASCII only.
func equalFold(pattern []byte, name string) bool {
	for i, c := range pattern {
		if c >= utf8.RuneSelf {
			return strings.EqualFold(string(pattern), name)
		}
		if i >= len(name) {
			return false
		}
		if name[i] >= utf8.RuneSelf {
			return strings.EqualFold(string(pattern), name)
		}
		if letter(c, true) != letter(name[i], true) {
			return false
		}
	}
	return len(pattern) == len(name)
}

// texts are the values of Action or Resource, or of their negations. They match a name if any of
// them does; negated, if none of them does. Absent ones match nothing: AWS accepts a statement
// without an Action or a Resource and gives it no effect.
type texts struct {
	negated bool
	fold    bool // the list is in lower case and names are compared so
	list    []text
}

// match reports whether the element covers a name. A negated one with a variable that has no value
// covers everything in a statement that denies and nothing in one that allows.
func (t *texts) match(r *Request, from Kind, name string, deny bool) bool {
	if t.list == nil {
		return false
	}
	var space [variableSpace]byte
	for i := range t.list {
		pattern, ok := t.list[i].resolve(r, from, len(name), space[:0])
		switch {
		case ok && matches(pattern, name, t.fold, &r.spent):
			return !t.negated
		case !ok && t.negated:
			return deny
		}
	}
	return t.negated
}
