package policy

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
)

type context = map[string]string

func TestGrantAllows(t *testing.T) {
	decrypt := func(c Constraints) *Grant {
		return &Grant{Operations: []kms.GrantOperation{"Decrypt", "DescribeKey", "RetireGrant"}, Constraints: c}
	}
	equals := decrypt(Constraints{ContextEquals: context{"Tenant": "7", "app": "x"}})
	subset := decrypt(Constraints{ContextSubset: context{"tenant": "7"}})
	source := decrypt(Constraints{SourceARN: "arn:aws:s3:::b"})
	for _, c := range []struct {
		name    string
		grant   *Grant
		request GrantRequest
		want    bool
	}{
		{"no constraint", decrypt(Constraints{}), GrantRequest{Operation: "Decrypt", Context: context{"a": "b"}}, true},
		{"another operation", decrypt(Constraints{}), GrantRequest{Operation: "Encrypt"}, false},
		{"no operation", decrypt(Constraints{}), GrantRequest{}, false},
		{"equals", equals, GrantRequest{Operation: "Decrypt", Context: context{"app": "x", "Tenant": "7"}}, true},
		{"equals, keys of another case", equals, GrantRequest{Operation: "Decrypt", Context: context{"APP": "x", "tenant": "7"}}, true},
		{"equals, a value of another case", equals, GrantRequest{Operation: "Decrypt", Context: context{"app": "X", "Tenant": "7"}}, false},
		{"equals, one missing", equals, GrantRequest{Operation: "Decrypt", Context: context{"app": "x"}}, false},
		{"equals, one more", equals, GrantRequest{Operation: "Decrypt", Context: context{"app": "x", "Tenant": "7", "more": ""}}, false},
		{"equals, the same twice by case", equals, GrantRequest{Operation: "Decrypt", Context: context{"Tenant": "7", "tenant": "7"}}, false},
		{"equals, no context", equals, GrantRequest{Operation: "Decrypt"}, false},
		{"subset", subset, GrantRequest{Operation: "Decrypt", Context: context{"Tenant": "7", "more": "y"}}, true},
		{"subset, another value", subset, GrantRequest{Operation: "Decrypt", Context: context{"tenant": "70"}}, false},
		{"subset, either case may hold", subset, GrantRequest{Operation: "Decrypt", Context: context{"tenant": "8", "TENANT": "7"}}, true},
		{"subset, no context", subset, GrantRequest{Operation: "Decrypt"}, false},
		{"subset of an empty value", decrypt(Constraints{ContextSubset: context{"a": ""}}), GrantRequest{Operation: "Decrypt"}, false},
		{"subset of an empty value, given", decrypt(Constraints{ContextSubset: context{"a": ""}}), GrantRequest{Operation: "Decrypt", Context: context{"a": ""}}, true},
		{"DescribeKey ignores the context", equals, GrantRequest{Operation: "DescribeKey"}, true},
		{"RetireGrant ignores the context", subset, GrantRequest{Operation: "RetireGrant"}, true},
		{"source", source, GrantRequest{Operation: "Decrypt", SourceARN: "arn:aws:s3:::b"}, true},
		{"no source", source, GrantRequest{Operation: "Decrypt"}, false},
		{"DescribeKey heeds the source", source, GrantRequest{Operation: "DescribeKey"}, false},
		{"RetireGrant ignores the source", source, GrantRequest{Operation: "RetireGrant"}, true},
		{"CreateGrant of nothing", &Grant{Operations: []kms.GrantOperation{"CreateGrant"}}, GrantRequest{Operation: "CreateGrant"}, false},
	} {
		if got := c.grant.Allows(c.request); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestGrantCovers(t *testing.T) {
	both := []kms.GrantOperation{"Decrypt", "CreateGrant"}
	for _, c := range []struct {
		name          string
		parent, child Constraints
		want          bool
	}{
		{"none, none", Constraints{}, Constraints{}, true},
		{"none, some", Constraints{}, Constraints{ContextSubset: context{"a": "b"}}, true},
		{"subset, none", Constraints{ContextSubset: context{"a": "b"}}, Constraints{}, false},
		{"subset, more", Constraints{ContextSubset: context{"a": "b"}}, Constraints{ContextSubset: context{"A": "b", "c": "d"}}, true},
		{"subset, less", Constraints{ContextSubset: context{"a": "b", "c": "d"}}, Constraints{ContextSubset: context{"a": "b"}}, false},
		{"subset, equals with it", Constraints{ContextSubset: context{"a": "b"}}, Constraints{ContextEquals: context{"a": "b", "c": "d"}}, true},
		{"equals, the same", Constraints{ContextEquals: context{"a": "b"}}, Constraints{ContextEquals: context{"A": "b"}}, true},
		{"equals, subset of the same", Constraints{ContextEquals: context{"a": "b"}}, Constraints{ContextSubset: context{"a": "b"}}, false},
		{"equals, more", Constraints{ContextEquals: context{"a": "b"}}, Constraints{ContextEquals: context{"a": "b", "c": "d"}}, false},
		{"source, none", Constraints{SourceARN: "s"}, Constraints{}, false},
		{"source, the same", Constraints{SourceARN: "s"}, Constraints{SourceARN: "s"}, true},
	} {
		parent, child := &Grant{both, c.parent}, &Grant{both, c.child}
		if got := parent.Allows(GrantRequest{Operation: "CreateGrant", New: child}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		child.Operations = []kms.GrantOperation{"Decrypt", "Encrypt"}
		if parent.Covers(child) {
			t.Errorf("%s: covers an operation that it does not have", c.name)
		}
	}
}

// randomly makes grants and requests of so few names that they often have to do with each other.
type randomly struct{ *rand.Rand }

func (r randomly) context(most int) context {
	made := context{}
	for range r.IntN(most + 1) {
		made[[]string{"a", "A", "b", "ſ", "s"}[r.IntN(5)]] = []string{"", "1", "x", "X"}[r.IntN(4)]
	}
	return made
}

func (r randomly) constraints() (c Constraints) {
	switch r.IntN(4) {
	case 0:
		c.ContextEquals = r.context(2)
	case 1, 2:
		c.ContextSubset = r.context(2)
	}
	if r.IntN(4) == 0 {
		c.SourceARN = []string{"p", "q"}[r.IntN(2)]
	}
	return c
}

func (r randomly) grant() *Grant {
	g := &Grant{Constraints: r.constraints()}
	for _, operation := range []kms.GrantOperation{"Decrypt", "Encrypt", "CreateGrant", "DescribeKey"} {
		if r.IntN(3) > 0 {
			g.Operations = append(g.Operations, operation)
		}
	}
	return g
}

func (r randomly) request() GrantRequest {
	return GrantRequest{
		Operation: []kms.GrantOperation{"Decrypt", "Encrypt", "DescribeKey", "RetireGrant", "CreateGrant"}[r.IntN(5)],
		Context:   r.context(3),
		SourceARN: []string{"", "p", "q"}[r.IntN(3)],
		New:       r.grant(),
	}
}

// TestChildGrantsNeverWiden: what a grant that was created through another allows, and what those
// allow that are created through it, the other allows too.
func TestChildGrantsNeverWiden(t *testing.T) {
	r := randomly{rand.New(rand.NewPCG(1, 2))}
	covered, allowed := 0, 0
	for range 200_000 {
		parent, child, request := r.grant(), r.grant(), r.request()
		if !parent.Covers(child) {
			continue
		}
		covered++
		if !child.Allows(request) {
			continue
		}
		allowed++
		if !parent.Allows(request) {
			t.Fatalf("%+v covers %+v, which allows %+v", parent, child, request)
		}
		if context, ok := request.Selecting(); ok {
			for _, constraint := range []map[string]string{child.ContextEquals, child.ContextSubset} {
				for key, value := range constraint {
					if !containsFolded(context, key, value) {
						t.Fatalf("%+v allows %+v, which selects by %v", child, request, context)
					}
				}
			}
		}
	}
	if covered < 10_000 || allowed < 1_000 {
		t.Errorf("only %d grants were covered and %d requests allowed", covered, allowed)
	}
}

// TestConstraintsAgainstTheDefinition holds the matching against the words of the API reference,
// spelled out pair by pair.
func TestConstraintsAgainstTheDefinition(t *testing.T) {
	has := func(in context, key, value string) bool {
		for k, v := range in {
			if strings.EqualFold(k, key) && v == value {
				return true
			}
		}
		return false
	}
	includes := func(in, pairs context) bool {
		for k, v := range pairs {
			if !has(in, k, v) {
				return false
			}
		}
		return true
	}
	r := randomly{rand.New(rand.NewPCG(3, 4))}
	matched := 0
	for range 200_000 {
		g := &Grant{Operations: []kms.GrantOperation{"Decrypt"}, Constraints: r.constraints()}
		request := r.request()
		request.Operation = "Decrypt"
		want := includes(request.Context, g.ContextSubset) && (g.SourceARN == "" || g.SourceARN == request.SourceARN)
		if len(g.ContextEquals) > 0 {
			want = want && includes(request.Context, g.ContextEquals) && includes(g.ContextEquals, request.Context) &&
				len(request.Context) == len(g.ContextEquals)
		}
		if got := g.Allows(request); got != want {
			t.Fatalf("%+v allows %+v: %v", g, request, got)
		}
		if want {
			matched++
		}
	}
	if matched < 10_000 {
		t.Errorf("only %d matched", matched)
	}
}

func TestActs(t *testing.T) {
	root := "arn:aws:iam::" + account + ":root"
	allow, err := Parse([]byte(oneStatement(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"`)))
	if err != nil {
		t.Fatal(err)
	}
	deny, err := Parse([]byte(oneStatement(`"Effect":"Deny","Action":"*","Resource":"*"`)))
	if err != nil {
		t.Fatal(err)
	}
	user := Principal{ARN: alice, Account: account}
	for _, c := range []struct {
		name      string
		principal Principal
		named     string
		identity  []*Document
		want      bool
	}{
		{"itself", user, alice, nil, true},
		{"another", user, foreign, []*Document{allow}, false},
		{"nobody", user, "", []*Document{allow}, false},
		{"a service", user, "rds.amazonaws.com", []*Document{allow}, false},
		{"the account, delegated", user, root, []*Document{allow}, true},
		{"the account, not delegated", user, root, nil, false},
		{"the account, denied", user, root, []*Document{allow, deny}, false},
		{"another account", user, "arn:aws:iam::444455556666:root", []*Document{allow}, false},
		{"the root user", Principal{ARN: root, Account: account}, root, nil, true},
	} {
		r := &Request{Principal: c.principal, Action: "kms:Decrypt", Resource: keyARN, Owner: account}
		if got := Acts(r, c.named, Policies{Identity: c.identity}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
