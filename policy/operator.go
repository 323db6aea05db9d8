package policy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// operator is a condition operator: how its values are read and when one of them matches a value
// of the request (IAM User Guide, "IAM JSON policy elements: Condition operators").
type operator struct {
	name string
	// negated operators are met by a value that matches none of the policy's.
	negated bool
	compile func(v scalar, variables bool) (operand, error)
	// read reads a value of the request, once for all values of the policy. If it is not ok, none of them
	// matches it. nil: match takes the text as it is.
	read  func(text string, v *value) (ok bool)
	match func(o *operand, r *Request, from Kind, v *value) bool
}

// operand is a value of a condition, read as its operator reads it.
type operand struct {
	text   text
	number float64
	when   time.Time
	flag   bool
	binary []byte
	subnet netip.Prefix
}

// value is a value of a request, read as its operator reads it.
type value struct {
	text    string
	number  float64
	when    time.Time
	flag    bool
	binary  []byte
	address netip.Addr
}

// null is the one operator that looks at presence only.
const null = "null"

// operators are all condition operators by their names in lower case. Nothing writes to it.
var operators = map[string]operator{
	"stringequals":              {"StringEquals", false, literal, nil, equal},
	"stringnotequals":           {"StringNotEquals", true, literal, nil, equal},
	"stringequalsignorecase":    {"StringEqualsIgnoreCase", false, literal, nil, equalIgnoringCase},
	"stringnotequalsignorecase": {"StringNotEqualsIgnoreCase", true, literal, nil, equalIgnoringCase},
	"stringlike":                {"StringLike", false, wildcard, nil, like},
	"stringnotlike":             {"StringNotLike", true, wildcard, nil, like},

	"numericequals":            {"NumericEquals", false, numeric, readNumber, comparison(0)},
	"numericnotequals":         {"NumericNotEquals", true, numeric, readNumber, comparison(0)},
	"numericlessthan":          {"NumericLessThan", false, numeric, readNumber, comparison(-1)},
	"numericlessthanequals":    {"NumericLessThanEquals", false, numeric, readNumber, comparison(-1, 0)},
	"numericgreaterthan":       {"NumericGreaterThan", false, numeric, readNumber, comparison(1)},
	"numericgreaterthanequals": {"NumericGreaterThanEquals", false, numeric, readNumber, comparison(0, 1)},

	"dateequals":            {"DateEquals", false, date, readDate, chronology(0)},
	"datenotequals":         {"DateNotEquals", true, date, readDate, chronology(0)},
	"datelessthan":          {"DateLessThan", false, date, readDate, chronology(-1)},
	"datelessthanequals":    {"DateLessThanEquals", false, date, readDate, chronology(-1, 0)},
	"dategreaterthan":       {"DateGreaterThan", false, date, readDate, chronology(1)},
	"dategreaterthanequals": {"DateGreaterThanEquals", false, date, readDate, chronology(0, 1)},

	"bool":         {"Bool", false, boolean, readBoolean, sameBoolean},
	"binaryequals": {"BinaryEquals", false, binary, readBinary, sameBinary},

	"ipaddress":    {"IpAddress", false, subnet, readAddress, inSubnet},
	"notipaddress": {"NotIpAddress", true, subnet, readAddress, inSubnet},

	"arnequals":    {"ArnEquals", false, wildcard, nil, likeARN},
	"arnlike":      {"ArnLike", false, wildcard, nil, likeARN},
	"arnnotequals": {"ArnNotEquals", true, wildcard, nil, likeARN},
	"arnnotlike":   {"ArnNotLike", true, wildcard, nil, likeARN},

	null: {"Null", false, boolean, nil, nil},
}

// scalar is a condition value: AWS allows strings, numbers and booleans, and reads "true" as true
// and "7" as 7.
type scalar string

func (s *scalar) UnmarshalJSON(data []byte) error {
	switch {
	case len(data) > 0 && data[0] == '"':
		return json.Unmarshal(data, (*string)(s))
	case len(data) > 0 && strings.IndexByte("-0123456789tf", data[0]) >= 0:
		*s = scalar(data)
		return nil
	}
	return malformed("a condition's value is no string, number or boolean")
}

func literal(v scalar, variables bool) (operand, error) {
	t, err := compileText(string(v), textForm{variables: variables})
	return operand{text: t}, err
}

func wildcard(v scalar, variables bool) (operand, error) {
	t, err := compileText(string(v), textForm{wildcards: true, variables: variables})
	return operand{text: t}, err
}

func equal(o *operand, r *Request, from Kind, v *value) bool {
	var space [variableSpace]byte
	want, ok := o.text.resolve(r, from, len(v.text), space[:0])
	return ok && string(want) == v.text
}

func equalIgnoringCase(o *operand, r *Request, from Kind, v *value) bool {
	var space [variableSpace]byte
	// Of the same letter one form may take more bytes than another.
	want, ok := o.text.resolve(r, from, utf8.UTFMax*len(v.text), space[:0])
	r.spent.add(len(v.text))
	return ok && equalFold(want, v.text)
}

func like(o *operand, r *Request, from Kind, v *value) bool {
	var space [variableSpace]byte
	pattern, ok := o.text.resolve(r, from, len(v.text), space[:0])
	return ok && matches(pattern, v.text, false, &r.spent)
}

