package policy

// Request is what is asked: one action on one resource. Not for concurrent use: a decision counts its work
// in it.
type Request struct {
	Principal Principal
	Action    string // "kms:Encrypt"
	Resource  string // an ARN, or "*" for an action without a resource
	Owner     string // the account that owns the resource
	// Attributes are the values of condition keys; nil: the request has none.
	Attributes Attributes

	spent work
	value value // of the condition that is looked at: space that needs no allocation
}

func (r *Request) lookup(key *Key, from Kind) Values {
	if r.Attributes == nil {
		return Values{}
	}
	values := r.Attributes.Lookup(key, from)
	r.spent.add(lookingUp + collecting*len(values.many) + values.passed)
	return values
}

// Kind is what a policy is attached to.
type Kind int

const (
	Resource Kind = iota // a key policy, or a role's trust policy
	Identity             // a policy of a user or a role
	Boundary             // a permissions boundary
	Session              // a policy that a session was made with
)

// Policies are those that bear on a request.
type Policies struct {
	Resource *Document   // nil for an action without a resource that has a policy
	Identity []*Document // of who asks
	// Boundary bounds what Identity allows; nil: nothing does.
	Boundary *Document
	// Session bounds what a session may do of what its role may; empty: nothing does.
	Session []*Document
}

// Effect is the outcome of an evaluation, with the part of the policies that decided.
type Effect int

const (
	Allowed Effect = iota
	// An explicit deny in a policy of each kind.
	DeniedByResource
	DeniedByIdentity
	DeniedByBoundary
	DeniedBySession
	// TooCostly: the policies together with the request's values would have taken too much work. Nothing is
	// allowed then, by a grant neither.
	TooCostly
	// Implicit denies: that kind of policy would have had to allow the action and does not.
	NoResourceAllow
	NoIdentityAllow
	NoBoundaryAllow
	NoSessionAllow
)

// Implicit reports whether an effect is a denial only because nothing allows the request: then a
// grant may.
func (e Effect) Implicit() bool { return e >= NoResourceAllow }

// Ref names a statement: the document's place among those of its kind, and the statement's in it.
type Ref struct{ Document, Statement int }

// noRef is no statement, nobody none of any kind. Nothing writes to them.
var (
	noRef  = Ref{-1, -1}
	nobody = [4]Ref{noRef, noRef, noRef, noRef}
)

// Found reports whether there is such a statement.
func (r Ref) Found() bool { return r.Document >= 0 }

// Decision is an effect with the statements that decided.
type Decision struct {
	Effect Effect
	// By has, by Kind, the statements that the effect is due to: the one that denied, or those that
	// allow. An account's root user needs no identity policy.
	By [4]Ref
}

// Evaluate decides a request in AWS's order (IAM User Guide, "Policy evaluation logic"; AWS KMS
// Developer Guide, "Determining access to AWS KMS keys"): an explicit deny in any policy wins. Then
// the resource's policy may allow
//
//   - who asks itself, or everyone: that is enough;
//   - the role that the session is of: the boundary and the session's policies must allow it too;
//   - the account: that hands the decision to the identity policies, and to all that bounds them.
//
// Who is of another account than the resource needs all of these in any case. Without a policy of
// the resource the identity policies and their bounds alone decide. The account's root user needs no
// identity policy; a service has none and is allowed by the resource's policy or not at all.
func Evaluate(r *Request, p Policies) Decision {
	r.spent = 0
	d := r.decide(p)
	if r.spent.exhausted() {
		return Decision{Effect: TooCostly, By: nobody}
	}
	return d
}

func (r *Request) decide(p Policies) Decision {
	d := Decision{By: nobody}
	identity := r.consult(p.Identity, Identity, &d)
	boundary, session := r.bounds(p, &d)
	resource := toNobody
	if p.Resource != nil && d.Effect == Allowed {
		resource = r.read(p.Resource, 0, Resource, toNobody, &d)
	}
	if d.Effect != Allowed {
		return d
	}
	foreign := r.Principal.Account != r.Owner
	switch {
	case p.Resource != nil && resource == toNobody:
		d.Effect = NoResourceAllow
		return d
	case resource == toSelf && (!foreign || r.Principal.Service != ""):
		d.By = [4]Ref{d.By[Resource], noRef, noRef, noRef}
		return d
	case resource == toRole && !foreign:
		d.By[Identity] = noRef
	case identity == toNobody && !r.Principal.IsRoot():
		d.Effect = NoIdentityAllow
		return d
	}
	d.Effect = boundEffect(boundary, session)
	return d
}

// bounds reads what bounds the identity policies.
func (r *Request) bounds(p Policies, d *Decision) (boundary, session bool) {
	boundary, session = true, true
	if p.Boundary != nil && d.Effect == Allowed {
		boundary = r.read(p.Boundary, 0, Boundary, toNobody, d) != toNobody
	}
	if len(p.Session) > 0 && d.Effect == Allowed {
		session = r.consult(p.Session, Session, d) != toNobody
	}
	return boundary, session
}

func boundEffect(boundary, session bool) Effect {
	switch {
	case !boundary:
		return NoBoundaryAllow
	case !session:
		return NoSessionAllow
	}
	return Allowed
}

// consult reads policies of one kind, of which one that allows is enough.
func (r *Request) consult(documents []*Document, kind Kind, d *Decision) reach {
	best := toNobody
	for i, document := range documents {
		if best = r.read(document, i, kind, best, d); d.Effect != Allowed {
			break
		}
	}
	return best
}

// deniedBy are the effects of an explicit deny by kind of policy. Nothing writes to it.
var deniedBy = [...]Effect{Resource: DeniedByResource, Identity: DeniedByIdentity, Boundary: DeniedByBoundary, Session: DeniedBySession}

// read reads one policy: how closely what it allows names who asks, if closer than best, or in d that
// it denies. What could not change the outcome is not evaluated.
func (r *Request) read(document *Document, place int, kind Kind, best reach, d *Decision) reach {
	for i := range document.statements {
		s := &document.statements[i]
		reached := toSelf
		if kind == Resource {
			reached = s.principals.match(&r.Principal, s.deny)
		}
		if reached == toNobody || !s.deny && reached <= best || !s.applies(r, kind) {
			continue
		}
		if s.deny {
			d.Effect, d.By = deniedBy[kind], nobody
			d.By[kind] = Ref{place, i}
			return toNobody
		}
		best = reached
		d.By[kind] = Ref{place, i}
	}
	return best
}

// applies reports whether a statement is about a request, who asks aside.
func (s *statement) applies(r *Request, kind Kind) bool {
	if !s.actions.match(r, kind, r.Action, s.deny) || !s.resources.match(r, kind, r.Resource, s.deny) {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].met(r, kind) {
			return false
		}
	}
	return true
}
