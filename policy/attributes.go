package policy

import "strings"

// Key names a condition key or a policy variable.
type Key struct {
	// Text is the key as the policy spells it.
	Text string
	// Name is the key in lower case, up to the part that its author chose: "kms:encryptioncontext"
	// of kms:EncryptionContext:AppName, "aws:principaltag" of aws:PrincipalTag/team.
	Name string
	// Part is the rest, as it is spelled: "AppName", "team". Empty if there is none.
	Part string

	folded string
}

// NewKey reads the name of a condition key.
func NewKey(text string) *Key { return newKey(text) }

func newKey(text string) *Key {
	k := &Key{Text: text, folded: strings.ToLower(text)}
	k.Name = k.folded
	service := strings.IndexByte(text, ':') + 1
	if i := strings.IndexAny(text[service:], ":/"); service > 0 && i >= 0 {
		k.Name, k.Part = strings.ToLower(text[:service+i]), text[service+i+1:]
	}
	return k
}

// Folded is the whole key in lower case: condition keys are not case-sensitive.
func (k *Key) Folded() string { return k.folded }

// Values are what a request has for a condition key: nothing, one value, or any number of them. The
// zero value is nothing.
type Values struct {
	one     string
	many    []string
	present bool
	passed  int
}

// One is the value of a single-valued key.
func One(value string) Values { return Values{one: value, present: true} }

// OneOf is One, or nothing if the value is empty.
func OneOf(value string) Values { return Values{one: value, present: value != ""} }

// Many are the values of a key that AWS calls multivalued. None of them is the same as an absent
// key. The list is not kept beyond the decision.
func Many(values []string) Values { return Values{many: values, present: len(values) > 0} }

// After notes how many others were passed by to find the values, where that may be many: it is work too.
func (v Values) After(others int) Values {
	v.passed = comparing * others
	return v
}

// Present reports whether there is a value.
func (v Values) Present() bool { return v.present }

// All gives the values, for messages.
func (v Values) All() []string {
	if v.present && v.many == nil {
		return []string{v.one}
	}
	return v.many
}

func (v *Values) len() int {
	switch {
	case !v.present:
		return 0
	case v.many != nil:
		return len(v.many)
	}
	return 1
}

func (v *Values) at(i int) string {
	if v.many != nil {
		return v.many[i]
	}
	return v.one
}

// single gives the value of a key that has one.
func (v Values) single() (string, bool) {
	if v.len() != 1 {
		return "", false
	}
	return v.at(0), true
}

// Attributes are what a request says of itself: the values of condition keys. They are asked only
// for keys that a condition or a variable of a statement in question names, perhaps more than once
// for the same key, and must give the same answer each time.
type Attributes interface {
	// Lookup gives the values of a key. The kind is that of the policy that asks: a few keys are
	// known to identity policies only.
	Lookup(key *Key, from Kind) Values
}

// Fixed are attributes that are known beforehand: values by the name of the key in lower case.
type Fixed map[string][]string

// Lookup implements Attributes.
func (f Fixed) Lookup(key *Key, _ Kind) Values {
	switch values := f[key.folded]; len(values) {
	case 0:
		return Values{}
	case 1:
		return One(values[0])
	default:
		return Many(values)
	}
}
