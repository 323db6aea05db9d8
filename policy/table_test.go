package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The decision tables are data: testdata/conditions.json has conditions with the values of a
// request and whether they are met, testdata/decisions.json has sets of policies with requests,
// decisions and what decided. Each group names the page of AWS's documentation whose rules it spells
// out; the cases are ours.

// readTable reads a table strictly, so that a case cannot lose a misspelt member.
func readTable(t *testing.T, name string, into any) {
	t.Helper()
	file, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// effects are the effects by the names that the tables use.
var effects = map[string]Effect{
	"Allowed": Allowed, "DeniedByResource": DeniedByResource, "DeniedByIdentity": DeniedByIdentity, "DeniedByBoundary": DeniedByBoundary,
	"DeniedBySession": DeniedBySession, "NoResourceAllow": NoResourceAllow, "NoIdentityAllow": NoIdentityAllow,
	"NoBoundaryAllow": NoBoundaryAllow, "NoSessionAllow": NoSessionAllow,
}

func fold(values map[string][]string) Fixed {
	folded := Fixed{}
	for key, list := range values {
		folded[strings.ToLower(key)] = list
	}
	return folded
}

// check evaluates and holds effect, what decided, and that Explain sees the same.
func check(t *testing.T, r *Request, p Policies, want Effect, by []string) {
	t.Helper()
	d := Evaluate(r, p)
	var got []string
	for kind, ref := range d.By {
		if ref.Found() {
			name := [...]string{"resource", "identity", "boundary", "session"}[kind]
			got = append(got, fmt.Sprintf("%s %d.%d", name, ref.Document+1, ref.Statement+1))
		}
	}
	if d.Effect != want || !slices.Equal(got, by) {
		t.Errorf("got effect %d by %q, want %d by %q", d.Effect, got, want, by)
	}
	explicit := false
	for _, step := range Explain(r, p) {
		applies := d.By[step.Kind] == (Ref{step.Document, step.Statement})
		if applies && !step.Applies {
			t.Errorf("what decided does not apply: %+v", step)
		}
		if step.Applies != (step.Why == "") {
			t.Errorf("%+v", step)
		}
		explicit = explicit || step.Applies && step.Deny
	}
	if explicit != (d.Effect != Allowed && !d.Effect.Implicit()) {
		t.Errorf("effect %d, but a statement that denies applies: %v", d.Effect, explicit)
	}
}

type conditionCase struct {
	Name      string
	Condition json.RawMessage
	Values    map[string][]string
	Met       bool
	Version   string // of the policy; 2012-10-17 if empty
}

// TestConditionTable runs every case in both directions and in a key policy and an identity policy:
// as the condition of a statement that allows and of one that denies.
func TestConditionTable(t *testing.T) {
	var groups []struct {
		Source string
		Cases  []conditionCase
	}
	readTable(t, "conditions.json", &groups)
	count := 0
	for _, group := range groups {
		for _, c := range group.Cases {
			count++
			t.Run(c.Name, c.run)
		}
	}
	if count < 250 {
		t.Errorf("only %d cases", count)
	}
}

func (c conditionCase) run(t *testing.T) {
	version := `"Version":"2012-10-17",`
	if c.Version == "none" {
		version = ""
	} else if c.Version != "" {
		version = `"Version":"` + c.Version + `",`
	}
	document := func(statements ...string) *Document {
		return mustParse(t, `{`+version+`"Statement":[{`+strings.Join(statements, `},{`)+`}]}`)
	}
	const about = `"Action":"kms:Encrypt","Resource":"*"`
	condition := `,"Condition":` + string(c.Condition)
	everyone, deny, allow := `"Principal":"*",`, `"Effect":"Deny",`, `"Effect":"Allow",`
	r := &Request{Principal: Principal{ARN: alice, Account: account}, Action: "kms:Encrypt", Resource: keyARN, Owner: account, Attributes: fold(c.Values)}

	allows := document(allow + everyone + about + condition)
	denies := document(allow+everyone+about, deny+everyone+about+condition)
	identityAllows := Policies{Resource: mustParse(t, delegating), Identity: []*Document{document(allow + about + condition)}}
	identityDenies := Policies{Resource: mustParse(t, delegating), Identity: []*Document{document(allow + about), document(deny + about + condition)}}
	if c.Met {
		check(t, r, Policies{Resource: allows}, Allowed, []string{"resource 1.1"})
		check(t, r, Policies{Resource: denies}, DeniedByResource, []string{"resource 1.2"})
		check(t, r, identityAllows, Allowed, []string{"resource 1.1", "identity 1.1"})
		check(t, r, identityDenies, DeniedByIdentity, []string{"identity 2.1"})
		return
	}
	check(t, r, Policies{Resource: allows}, NoResourceAllow, nil)
	check(t, r, Policies{Resource: denies}, Allowed, []string{"resource 1.1"})
	check(t, r, identityAllows, NoIdentityAllow, []string{"resource 1.1"})
	check(t, r, identityDenies, Allowed, []string{"resource 1.1", "identity 1.1"})
}

type decisionTable struct {
	Principals map[string]Principal
	Statements map[string]json.RawMessage
	Groups     []struct {
		Source string
		Cases  []decisionCase
	}
}

// decisionCase names principals and statements of its table.
type decisionCase struct {
	Name, Who         string
	Key               []string // nil: the action concerns no key
	Identity, Session [][]string
	Boundary          []string
	Values            map[string][]string
	Action, Resource  string // kms:Encrypt and the key if empty
	Want              string
	By                []string // "identity 2.1": statement 1 of document 2
}

func (table *decisionTable) document(t *testing.T, names []string) *Document {
	t.Helper()
	if names == nil {
		return nil
	}
	var statements []string
	for _, name := range names {
		text, found := table.Statements[name]
		if !found {
			t.Fatalf("no statement %q", name)
		}
		statements = append(statements, string(text))
	}
	return mustParse(t, `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`)
}

func (table *decisionTable) documents(t *testing.T, sets [][]string) (documents []*Document) {
	t.Helper()
	for _, names := range sets {
		documents = append(documents, table.document(t, names))
	}
	return documents
}

// question makes a case's request and policies.
func (table *decisionTable) question(t *testing.T, c decisionCase) (*Request, Policies) {
	t.Helper()
	who, found := table.Principals[c.Who]
	if !found {
		t.Fatalf("no principal %q", c.Who)
	}
	r := &Request{Principal: who, Action: "kms:Encrypt", Resource: keyARN, Owner: account, Attributes: fold(c.Values)}
	if c.Action != "" {
		r.Action = c.Action
	}
	if c.Resource != "" {
		r.Resource, r.Owner = c.Resource, who.Account
	}
	return r, Policies{
		Resource: table.document(t, c.Key), Identity: table.documents(t, c.Identity),
		Boundary: table.document(t, c.Boundary), Session: table.documents(t, c.Session),
	}
}

func TestDecisionTable(t *testing.T) {
	var table decisionTable
	readTable(t, "decisions.json", &table)
	seen, count := map[string]int{}, 0
	for _, group := range table.Groups {
		for _, c := range group.Cases {
			count++
			seen[c.Want]++
			t.Run(c.Name, func(t *testing.T) {
				want, found := effects[c.Want]
				if !found {
					t.Fatalf("no effect %q", c.Want)
				}
				r, p := table.question(t, c)
				check(t, r, p, want, c.By)
				unaffected(t, r, p, want)
			})
		}
	}
	if count < 100 {
		t.Errorf("only %d cases", count)
	}
	for name := range effects {
		if seen[name] == 0 {
			t.Errorf("no case has the effect %s", name)
		}
	}
}

// unaffected holds of a case that a deny of everything in any policy denies it, and that a deny of
// something else changes nothing.
func unaffected(t *testing.T, r *Request, p Policies, want Effect) {
	t.Helper()
	for _, more := range []struct {
		action  string
		changes bool
	}{{"kms:*", true}, {"s3:*", false}} {
		deny := mustParse(t, oneStatement(`"Effect":"Deny","Principal":"*","Action":"`+more.action+`","Resource":"*"`))
		identity := p
		identity.Identity = append(slices.Clone(p.Identity), deny)
		session := p
		if len(p.Session) > 0 {
			session.Session = append(slices.Clone(p.Session), deny)
		}
		key := p
		if p.Resource != nil {
			key.Resource = &Document{statements: slices.Concat(p.Resource.statements, deny.statements)}
		}
		for _, changed := range []Policies{identity, session, key} {
			got := Evaluate(r, changed).Effect
			switch touched := len(changed.Identity) != len(p.Identity) || len(changed.Session) != len(p.Session) || changed.Resource != p.Resource; {
			case !touched:
			case more.changes && (got == Allowed || got.Implicit()):
				t.Errorf("with a deny of everything: effect %d", got)
			case !more.changes && got != want:
				t.Errorf("with a deny of something else: effect %d, want %d", got, want)
			}
		}
	}
}