// likeARN compares two ARNs field by field: a wildcard does not reach over a colon, except in the
// last field. ArnEquals and ArnLike are the same. A lone * is any ARN.
func likeARN(o *operand, r *Request, from Kind, v *value) bool {
	var space [variableSpace]byte
	pattern, ok := o.text.resolve(r, from, len(v.text), space[:0])
	if !ok || !strings.HasPrefix(v.text, "arn:") {
		return false
	}
	value := v.text
	if len(pattern) == 1 && pattern[0] == anyRun {
		return true
	}
	for range arnFields - 1 {
		field, otherFields, found := bytes.Cut(pattern, []byte(":"))
		name, otherNames, also := strings.Cut(value, ":")
		if !found || !also || !matches(field, name, false, &r.spent) {
			return false
		}
		pattern, value = otherFields, otherNames
	}
	return matches(pattern, value, false, &r.spent)
}

// arnFields is the number of fields of an ARN that colons part.
const arnFields = 6

func numeric(v scalar, _ bool) (operand, error) {
	number, ok := parseNumber(string(v))
	if !ok {
		return operand{}, malformed("a numeric condition has a value that is no number")
	}
	return operand{number: number}, nil
}

// parseNumber reads a decimal number. AWS knows integers and decimals.
func parseNumber(s string) (float64, bool) {
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	number, err := strconv.ParseFloat(s, 64)
	return number, err == nil
}

// comparison matches a number that compares to the policy's in one of these ways: -1 less, 0 equal,
// 1 greater.
func comparison(ways ...int) func(*operand, *Request, Kind, *value) bool {
	return func(o *operand, _ *Request, _ Kind, v *value) bool { return among(ways, order(v.number, o.number)) }
}

func readNumber(text string, v *value) (ok bool) {
	v.number, ok = parseNumber(text)
	return ok
}

func order(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func among(ways []int, way int) bool {
	for _, w := range ways {
		if w == way {
			return true
		}
	}
	return false
}

func date(v scalar, _ bool) (operand, error) {
	when, ok := parseDate(string(v))
	if !ok {
		return operand{}, malformed("a date condition has a value that is no date")
	}
	return operand{when: when}, nil
}

// dateLayouts are the forms of ISO 8601 that W3C's note "Date and Time Formats" names, but for the
// year alone: digits alone are seconds since 1970. Nothing writes to it.
var dateLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01"}

func parseDate(s string) (time.Time, bool) {
	if s != "" && strings.Trim(s, "0123456789") == "" {
		seconds, err := strconv.ParseInt(s, 10, 64)
		if err != nil || seconds > maxSeconds {
			return time.Time{}, false
		}
		return time.Unix(seconds, 0), true
	}
	for _, layout := range dateLayouts {
		if when, err := time.Parse(layout, s); err == nil {
			return when, true
		}
	}
	return time.Time{}, false
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253_402_300_799

// chronology is comparison of times.
func chronology(ways ...int) func(*operand, *Request, Kind, *value) bool {
	return func(o *operand, _ *Request, _ Kind, v *value) bool { return among(ways, v.when.Compare(o.when)) }
}

func readDate(text string, v *value) (ok bool) {
	v.when, ok = parseDate(text)
	return ok
}

func boolean(v scalar, _ bool) (operand, error) {
	flag, ok := parseBool(string(v))
	if !ok {
		return operand{}, malformed("a Boolean condition has a value that is neither true nor false")
	}
	return operand{flag: flag}, nil
}

func parseBool(s string) (value, ok bool) {
	return strings.EqualFold(s, "true"), strings.EqualFold(s, "true") || strings.EqualFold(s, "false")
}

func sameBoolean(o *operand, _ *Request, _ Kind, v *value) bool { return v.flag == o.flag }

func readBoolean(text string, v *value) (ok bool) {
	v.flag, ok = parseBool(text)
	return ok
}

func binary(v scalar, _ bool) (operand, error) {
	decoded, err := base64.StdEncoding.DecodeString(string(v))
	if err != nil {
		return operand{}, malformed("a binary condition has a value that is not base64")
	}
	return operand{binary: decoded}, nil
}

func sameBinary(o *operand, _ *Request, _ Kind, v *value) bool {
	return bytes.Equal(v.binary, o.binary)
}

func readBinary(text string, v *value) bool {
	decoded, err := base64.StdEncoding.DecodeString(text)
	v.binary = decoded
	return err == nil
}

func subnet(v scalar, _ bool) (operand, error) {
	text := string(v)
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return operand{subnet: prefix.Masked()}, nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return operand{}, malformed("an address condition has a value that is neither an address nor a range in CIDR form")
	}
	return operand{subnet: netip.PrefixFrom(address, address.BitLen())}, nil
}

func inSubnet(o *operand, _ *Request, _ Kind, v *value) bool { return o.subnet.Contains(v.address) }

// readAddress takes an IPv4 address that came in the form of an IPv6 one as what it is.
func readAddress(text string, v *value) bool {
	address, err := netip.ParseAddr(text)
	v.address = address.Unmap().WithZone("")
	return err == nil
}
