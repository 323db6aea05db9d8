package kms

import (
	"encoding/base64"
	"slices"
	"strconv"
	"time"
)

// Audited is a request or a response that the audit trail may tell of. AppendAudit appends one
// JSON value: an object of the members that overrides.json lists as audited, by their names with a
// small first letter, absent ones left out; null if there are none. Every other member, above all
// every new one, stays out of the trail.
type Audited interface {
	AppendAudit(b []byte) []byte
}

// Response is the output of an operation.
type Response interface {
	Audited
	// AppendJSON appends the body of the answer: a JSON object. It allocates only to make room in b.
	AppendJSON(b []byte) []byte
}

// object writes a JSON object. The names it is given need no escaping. A member without a value is left
// out, unless keep comes before it.
type object struct {
	b     []byte
	begun bool
	kept  bool
}

// keep has the next member written even if it has no value.
func (o *object) keep() *object {
	o.kept = true
	return o
}

// member begins a member, if it is to be written.
func (o *object) member(name string, empty bool) bool {
	if empty && !o.kept {
		return false
	}
	o.kept = false
	separator := byte(',')
	if !o.begun {
		separator, o.begun = '{', true
	}
	o.b = append(o.b, separator, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
	return true
}

// end ends the object.
func (o *object) end() []byte { return o.endOr("{}") }

// endOrNull is end for an object that is null if it has no members.
func (o *object) endOrNull() []byte { return o.endOr("null") }

func (o *object) endOr(empty string) []byte {
	if !o.begun {
		return append(o.b, empty...)
	}
	return append(o.b, '}')
}

func (o *object) text(name, value string) {
	if o.member(name, value == "") {
		o.b = AppendJSON(o.b, value)
	}
}

// textOr is text for a member whose absence means a value.
func (o *object) textOr(name, value, absent string) {
	if value == "" {
		value = absent
	}
	o.text(name, value)
}

// blob writes bytes as base64.
func (o *object) blob(name string, value []byte) {
	if o.member(name, len(value) == 0) {
		o.b = append(o.b, '"')
		o.b = base64.StdEncoding.AppendEncode(o.b, value)
		o.b = append(o.b, '"')
	}
}

func (o *object) number(name string, value int) {
	if o.member(name, value == 0) {
		o.b = strconv.AppendInt(o.b, int64(value), 10)
	}
}

func (o *object) flag(name string, value bool) {
	if o.member(name, !value) {
		o.b = strconv.AppendBool(o.b, value)
	}
}

// time writes a time as the audit trail has it.
func (o *object) time(name string, value Timestamp) {
	if o.member(name, value.IsZero()) {
		o.b = append(o.b, '"')
		o.b = value.UTC().AppendFormat(o.b, time.RFC3339)
		o.b = append(o.b, '"')
	}
}

// seconds writes a time as the API has it.
func (o *object) seconds(name string, value Timestamp) {
	if o.member(name, value.IsZero()) {
		o.b = value.append(o.b)
	}
}

// pairs writes a map in the order of its keys.
func (o *object) pairs(name string, value map[string]string) {
	if !o.member(name, len(value) == 0) {
		return
	}
	var few [8]string
	keys := few[:0]
	for key := range value {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	o.b = append(o.b, '{')
	for i, key := range keys {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = AppendJSON(o.b, key)
		o.b = append(o.b, ':')
		o.b = AppendJSON(o.b, value[key])
	}
	o.b = append(o.b, '}')
}

// An appender is how a value writes itself: of a structure, a method expression.
type appender[T any] func(value *T, b []byte) []byte

// nested writes a structure.
func nested[T any](o *object, name string, value *T, write appender[T]) {
	if o.member(name, value == nil) {
		o.b = write(value, o.b)
	}
}

// texts writes a list of strings.
func texts[T ~string](o *object, name string, values []T) {
	nestedList(o, name, values, func(value *T, b []byte) []byte { return AppendJSON(b, string(*value)) })
}

// nestedList writes a list.
func nestedList[T any](o *object, name string, values []T, write appender[T]) {
	if !o.member(name, len(values) == 0) {
		return
	}
	o.b = append(o.b, '[')
	for i := range values {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = write(&values[i], o.b)
	}
	o.b = append(o.b, ']')
}
