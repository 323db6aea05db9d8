package policy

import (
	"errors"
	"strings"
	"testing"
)

const (
	account = "111122223333"
	alice   = "arn:aws:iam::111122223333:user/alice"
	keyARN  = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	foreign = "arn:aws:iam::444455556666:user/bob"

	delegating = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`
)

func oneStatement(body string) string {
	return `{"Version":"2012-10-17","Statement":{` + body + `}}`
}

func TestEvaluate(t *testing.T) {
	user := Principal{ARN: alice, Account: account}
	root := Principal{ARN: "arn:aws:iam::111122223333:root", Account: account}
	other := Principal{ARN: foreign, Account: "444455556666"}
	allowAll := oneStatement(`"Effect":"Allow","Action":"kms:*","Resource":"*"`)
	for _, c := range []struct {
		name      string
		principal Principal
		key       string
		identity  []string
		want      Effect
	}{
		{"delegated and allowed", user, delegating, []string{allowAll}, Allowed},
		{"delegated, no identity policy", user, delegating, nil, NoIdentityAllow},
		{"identity policy without delegation", user, oneStatement(`"Effect":"Allow","Principal":{"AWS":"` + foreign + `"},"Action":"kms:*","Resource":"*"`), []string{allowAll}, NoResourceAllow},
		{"named by the key policy", user, oneStatement(`"Effect":"Allow","Principal":{"AWS":["` + alice + `"]},"Action":["kms:enc*"],"Resource":"*"`), nil, Allowed},
		{"account id as principal", user, oneStatement(`"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Encrypt","Resource":"*"`), []string{allowAll}, Allowed},
		{"root of the account", root, delegating, nil, Allowed},
		{"root not named", root, oneStatement(`"Effect":"Allow","Principal":{"AWS":"` + alice + `"},"Action":"kms:*","Resource":"*"`), nil, NoResourceAllow},
		{"deny in the key policy wins", user, `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},{"Effect":"Deny","Principal":{"AWS":"` + alice + `"},"Action":"kms:Encrypt","Resource":"*"}]}`, []string{allowAll}, DeniedByResource},
		{"deny in the identity policy wins", user, delegating, []string{allowAll, oneStatement(`"Effect":"Deny","NotAction":"kms:Decrypt","Resource":"*"`)}, DeniedByIdentity},
		{"deny of another action", user, delegating, []string{allowAll, oneStatement(`"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"`)}, Allowed},
		{"another resource", user, delegating, []string{oneStatement(`"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:*:*:key/other"`)}, NoIdentityAllow},
		{"statement without resource", user, delegating, []string{oneStatement(`"Effect":"Allow","Action":"kms:*"`)}, NoIdentityAllow},
		{"foreign, key only", other, oneStatement(`"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"kms:*","Resource":"*"`), nil, NoIdentityAllow},
		{"foreign, both", other, oneStatement(`"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"kms:*","Resource":"*"`), []string{allowAll}, Allowed},
		{"foreign, identity only", other, delegating, []string{allowAll}, NoResourceAllow},
		{"NotPrincipal denies the others", user, `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},{"Effect":"Deny","NotPrincipal":{"AWS":"` + foreign + `"},"Action":"kms:*","Resource":"*"}]}`, nil, DeniedByResource},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, err := Parse([]byte(c.key))
			if err != nil {
				t.Fatal(err)
			}
			var identity []*Document
			for _, text := range c.identity {
				d, err := Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				identity = append(identity, d)
			}
			r := &Request{Principal: c.principal, Action: "kms:Encrypt", Resource: keyARN, Owner: account}
			if got := Evaluate(r, Policies{Resource: key, Identity: identity}).Effect; got != c.want {
				t.Errorf("got effect %d, want %d", got, c.want)
			}
		})
	}
}

