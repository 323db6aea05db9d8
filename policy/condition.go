package policy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// quantifier is how an operator takes several values of a request.
type quantifier int

const (
	plain  quantifier = iota
	forAll            // ForAllValues
	forAny            // ForAnyValue
)

// condition is one operator on one key. A statement applies if all its conditions are met.
type condition struct {
	operator   operator
	quantifier quantifier
	ifExists   bool
	key        *Key
	operands   []operand
	name       string // the operator as the policy spells it
}

// parseConditions reads a Condition element, in the order of operators and keys, so that the same
// text always gives the same document.
func parseConditions(block map[string]map[string]json.RawMessage, variables bool) ([]condition, error) {
	var conditions []condition
	for _, name := range slices.Sorted(maps.Keys(block)) {
		base, err := parseOperator(name)
		if err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(block[name])) {
			if key == "" {
				return nil, malformed("a condition has no key")
			}
			c := base
			c.key = newKey(key)
			values, err := oneOrMany[scalar](block[name][key])
			if err != nil {
				return nil, malformed("a condition has a value that is no string, number or boolean")
			}
			for _, value := range values {
				o, err := c.operator.compile(value, variables)
				if err != nil {
					return nil, err
				}
				c.operands = append(c.operands, o)
			}
			conditions = append(conditions, c)
		}
	}
	return conditions, nil
}

// parseOperator reads a name such as ForAnyValue:StringLikeIfExists. IfExists has no meaning with
// Null.
func parseOperator(name string) (condition, error) {
	c := condition{name: name}
	rest := strings.ToLower(name)
	if after, found := strings.CutPrefix(rest, "forallvalues:"); found {
		c.quantifier, rest = forAll, after
	} else if after, found := strings.CutPrefix(rest, "foranyvalue:"); found {
		c.quantifier, rest = forAny, after
	}
	if before, found := strings.CutSuffix(rest, "ifexists"); found && before != null {
		c.ifExists, rest = true, before
	}
	var known bool
	if c.operator, known = operators[rest]; !known {
		return c, malformed("unknown condition operator")
	}
	return c, nil
}

// met reports whether a request meets the condition. An absent key meets a negated operator,
// ForAllValues and what ends in IfExists, and nothing else (IAM User Guide, "Condition operators"
// and "Set operators for multivalued context keys").
func (c *condition) met(r *Request, from Kind) bool {
	if r.spent.exhausted() {
		return false
	}
	values := r.lookup(c.key, from)
	if c.operator.match == nil { // Null: true wants the key to be absent
		for i := range c.operands {
			if c.operands[i].flag != values.present {
				return true
			}
		}
		return false
	}
	if !values.present {
		return c.ifExists || c.quantifier == forAll || c.quantifier == plain && c.operator.negated
	}
	// One value is enough for ForAnyValue, and for a positive operator without a quantifier.
	enough := c.quantifier == forAny || c.quantifier == plain && !c.operator.negated
	for i := range values.len() {
		if r.spent.exhausted() {
			return false
		}
		if c.meets(r, from, values.at(i)) == enough {
			return enough
		}
	}
	return !enough
}

// meets reports whether one value of a request meets the condition: it matches a value of the
// policy, or with a negated operator none of them.
func (c *condition) meets(r *Request, from Kind, text string) bool {
	v := &r.value
	v.text = text
	if c.operator.read != nil {
		if r.spent.add(reading + len(text)); !c.operator.read(text, v) {
			return c.operator.negated
		}
	}
	for i := range c.operands {
		r.spent.add(comparing)
		if r.spent.exhausted() {
			return false
		}
		if c.operator.match(&c.operands[i], r, from, v) {
			return !c.operator.negated
		}
	}
	return c.operator.negated
}
