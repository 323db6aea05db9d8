package ops

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kms11/kms11/kms"
)

// jsonMembers are the members of a JSON object of an audit event, in their order. One without a value is
// left out. A value is a string, an int, a bool, a time, a list of strings, tags, a policy, or members
// again; texts are cut to shownText bytes.
type jsonMembers []jsonMember

type jsonMember struct {
	name  string
	value any
}

// shownText bounds a text of a request that an event shows, as it does elsewhere in an event.
const shownText = 1 << 10

// tagMap are tags, which CloudTrail shows as a list.
type tagMap map[string]string

// shownPolicy is the text of a policy, which CloudTrail shows as a string. It is not cut.
type shownPolicy json.RawMessage

// AppendAudit implements audit.Appender.
func (m jsonMembers) AppendAudit(b []byte) []byte {
	if m == nil {
		return append(b, "null"...)
	}
	b = append(b, '{')
	empty := true
	for _, jsonMember := range m {
		start := len(b)
		if !empty {
			b = append(b, ',')
		}
		b = kms.AppendJSON(b, jsonMember.name)
		b = append(b, ':')
		var there bool
		if b, there = appendMember(b, jsonMember.value); there {
			empty = false
		} else {
			b = b[:start]
		}
	}
	return append(b, '}')
}

// appendMember appends a value, if there is one.
func appendMember(b []byte, value any) (_ []byte, there bool) {
	switch v := value.(type) {
	case string:
		return kms.AppendJSON(b, v[:min(len(v), shownText)]), v != ""
	case int:
		return strconv.AppendInt(b, int64(v), 10), v != 0
	case bool:
		return strconv.AppendBool(b, v), v
	case time.Time:
		return kms.AppendJSON(b, v.UTC().Format(time.RFC3339)), !v.IsZero()
	case shownPolicy:
		return kms.AppendJSON(b, string(v)), len(v) > 0
	case jsonMembers:
		return v.AppendAudit(b), v != nil
	case []string:
		b = append(b, '[')
		for i, text := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = kms.AppendJSON(b, text[:min(len(text), shownText)])
		}
		return append(b, ']'), len(v) > 0
	case []jsonMembers:
		b = append(b, '[')
		for i, object := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = object.AppendAudit(b)
		}
		return append(b, ']'), len(v) > 0
	case tagMap:
		var list []jsonMembers
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = append(list, jsonMembers{{"key", key}, {"value", v[key]}})
		}
		return appendMember(b, list)
	}
	return b, false
}
