package policy

import (
	"fmt"
	"strings"
)

// Step is what one statement means for a request.
type Step struct {
	Kind      Kind
	Document  int    // its place among the documents of its kind
	Name      string // of the document
	Statement int
	Sid       string
	Deny      bool
	Applies   bool
	Why       string // why it does not apply
}

// Explain goes through all statements of the policies, as Evaluate does not, and says of each
// whether it applies to the request. It is for people and costs accordingly. A statement that would take
// too much work by itself does not apply.
func Explain(r *Request, p Policies) []Step {
	var steps []Step
	add := func(kind Kind, documents ...*Document) {
		for place, document := range documents {
			for i := range document.statements {
				s := &document.statements[i]
				r.spent = 0
				why := s.objection(r, kind)
				if r.spent.exhausted() {
					why = "it would take too much work to evaluate"
				}
				steps = append(steps, Step{
					Kind: kind, Document: place, Name: document.Name, Statement: i, Sid: s.sid,
					Deny: s.deny, Applies: why == "", Why: why,
				})
			}
		}
	}
	if p.Resource != nil {
		add(Resource, p.Resource)
	}
	add(Identity, p.Identity...)
	if p.Boundary != nil {
		add(Boundary, p.Boundary)
	}
	add(Session, p.Session...)
	return steps
}

// objection says why a statement does not apply to a request; empty if it does.
func (s *statement) objection(r *Request, kind Kind) string {
	switch {
	case kind == Resource && s.principals.match(&r.Principal, s.deny) == toNobody:
		return "it is not about this principal"
	case !s.actions.match(r, kind, r.Action, s.deny):
		return "it is not about this action"
	case !s.resources.match(r, kind, r.Resource, s.deny):
		return "it is not about this resource"
	}
	for i := range s.conditions {
		if c := &s.conditions[i]; !c.met(r, kind) {
			return fmt.Sprintf("the condition %s on %s is not met: the request has %s", c.name, c.key.Text, found(r.lookup(c.key, kind)))
		}
	}
	return ""
}

func found(v Values) string {
	if !v.present {
		return "no such key"
	}
	return `"` + strings.Join(v.All(), `", "`) + `"`
}

// String gives the kind as AWS's messages name it.
func (k Kind) String() string {
	return [...]string{"resource-based policy", "identity-based policy", "permissions boundary", "session policy"}[k]
}
