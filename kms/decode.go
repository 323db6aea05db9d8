package kms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A value is the JSON text of one member, without white space around it. nil means absent or null.
type value []byte

// decoder decodes and validates one request. It first splits a structure into the JSON texts of
// its members, then generated code turns them into Go values in the model's order. Splitting the
// body judges the syntax of all of it before any member is looked at, so what is wrong with that
// outranks the rest. It is not safe for concurrent use.
type decoder struct {
	err        error  // bad syntax or the first value of a wrong JSON type; it outranks the violations
	prefix     string // the path of the structure being decoded, such as "tags.1.member."
	violations []string
}

// structure is a pointer to a generated structure type.
type structure interface {
	decode(d *decoder, raw value)
}

// maxViolations is how many violations AWS lists in one message.
const maxViolations = 10

func decodeRequest(body []byte, into structure) error {
	if len(body) == 0 {
		body = []byte("{}")
	}
	// Jackson, which AWS uses, refuses invalid UTF-8, while encoding/json would replace it and so
	// make different encryption contexts equal.
	if !utf8.Valid(body) {
		return SerializationException.Err()
	}
	body = body[JSONSpaceEnd(body, 0):]
	if byteAt(body, 0) != '{' && !json.Valid(body) { // an object is judged where it is split
		return SerializationException.Err()
	}
	var d decoder
	into.decode(&d, body)
	if d.err != nil {
		return d.err
	}
	if n := len(d.violations); n > 0 {
		plural := "s"
		if n == 1 {
			plural = ""
		}
		return Errorf(ValidationException, "%d validation error%s detected: %s", n, plural,
			strings.Join(d.violations, "; "))
	}
	return nil
}

// violate records that the value at a member breaks a constraint. shown is the text between
// "Value" and "at", with its spaces.
func (d *decoder) violate(shown, name, constraint string) {
	if len(d.violations) < maxViolations {
		d.violations = append(d.violations, "Value"+shown+"at '"+d.prefix+name+
			"' failed to satisfy constraint: "+constraint)
	}
}

// require records the absence of a member.
func (d *decoder) require(raw value, name string) {
	if raw == nil {
		d.violate(" null ", name, "Member must not be null")
	}
}

// serialization records a value of the wrong JSON type. The text never holds the value.
func (d *decoder) serialization(format string, args ...any) {
	if d.err == nil {
		d.err = Errorf(SerializationException, format, args...)
	}
}

// wrongKind records a list or structure where a scalar belongs, or a scalar of the wrong type.
func (d *decoder) wrongKind(raw value, want string) {
	switch raw[0] {
	case '{':
		d.serialization("Start of structure or map found where not expected.")
	case '[':
		d.serialization("Start of list found where not expected")
	default:
		d.serialization("%s can not be converted to %s", tokenName(raw), want)
	}
}

// tokenName is what AWS's JSON reader calls a scalar.
func tokenName(raw value) string {
	switch {
	case raw[0] == '"':
		return "STRING_VALUE"
	case raw[0] == 't':
		return "TRUE_VALUE"
	case raw[0] == 'f':
		return "FALSE_VALUE"
	case strings.ContainsAny(string(raw), ".eE"):
		return "DECIMAL_VALUE"
	default:
		return "NUMBER_VALUE"
	}
}

// wantObject says whether raw is an object and records the error if not. text is AWS's word for a
// scalar that stands in its place.
func (d *decoder) wantObject(raw value, text string) bool {
	switch raw[0] {
	case '{':
		return true
	case '[':
		d.serialization("Start of list found where not expected")
	default:
		d.serialization("%s", text)
	}
	return false
}

// members splits an object: out[i] becomes the text of member names[i]. Other members are ignored.
func (d *decoder) members(raw value, names []string, out []value) {
	if raw == nil || !d.wantObject(raw, "Expected null") {
		return
	}
	d.split(raw, func(name, val value) {
		if i := d.find(name, names); i >= 0 {
			out[i] = val
		}
	})
}

// split is eachElement for what may be no JSON, which only the body may.
func (d *decoder) split(raw value, visit func(name, val value)) {
	if !eachElement(raw, visit) && d.err == nil {
		d.err = SerializationException.Err()
	}
}

// find gives the index of a member by its quoted JSON name, or -1.
func (d *decoder) find(quoted value, names []string) int {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') >= 0 {
		unquoted, ok := unquote(quoted)
		if !ok {
			return -1 // a name that is not text is no member's name
		}
		inner = value(unquoted)
	}
	for i, name := range names {
		if string(inner) == name {
			return i
		}
	}
	return -1
}

// decodeStruct decodes an optional structure.
func decodeStruct[T any, P interface {
	*T
	structure
}](d *decoder, raw value, name string) *T {
	if raw == nil {
		return nil
	}
	outer := d.prefix
	d.prefix += name + "."
	defer func() { d.prefix = outer }()
	t := new(T)
	P(t).decode(d, raw)
	return t
}

// decodeStructs decodes a list of structures.
func decodeStructs[T any, P interface {
	*T
	structure
}](d *decoder, raw value, name string, rule *listRule) []T {
	elements, ok := d.list(raw)
	if !ok {
		return nil
	}
	list := make([]T, len(elements))
	outer := d.prefix
	for i, element := range elements {
		path := fmt.Sprintf("%s.%d.member", name, i+1)
		d.require(element, path)
		d.prefix = outer + path + "."
		if element != nil {
			P(&list[i]).decode(d, element)
		}
		d.prefix = outer
	}
	rule.check(d, len(list), "", name)
	return list
}

// decodeTexts decodes a list of strings or enum values.
func decodeTexts[T ~string](d *decoder, raw value, name string, rule *listRule, item *textRule) []T {
	elements, ok := d.list(raw)
	if !ok {
		return nil
	}
	list := make([]T, len(elements))
	shown := make([]string, len(elements))
	valid := true
	for i, element := range elements {
		if element == nil {
			d.require(nil, fmt.Sprintf("%s.%d.member", name, i+1))
			shown[i] = "null"
			continue
		}
		shown[i] = d.rawText(element)
		list[i] = T(shown[i])
		valid = valid && item.accepts(shown[i])
	}
	if d.err != nil {
		return nil
	}
	printed := "[" + strings.Join(shown, ", ") + "]"
	if !valid {
		d.violate(" '"+printed+"' ", name, "Member must satisfy constraint: ["+item.constraints()+"]")
	}
	rule.check(d, len(list), printed, name)
	return list
}

// list splits an array. ok is false for an absent member and for one that is not an array.
func (d *decoder) list(raw value) (elements []value, ok bool) {
	switch {
	case raw == nil:
		return nil, false
	case raw[0] == '[':
		d.split(raw, func(_, element value) { elements = append(elements, element) })
		return elements, true
	case raw[0] == '{':
		d.serialization("Start of structure or map found where not expected.")
	default:
		d.serialization("Expected list or null")
	}
	return nil, false
}