func TestEvaluateWithoutKey(t *testing.T) {
	r := &Request{Principal: Principal{ARN: alice, Account: account}, Action: "kms:ListKeys", Resource: "*", Owner: account}
	if got := Evaluate(r, Policies{}).Effect; got != NoIdentityAllow {
		t.Errorf("a user without policies: effect %d", got)
	}
	r.Principal.ARN = "arn:aws:iam::111122223333:root"
	if got := Evaluate(r, Policies{}).Effect; got != Allowed {
		t.Errorf("the root user: effect %d", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                ``,
		"not an object":          `[]`,
		"no statement":           `{"Version":"2012-10-17"}`,
		"empty statements":       `{"Statement":[]}`,
		"unknown version":        `{"Version":"2020-01-01","Statement":[{"Effect":"Allow"}]}`,
		"unknown element":        oneStatement(`"Effect":"Allow","Actions":"kms:*"`),
		"unknown effect":         oneStatement(`"Effect":"allow","Action":"kms:*"`),
		"action of a number":     oneStatement(`"Effect":"Allow","Action":7`),
		"action and NotAction":   oneStatement(`"Effect":"Allow","Action":"kms:*","NotAction":"kms:*"`),
		"principal type":         oneStatement(`"Effect":"Allow","Principal":{"Robot":"x"},"Action":"kms:*"`),
		"condition of a map":     oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"Bool":{"a":{"b":"c"}}}`),
		"two documents":          delegating + delegating,
		"effect twice":           oneStatement(`"Effect":"Deny","Effect":"Allow","Action":"kms:*"`),
		"effect in lower case":   oneStatement(`"Effect":"Deny","effect":"Allow","Action":"kms:*"`),
		"condition taken back":   oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"Bool":{"a":"true"}},"condition":null`),
		"null action":            oneStatement(`"Effect":"Allow","NotAction":null`),
		"unknown operator":       oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"StringIs":{"a":"b"}}`),
		"half a quantifier":      oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"ForSomeValues:StringEquals":{"a":"b"}}`),
		"two quantifiers":        oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"ForAllValues:ForAnyValue:StringEquals":{"a":"b"}}`),
		"Null with IfExists":     oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"NullIfExists":{"a":"true"}}`),
		"operator alone":         oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"StringEquals":"a"}`),
		"condition list":         oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":[{"StringEquals":{"a":"b"}}]`),
		"key without a name":     oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"StringEquals":{"":"b"}}`),
		"list of lists":          oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"StringEquals":{"a":[["b"]]}}`),
		"no number":              oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"NumericEquals":{"a":"seven"}}`),
		"hexadecimal":            oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"NumericEquals":{"a":"0x7"}}`),
		"infinity":               oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"NumericLessThan":{"a":"Inf"}}`),
		"empty number":           oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"NumericEquals":{"a":""}}`),
		"number of a variable":   oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"NumericEquals":{"a":"${aws:EpochTime}"}}`),
		"no date":                oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"DateEquals":{"a":"tomorrow"}}`),
		"a date that is not":     oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"DateEquals":{"a":"2026-02-30"}}`),
		"negative seconds":       oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"DateEquals":{"a":-1}}`),
		"too many seconds":       oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"DateEquals":{"a":"99999999999999999999"}}`),
		"neither true nor false": oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"Bool":{"a":"yes"}}`),
		"Null of a text":         oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"Null":{"a":"absent"}}`),
		"no base64":              oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"BinaryEquals":{"a":"%%"}}`),
		"no address":             oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"IpAddress":{"a":"300.1.1.1"}}`),
		"no range":               oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"IpAddress":{"a":"10.0.0.0/33"}}`),
		"address with a zone":    oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"NotIpAddress":{"a":"fe80::1%eth0"}}`),
		"variable without end":   oneStatement(`"Effect":"Allow","Action":"kms:*","Condition":{"StringEquals":{"a":"${aws:username"}}`),
		"empty variable":         oneStatement(`"Effect":"Allow","Action":"kms:*","Resource":"${}"`),
		"nested variable":        oneStatement(`"Effect":"Allow","Action":"kms:*","Resource":"${a${b}}"`),
		"default in no quotes":   oneStatement(`"Effect":"Allow","Action":"kms:*","Resource":"${aws:username, x}"`),
		"number as a Sid":        oneStatement(`"Sid":7,"Effect":"Allow","Action":"kms:*"`),
		"second statement":       `{"Statement":[{"Effect":"Deny","Action":"kms:*"}],"statement":[{"Effect":"Allow","Action":"kms:*"}]}`,
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"", "a", false}, {"a*c", "abbbc", true}, {"a*c", "abbbd", false},
		{"?", "", false}, {"?", "a", true}, {"a?c", "abc", true}, {"*a*b*", "xxaxxbxx", true}, {"**", "x", true},
		{"?", "é", true}, {"??", "é", false}, {"*??", "€", false}, {"*??", "a€", true}, {"?", "\xff", true}, {"a", "\xff", false},
		{"kms:*", "kms:Encrypt", true}, {"kms:e*", "kms:Encrypt", true}, {"kms:generatedatakey*", "kms:generatedatakey", true},
	} {
		if got := matches(compilePattern(c.pattern, true), c.name, true, new(work)); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
	// Many stars are tried once each.
	if matches(compilePattern(strings.Repeat("*a", 1000)+"b", true), strings.Repeat("a", 2000), false, new(work)) {
		t.Error("matched a name without its last byte")
	}
}
