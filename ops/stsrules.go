package ops

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A stsMember is one member of a request to STS with the constraints of the API model (STS API
// reference).
type stsMember struct {
	name     string
	value    string
	set      bool
	required bool
	min, max int // characters
	pattern  *regexp.Regexp
	hidden   bool // a secret, or too long to repeat
}

// The patterns of the API model, with their texts as AWS repeats them. Nothing writes to them.
var (
	anyText      = regexp.MustCompile("^[\t\n\r -~\u0085\u00A0-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]*$")
	roleSession  = regexp.MustCompile(`^[\w+=,.@-]*$`)
	externalID   = regexp.MustCompile(`^[\w+=,.@:\/-]*$`)
	tagCharacter = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

// patternText is how AWS writes a pattern.
func patternText(p *regexp.Regexp) string {
	switch p {
	case anyText:
		return `[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+`
	case tagCharacter:
		return `[\p{L}\p{Z}\p{N}_.:/=+\-@]+`
	}
	return strings.Trim(p.String(), "^$")
}

// faults lists what is wrong with the members, in AWS's words.
func faults(members ...stsMember) (list []string) {
	for _, m := range members {
		shown := "'" + m.value + "'"
		if m.hidden {
			shown = "'***'"
		}
		say := func(format string, args ...any) {
			list = append(list, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: "+format, append([]any{shown, m.name}, args...)...))
		}
		if !m.set {
			if m.required {
				shown = "null"
				say("Member must not be null")
			}
			continue
		}
		n := utf8.RuneCountInString(m.value)
		if n > m.max {
			if n > 128 {
				shown = "'" + "..." + "'"
			}
			say("Member must have length less than or equal to %d", m.max)
		}
		if n < m.min {
			say("Member must have length greater than or equal to %d", m.min)
		}
		if m.pattern != nil && !m.pattern.MatchString(m.value) {
			say("Member must satisfy regular expression pattern: %s", patternText(m.pattern))
		}
	}
	return list
}

// durationFaults are those of DurationSeconds; 0 stands for none.
func durationFaults(seconds int) []string {
	const text = "Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value %s than or equal to %d"
	switch {
	case seconds != 0 && seconds < minSessionSeconds:
		return []string{fmt.Sprintf(text, seconds, "greater", minSessionSeconds)}
	case seconds > maxSessionSeconds:
		return []string{fmt.Sprintf(text, seconds, "less", maxSessionSeconds)}
	}
	return nil
}

// invalid makes one error of all faults, nil of none.
func invalid(list []string) error {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return identityErrorf(ValidationError, "1 validation error detected: %s", list[0])
	}
	return identityErrorf(ValidationError, "%d validation errors detected: %s", len(list), strings.Join(list, "; "))
}

// tagFaults are those of session tags.
func tagFaults(tags []SessionTag, transitive []string) (list []string) {
	if len(tags) > maxEntityTags {
		list = append(list, fmt.Sprintf("Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to %d", maxEntityTags))
		return list
	}
	if len(transitive) > maxEntityTags {
		list = append(list, fmt.Sprintf("Value at 'transitiveTagKeys' failed to satisfy constraint: Member must have length less than or equal to %d", maxEntityTags))
		return list
	}
	for i, tag := range tags {
		at := "tags." + strconv.Itoa(i+1) + ".member."
		list = append(list, faults(
			stsMember{name: at + "key", value: tag.Key, set: true, min: 1, max: 128, pattern: tagCharacter},
			stsMember{name: at + "value", value: tag.Value, set: true, max: 256, pattern: tagCharacter},
		)...)
	}
	return list
}
