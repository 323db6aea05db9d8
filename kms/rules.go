package kms

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// textRule constrains a string. Lengths count UTF-16 code units, as Java's String does.
type textRule struct {
	min, max  int            // max 0 means no limit
	pattern   string         // as the model has it and messages print it
	compiled  *regexp.Regexp // the same in RE2 syntax, matching the whole value; nil without pattern
	values    []string       // an enum's values in the model's order
	sensitive bool
}

func (r *textRule) check(d *decoder, s, name string) {
	if r.accepts(s) {
		return
	}
	shown := " '" + s + "' "
	if r.sensitive {
		shown = " "
	}
	n := utf16Length(s)
	if r.values != nil && !slices.Contains(r.values, s) {
		d.violate(shown, name, r.enumConstraint())
	}
	if r.compiled != nil && !r.compiled.MatchString(s) {
		d.violate(shown, name, r.patternConstraint())
	}
	checkLength(d, n, r.min, r.max, shown, name)
}

// accepts is check without a message: the fast path.
func (r *textRule) accepts(s string) bool {
	if r.values != nil {
		return slices.Contains(r.values, s)
	}
	n := utf16Length(s)
	return n >= r.min && (r.max == 0 || n <= r.max) && (r.compiled == nil || r.compiled.MatchString(s))
}

// constraints lists the rule for a message about the elements of a list.
func (r *textRule) constraints() string {
	var all []string
	if r.values != nil {
		all = append(all, r.enumConstraint())
	}
	if r.max != 0 {
		all = append(all, atMost(r.max), atLeast(r.min))
	}
	if r.compiled != nil {
		all = append(all, r.patternConstraint())
	}
	return strings.Join(all, ", ")
}

func (r *textRule) enumConstraint() string {
	return "Member must satisfy enum value set: [" + strings.Join(r.values, ", ") + "]"
}

func (r *textRule) patternConstraint() string {
	return "Member must satisfy regular expression pattern: " + r.pattern
}

// blobRule constrains the decoded bytes of a blob. Messages never show them.
type blobRule struct{ min, max int }

func (r *blobRule) check(d *decoder, n int, name string) {
	checkLength(d, n, r.min, r.max, " ", name)
}

// listRule constrains the number of elements.
type listRule struct{ min, max int }

// check takes the list as Java prints it, or "" for a list of structures, which is not shown.
func (r *listRule) check(d *decoder, n int, printed, name string) {
	shown := " "
	if printed != "" {
		shown = " '" + printed + "' "
	}
	checkLength(d, n, r.min, r.max, shown, name)
}

func checkLength(d *decoder, n, least, most int, shown, name string) {
	if n < least {
		d.violate(shown, name, atLeast(least))
	}
	if most != 0 && n > most {
		d.violate(shown, name, atMost(most))
	}
}

func atLeast(n int) string {
	return "Member must have length greater than or equal to " + strconv.Itoa(n)
}

func atMost(n int) string {
	return "Member must have length less than or equal to " + strconv.Itoa(n)
}

// rangeRule constrains an integer.
type rangeRule struct{ min, max int }

func (r *rangeRule) check(d *decoder, n int, name string) {
	shown := " '" + strconv.Itoa(n) + "' "
	if n < r.min {
		d.violate(shown, name, "Member must have value greater than or equal to "+strconv.Itoa(r.min))
	}
	if n > r.max {
		d.violate(shown, name, "Member must have value less than or equal to "+strconv.Itoa(r.max))
	}
}

// utf16Length is the length of s in Java.
func utf16Length(s string) int {
	n := 0
	for _, c := range s {
		n += utf16.RuneLen(c)
	}
	return n
}
