package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// pick gives one of several.
func pick[T any](r randomly, of ...T) T { return of[r.IntN(len(of))] }

// statement makes a statement of so few names that it often has to do with a request.
func (r randomly) statement(effect string) string {
	who := pick(r, `"*"`, `{"AWS":"`+alice+`"}`, `{"AWS":"111122223333"}`, `{"AWS":"444455556666"}`, `{"AWS":"arn:aws:iam::111122223333:role/dev"}`,
		`{"AWS":"arn:aws:sts::111122223333:assumed-role/dev/s1"}`, `{"Service":"s3.amazonaws.com"}`)
	text := `{"Effect":"` + effect + `","` + pick(r, "Principal", "Principal", "Principal", "NotPrincipal") + `":` + who +
		`,"` + pick(r, "Action", "Action", "NotAction") + `":` + pick(r, `"kms:*"`, `["kms:Encrypt"]`, `"kms:Dec*"`, `"s3:*"`) +
		`,"` + pick(r, "Resource", "Resource", "NotResource") + `":` + pick(r, `"*"`, `"`+keyARN+`"`, `"arn:aws:kms:*:*:key/${aws:username}"`)
	if r.IntN(2) == 0 {
		text += `,"Condition":{"` + pick(r, "", "", "ForAllValues:", "ForAnyValue:") + pick(r, "StringEquals", "StringNotEquals", "StringLike", "StringNotLike") + pick(r, "", "IfExists") +
			`":{"` + pick(r, "kms:RequestAlias", "aws:TagKeys", "aws:username") + `":` + pick(r, `"a"`, `["a","b"]`, `"${aws:username}"`, `"*"`) + `}}`
	}
	return text + `}`
}

func (r randomly) document() *Document {
	var statements []string
	for range 1 + r.IntN(3) {
		statements = append(statements, r.statement(pick(r, "Allow", "Allow", "Allow", "Deny")))
	}
	d, err := Parse([]byte(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`))
	if err != nil {
		panic(err)
	}
	return d
}

func (r randomly) question() (*Request, Policies) {
	const root = "arn:aws:iam::111122223333:root"
	request := &Request{
		Principal: pick(r,
			Principal{ARN: alice, Account: account}, Principal{ARN: root, Account: account}, Principal{ARN: foreign, Account: "444455556666"},
			Principal{ARN: "arn:aws:sts::111122223333:assumed-role/dev/s1", Account: account, Role: "arn:aws:iam::111122223333:role/dev"},
			Principal{ARN: "s3.amazonaws.com", Service: "s3.amazonaws.com"}),
		Action: pick(r, "kms:Encrypt", "kms:Decrypt"), Resource: keyARN, Owner: account,
	}
	values := Fixed{}
	for _, key := range []string{"kms:requestalias", "aws:tagkeys", "aws:username"} {
		for range r.IntN(3) {
			values[key] = append(values[key], pick(r, "a", "b", "*"))
		}
	}
	request.Attributes = values
	var p Policies
	if r.IntN(4) > 0 {
		p.Resource = r.document()
	}
	for range r.IntN(3) {
		p.Identity = append(p.Identity, r.document())
	}
	if r.IntN(4) == 0 {
		p.Boundary = r.document()
	}
	for range r.IntN(5) / 3 {
		p.Session = append(p.Session, r.document())
	}
	return request, p
}

// with gives the policies with one more statement in one of them, at any place.
func (r randomly) with(p Policies, statement string) Policies {
	more, err := Parse([]byte(`{"Version":"2012-10-17","Statement":[` + statement + `]}`))
	if err != nil {
		panic(err)
	}
	extend := func(d *Document) *Document {
		at := r.IntN(len(d.statements) + 1)
		return &Document{statements: slices.Insert(slices.Clone(d.statements), at, more.statements...)}
	}
	switch kind := r.IntN(4); {
	case kind == 0 && p.Resource != nil:
		p.Resource = extend(p.Resource)
	case kind == 1 && p.Boundary != nil:
		p.Boundary = extend(p.Boundary)
	case kind == 2 && len(p.Session) > 0:
		p.Session = slices.Clone(p.Session)
		p.Session[0] = extend(p.Session[0])
	default:
		p.Identity = append(slices.Clone(p.Identity), more)
	}
	return p
}

// TestDenyProperties: an explicit deny always wins, another deny never allows, and the order of
// statements never matters.
func TestDenyProperties(t *testing.T) {
	r := randomly{rand.New(rand.NewPCG(5, 6))}
	seen := map[Effect]int{}
	for range 4_000 {
		request, p := r.question()
		before := Evaluate(request, p)
		seen[before.Effect]++
		denies := false
		for _, step := range Explain(request, p) {
			denies = denies || step.Deny && step.Applies
		}
		if denies && (before.Effect == Allowed || before.Effect.Implicit()) {
			t.Fatalf("a deny applies and the effect is %d: %+v", before.Effect, Explain(request, p))
		}
		if after := Evaluate(request, r.with(p, r.statement("Deny"))).Effect; after == Allowed && before.Effect != Allowed {
			t.Fatalf("one more deny turned effect %d into an allow", before.Effect)
		}
		sure := `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`
		if after := Evaluate(request, r.with(p, sure)).Effect; after == Allowed || after.Implicit() {
			t.Fatalf("a deny of everything gave effect %d", after)
		}
		if after := Evaluate(request, r.with(p, r.statement("Allow"))).Effect; before.Effect == Allowed && after != Allowed {
			t.Fatalf("one more allow gave effect %d", after)
		}
		shuffled := p
		shuffled.Identity = slices.Clone(p.Identity)
		slices.Reverse(shuffled.Identity)
		if p.Resource != nil {
			shuffled.Resource = &Document{statements: slices.Clone(p.Resource.statements)}
			slices.Reverse(shuffled.Resource.statements)
		}
		if after := Evaluate(request, shuffled).Effect; after != before.Effect {
			t.Fatalf("in another order effect %d became %d", before.Effect, after)
		}
	}
	for name, effect := range effects {
		if seen[effect] < 10 {
			t.Errorf("only %d requests had the effect %s", seen[effect], name)
		}
	}
}

// TestAbsentKeys: without IfExists an absent key never meets a positive operator and always meets a
// negated one, whatever the values; with IfExists it meets both. Negated are exactly the operators
// with Not in their name.
func TestAbsentKeys(t *testing.T) {
	samples := map[string][]string{
		"Numeric": {"7", "-1", "0"}, "Date": {"2026-01-01", "0"}, "Bool": {"true", "false"}, "Binary": {"", "QQ=="},
		"Ip": {"0.0.0.0/0", "::/0"}, "NotIp": {"0.0.0.0/0", "::/0"}, "Arn": {"*", "arn:aws:s3:::x"}, "String": {"", "*", "x", "${aws:username}", "${aws:username, ''}"},
	}
	tried := 0
	for _, o := range operators {
		if o.name == "Null" {
			continue
		}
		negated := strings.Contains(o.name, "Not")
		if negated != o.negated {
			t.Errorf("%s: negated is %v", o.name, o.negated)
		}
		for prefix, values := range samples {
			if !strings.HasPrefix(o.name, prefix) {
				continue
			}
			for _, value := range append(values, strings.Join(values, `","`)) {
				for quantifier, want := range map[string]bool{"": negated, "ForAllValues:": true, "ForAnyValue:": false} {
					for suffix, want := range map[string]bool{"": want, "IfExists": true} {
						tried++
						name := quantifier + o.name + suffix
						d := mustParse(t, oneStatement(fmt.Sprintf(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"%s":{"aws:absent":["%s"]}}`, name, value)))
						r := &Request{Principal: Principal{ARN: alice, Account: account}, Action: "kms:Encrypt", Resource: "*", Owner: account}
						for _, attributes := range []Attributes{nil, Fixed{"aws:username": {"x"}}, Fixed{"aws:absent": {}}} {
							r.Attributes = attributes
							if got := Evaluate(r, Policies{Identity: []*Document{d}}).Effect == Allowed; got != want {
								t.Errorf("%s of %q on an absent key: met is %v", name, value, got)
							}
						}
					}
				}
			}
		}
	}
	if tried < 26*2*6 {
		t.Errorf("only %d conditions were tried", tried)
	}
}

