package policy

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// seeds are the documents of the decision tables; there have to be some.
func seeds(f *testing.F) (documents []string) {
	f.Helper()
	data, err := os.ReadFile("testdata/decisions.json")
	if err != nil {
		f.Fatal(err)
	}
	var table decisionTable
	if err := json.Unmarshal(data, &table); err != nil {
		f.Fatal(err)
	}
	for _, text := range table.Statements {
		documents = append(documents, `{"Version":"2012-10-17","Statement":`+string(text)+`}`)
	}
	if len(documents) < 50 {
		f.Fatalf("only %d seeds", len(documents))
	}
	return append(documents, delegating, benchKey, benchIdentity,
		oneStatement(`"Effect":"Deny","NotPrincipal":"*","NotAction":["a","b?"],"NotResource":"*","Condition":{"Null":{"a":[true,false,"true"]}}`),
		oneStatement(`"Effect":"Allow","Principal":{"AWS":"*","Service":["a","b"]},"Action":"*","Resource":"${aws:username, 'x'}*","Condition":{"ForAnyValue:ArnLikeIfExists":{"aws:SourceArn":"arn:*:${*}:?"}}`))
}

// FuzzParse holds that no document makes Parse fail otherwise than by its error, and that Evaluate and
// Explain agree on every document that it takes.
func FuzzParse(f *testing.F) {
	for _, document := range seeds(f) {
		f.Add(document, "red", "alice")
	}
	f.Fuzz(func(t *testing.T, text, value, name string) {
		d, err := Parse([]byte(text))
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		r := benchRequest()
		r.Attributes = everyKey{value: value, name: name}
		for _, p := range []Policies{{Resource: d}, {Identity: []*Document{d}}, {Resource: d, Identity: []*Document{d}, Boundary: d, Session: []*Document{d}}} {
			denied := false
			allowed := [4]bool{}
			for _, step := range Explain(r, p) {
				denied = denied || step.Applies && step.Deny
				allowed[step.Kind] = allowed[step.Kind] || step.Applies && !step.Deny
			}
			e := Evaluate(r, p).Effect
			if e == TooCostly {
				continue
			}
			if denied != (e != Allowed && !e.Implicit()) {
				t.Fatalf("effect %d, but a deny applies: %v", e, denied)
			}
			if e == Allowed && !allowed[Resource] && !allowed[Identity] {
				t.Fatal("allowed by no statement")
			}
		}
	})
}

// everyKey has a value for every key: one for aws:username, another for all others.
type everyKey struct{ value, name string }

func (e everyKey) Lookup(key *Key, _ Kind) Values {
	switch {
	case key.Name == "aws:username":
		return One(e.name)
	case strings.HasSuffix(key.Name, "s"):
		return Many([]string{e.value, e.name})
	}
	return One(e.value)
}

// FuzzMatches holds the matcher against the definition of wildcards, spelled out.
func FuzzMatches(f *testing.F) {
	for _, seed := range [][2]string{{"a*c", "abbc"}, {"*?*", "€"}, {"kms:*Key*", "kms:GenerateDataKeyPair"}, {"**a?", "aaab"}, {"", ""}, {"?é", "éé"}} {
		f.Add(seed[0], seed[1], true)
		f.Add(seed[0], seed[1], false)
	}
	f.Fuzz(func(t *testing.T, pattern, name string, fold bool) {
		pattern, name = strings.ToValidUTF8(pattern, "x"), strings.ToValidUTF8(name, "y")
		if len(pattern) > 256 || len(name) > 256 { // the definition takes its time
			return
		}
		if fold {
			pattern = asciiLower(pattern)
		}
		want := defined([]rune(pattern), []rune(name), fold)
		if got := matches(compilePattern(pattern, true), name, fold, new(work)); got != want {
			t.Fatalf("matches(%q, %q, %v) = %v", pattern, name, fold, got)
		}
	})
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

// defined is what a wildcard means: * is nothing, or one character and *; ? is one character.
func defined(pattern, name []rune, fold bool) bool {
	if fold {
		name = []rune(asciiLower(string(name)))
	}
	fits := make([]bool, len(name)+1) // what was looked at of the pattern fits so many characters of the name
	fits[0] = true
	for _, c := range pattern {
		longer := make([]bool, len(name)+1)
		for n := range longer {
			switch {
			case c == '*':
				longer[n] = fits[n] || n > 0 && longer[n-1]
			case n > 0:
				longer[n] = fits[n-1] && (c == '?' || c == name[n-1])
			}
		}
		fits = longer
	}
	return fits[len(name)]
}
