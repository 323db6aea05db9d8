package policy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// operator is a condition operator: how its values are read and when one of them matches a value
// of the request (IAM User Guide, "IAM JSON policy elements: Condition operators").
type operator struct {
	name string
	// negated operators are met by a value that matches none of the policy's.
	negated bool
	compile func(v scalar, variables bool) (operand, error)
	match   func(o *operand, r *Request, from Kind, value string) bool
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

// null is the one operator that looks at presence only.
const null = "null"

// operators are all condition operators by their names in lower case. Nothing writes to it.
var operators = map[string]operator{
	"stringequals":              {"StringEquals", false, literal, equal},
	"stringnotequals":           {"StringNotEquals", true, literal, equal},
	"stringequalsignorecase":    {"StringEqualsIgnoreCase", false, literal, equalIgnoringCase},
	"stringnotequalsignorecase": {"StringNotEqualsIgnoreCase", true, literal, equalIgnoringCase},
	"stringlike":                {"StringLike", false, wildcard, like},
	"stringnotlike":             {"StringNotLike", true, wildcard, like},

	"numericequals":            {"NumericEquals", false, numeric, comparison(0)},
	"numericnotequals":         {"NumericNotEquals", true, numeric, comparison(0)},
	"numericlessthan":          {"NumericLessThan", false, numeric, comparison(-1)},
	"numericlessthanequals":    {"NumericLessThanEquals", false, numeric, comparison(-1, 0)},
	"numericgreaterthan":       {"NumericGreaterThan", false, numeric, comparison(1)},
	"numericgreaterthanequals": {"NumericGreaterThanEquals", false, numeric, comparison(0, 1)},

	"dateequals":            {"DateEquals", false, date, chronology(0)},
	"datenotequals":         {"DateNotEquals", true, date, chronology(0)},
	"datelessthan":          {"DateLessThan", false, date, chronology(-1)},
	"datelessthanequals":    {"DateLessThanEquals", false, date, chronology(-1, 0)},
	"dategreaterthan":       {"DateGreaterThan", false, date, chronology(1)},
	"dategreaterthanequals": {"DateGreaterThanEquals", false, date, chronology(0, 1)},

	"bool":         {"Bool", false, boolean, sameBoolean},
	"binaryequals": {"BinaryEquals", false, binary, sameBinary},

	"ipaddress":    {"IpAddress", false, subnet, inSubnet},
	"notipaddress": {"NotIpAddress", true, subnet, inSubnet},

	"arnequals":    {"ArnEquals", false, wildcard, likeARN},
	"arnlike":      {"ArnLike", false, wildcard, likeARN},
	"arnnotequals": {"ArnNotEquals", true, wildcard, likeARN},
	"arnnotlike":   {"ArnNotLike", true, wildcard, likeARN},

	null: {"Null", false, boolean, nil},
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

func equal(o *operand, r *Request, from Kind, value string) bool {
	var space [variableSpace]byte
	want, ok := o.text.resolve(r, from, space[:0])
	return ok && string(want) == value
}

func equalIgnoringCase(o *operand, r *Request, from Kind, value string) bool {
	var space [variableSpace]byte
	want, ok := o.text.resolve(r, from, space[:0])
	return ok && equalFold(want, value)
}

func like(o *operand, r *Request, from Kind, value string) bool {
	var space [variableSpace]byte
	pattern, ok := o.text.resolve(r, from, space[:0])
	return ok && matches(pattern, value, false)
}

// likeARN compares two ARNs field by field: a wildcard does not reach over a colon, except in the
// last field. ArnEquals and ArnLike are the same. A lone * is any ARN.
func likeARN(o *operand, r *Request, from Kind, value string) bool {
	var space [variableSpace]byte
	pattern, ok := o.text.resolve(r, from, space[:0])
	if !ok || !strings.HasPrefix(value, "arn:") {
		return false
	}
	if len(pattern) == 1 && pattern[0] == anyRun {
		return true
	}
	for range arnFields - 1 {
		field, otherFields, found := bytes.Cut(pattern, []byte(":"))
		name, otherNames, also := strings.Cut(value, ":")
		if !found || !also || !matches(field, name, false) {
			return false
		}
		pattern, value = otherFields, otherNames
	}
	return matches(pattern, value, false)
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
func comparison(ways ...int) func(*operand, *Request, Kind, string) bool {
	return func(o *operand, _ *Request, _ Kind, value string) bool {
		number, ok := parseNumber(value)
		return ok && among(ways, order(number, o.number))
	}
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
func chronology(ways ...int) func(*operand, *Request, Kind, string) bool {
	return func(o *operand, _ *Request, _ Kind, value string) bool {
		when, ok := parseDate(value)
		return ok && among(ways, when.Compare(o.when))
	}
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

func sameBoolean(o *operand, _ *Request, _ Kind, value string) bool {
	flag, ok := parseBool(value)
	return ok && flag == o.flag
}

func binary(v scalar, _ bool) (operand, error) {
	decoded, err := base64.StdEncoding.DecodeString(string(v))
	if err != nil {
		return operand{}, malformed("a binary condition has a value that is not base64")
	}
	return operand{binary: decoded}, nil
}

func sameBinary(o *operand, _ *Request, _ Kind, value string) bool {
	decoded, err := base64.StdEncoding.DecodeString(value)
	return err == nil && bytes.Equal(decoded, o.binary)
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

// inSubnet takes an IPv4 address that came in the form of an IPv6 one as what it is.
func inSubnet(o *operand, _ *Request, _ Kind, value string) bool {
	address, err := netip.ParseAddr(value)
	return err == nil && o.subnet.Contains(address.Unmap().WithZone(""))
}