// TestNegatedIsTheOpposite: with one value a negated operator is met exactly when its positive twin is
// not.
func TestNegatedIsTheOpposite(t *testing.T) {
	twins := map[string]string{
		"StringEquals": "StringNotEquals", "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase", "StringLike": "StringNotLike",
		"NumericEquals": "NumericNotEquals", "DateEquals": "DateNotEquals", "IpAddress": "NotIpAddress",
		"ArnLike": "ArnNotLike", "ArnEquals": "ArnNotEquals",
	}
	negated := 0
	for _, o := range operators {
		if o.negated {
			negated++
		}
	}
	if negated != len(twins) {
		t.Fatalf("%d operators are negated", negated)
	}
	texts := []string{"7", "2026-01-01", "10.0.0.1", "arn:aws:s3:::x", "arn:aws:s3:::X", "x", ""}
	met, unmet := 0, 0
	for positive, negative := range twins {
		for _, want := range texts {
			for _, value := range texts {
				effect := func(operator string) (Effect, bool) {
					d, err := Parse([]byte(oneStatement(fmt.Sprintf(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"%s":{"aws:k":"%s"}}`, operator, want))))
					if err != nil {
						return 0, false
					}
					r := &Request{Principal: Principal{ARN: alice, Account: account}, Action: "kms:Encrypt", Resource: "*", Owner: account, Attributes: Fixed{"aws:k": {value}}}
					return Evaluate(r, Policies{Identity: []*Document{d}}).Effect, true
				}
				a, parsed := effect(positive)
				b, also := effect(negative)
				if parsed != also || parsed && (a == Allowed) == (b == Allowed) {
					t.Errorf("%s %q of %q: %v, %s: %v", positive, want, value, a, negative, b)
				}
				if parsed && a == Allowed {
					met++
				} else if parsed {
					unmet++
				}
			}
		}
	}
	if met < 20 || unmet < 50 {
		t.Errorf("%d were met, %d not", met, unmet)
	}
}
