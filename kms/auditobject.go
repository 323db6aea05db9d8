package kms

import (
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

// auditObject writes a JSON object. The names it is given need no escaping.
type auditObject struct {
	b     []byte
	begun bool
}

// name begins a member.
func (o *auditObject) name(name string) {
	separator := byte(',')
	if !o.begun {
		separator, o.begun = '{', true
	}
	o.b = append(o.b, separator, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *auditObject) end() []byte {
	if !o.begun {
		return append(o.b, "null"...)
	}
	return append(o.b, '}')
}

func (o *auditObject) text(name, value string) {
	if value != "" {
		o.name(name)
		o.b = AppendJSON(o.b, value)
	}
}

// textOr is text for a member whose absence means a value.
func (o *auditObject) textOr(name, value, absent string) {
	if value == "" {
		value = absent
	}
	o.text(name, value)
}

func (o *auditObject) number(name string, value int) {
	if value != 0 {
		o.name(name)
		o.b = strconv.AppendInt(o.b, int64(value), 10)
	}
}

func (o *auditObject) flag(name string, value bool) {
	if value {
		o.name(name)
		o.b = append(o.b, "true"...)
	}
}

func (o *auditObject) time(name string, value Timestamp) {
	if !value.IsZero() {
		o.name(name)
		o.b = append(o.b, '"')
		o.b = value.UTC().AppendFormat(o.b, time.RFC3339)
		o.b = append(o.b, '"')
	}
}

// pairs writes a map in the order of its keys.
func (o *auditObject) pairs(name string, value map[string]string) {
	if len(value) == 0 {
		return
	}
	o.name(name)
	var few [8]string
	keys := few[:0]
	for key := range value {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for i, key := range keys {
		o.b = append(o.b, ",{"[btoi(i == 0)])
		o.b = AppendJSON(o.b, key)
		o.b = append(o.b, ':')
		o.b = AppendJSON(o.b, value[key])
	}
	o.b = append(o.b, '}')
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// value writes a structure.
func (o *auditObject) value(name string, value Audited) {
	o.name(name)
	o.b = value.AppendAudit(o.b)
}

func auditTexts[T ~string](o *auditObject, name string, values []T) {
	if len(values) == 0 {
		return
	}
	o.name(name)
	for i, value := range values {
		o.b = append(o.b, ",["[btoi(i == 0)])
		o.b = AppendJSON(o.b, string(value))
	}
	o.b = append(o.b, ']')
}

// auditValues writes a list of structures.
func auditValues[T any, P interface {
	*T
	Audited
}](o *auditObject, name string, values []T) {
	if len(values) == 0 {
		return
	}
	o.name(name)
	for i := range values {
		o.b = append(o.b, ",["[btoi(i == 0)])
		o.b = P(&values[i]).AppendAudit(o.b)
	}
	o.b = append(o.b, ']')
}
