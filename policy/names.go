package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// elements are the names that a policy or a statement can have. Nothing writes to it.
var elements = []string{"Version", "Id", "Statement", "Sid", "Effect", "Principal", "NotPrincipal",
	"Action", "NotAction", "Resource", "NotResource", "Condition"}

// checkNames refuses what encoding/json lets pass: a member that is given twice or, for an element of
// the policy language, is spelled in another case, and null. Whoever reads such a policy may
// understand another one than the one that counts.
func checkNames(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	type level struct {
		names map[string]bool // nil in an array
		value bool            // the next token of an object is a value
	}
	var levels []level
	for {
		token, err := decoder.Token()
		if err != nil {
			return nil // the end, or a mistake that decoding reports
		}
		top := len(levels) - 1
		if top >= 0 && levels[top].names != nil && !levels[top].value {
			if name, ok := token.(string); ok {
				if levels[top].names[name] {
					return fmt.Errorf("%w: a member is given twice", ErrMalformed)
				}
				if top <= 2 && slices.ContainsFunc(elements, func(e string) bool { return e != name && strings.EqualFold(e, name) }) {
					return fmt.Errorf("%w: an element's name is in the wrong case", ErrMalformed)
				}
				levels[top].names[name], levels[top].value = true, true
				continue
			}
		}
		switch token {
		case nil:
			return fmt.Errorf("%w: null", ErrMalformed)
		case json.Delim('{'), json.Delim('['):
			if top >= 0 {
				levels[top].value = false
			}
			next := level{}
			if token == json.Delim('{') {
				next.names = make(map[string]bool)
			}
			levels = append(levels, next)
			continue
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
			continue
		}
		if top >= 0 {
			levels[top].value = false
		}
	}
}
