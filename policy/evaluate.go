package policy

import "strings"

// Principal is who asks.
type Principal struct {
	// ARN is arn:aws:iam::111122223333:user/alice, or …:root for the account itself, or
	// arn:aws:sts::111122223333:assumed-role/<role>/<session> for a session of a role.
	ARN     string
	Account string // 12 digits
	// Role is the ARN of the role that a session is of; empty for all others.
	Role string
	// ID is AWS's unique id: AIDA… of a user, AROA…:<session> of a session of a role, the account's
	// of its root user.
	ID string
	// Tags are the principal's tags, a session's own before those of its role.
	Tags map[string]string
	// Service is the service that asks for itself, such as s3.amazonaws.com; empty for all others.
	Service string
}

// IsRoot reports whether the principal is its account's root user.
func (p Principal) IsRoot() bool { return strings.HasSuffix(p.ARN, ":root") }

// Request is what is asked: one action on one resource.
type Request struct {
	Principal Principal
	Action    string // "kms:Encrypt"
	Resource  string // an ARN, or "*" for an action without a resource
	Owner     string // the account that owns the resource
}

// Effect is the outcome of an evaluation, with the part of the policies that decided.
type Effect int

const (
	Allowed Effect = iota
	// DeniedByResource and DeniedByIdentity are explicit denies.
	DeniedByResource
	DeniedByIdentity
	// NoResourceAllow and NoIdentityAllow are implicit denies: that kind of policy would have had
	// to allow the action and does not.
	NoResourceAllow
	NoIdentityAllow
)

// Evaluate decides a request by the key policy (nil for actions without a key) and the caller's
// identity policies, in AWS's order (AWS KMS Developer Guide, "Determining access"): an explicit
// deny anywhere wins; then an allow of the key policy for the principal itself; then, where the
// key policy allows the account, an allow of the principal's identity policies. Without a key the
// identity policies alone decide; the root user of the account needs none.
//
// A statement with a Condition is taken against the caller: a conditional allow does not allow,
// a conditional deny denies.
func Evaluate(r Request, key *Document, identity []*Document) Effect {
	identityAllows := r.Principal.IsRoot()
	for _, d := range identity {
		for i := range d.statements {
			s := &d.statements[i]
			if !s.actions.match(r.Action) || !s.resources.match(r.Resource) {
				continue
			}
			if s.deny {
				return DeniedByIdentity
			}
			identityAllows = identityAllows || !s.hasCondition
		}
	}
	if key == nil {
		return choose(identityAllows, Allowed, NoIdentityAllow)
	}
	var direct, delegated bool
	for i := range key.statements {
		s := &key.statements[i]
		if !s.actions.match(r.Action) || !s.resources.match(r.Resource) {
			continue
		}
		toPrincipal, toAccount := s.principals.match(r.Principal)
		switch {
		case s.deny && (toPrincipal || toAccount):
			return DeniedByResource
		case s.deny || s.hasCondition:
		default:
			direct = direct || toPrincipal
			delegated = delegated || toAccount
		}
	}
	if r.Principal.Account != r.Owner {
		// A foreign account needs both: the key's policy and its own.
		if !direct && !delegated {
			return NoResourceAllow
		}
		return choose(identityAllows, Allowed, NoIdentityAllow)
	}
	switch {
	case direct:
		return Allowed
	case delegated:
		return choose(identityAllows, Allowed, NoIdentityAllow)
	}
	return NoResourceAllow
}

// match reports whether the element names the principal itself, and whether it names its account.
func (p principals) match(who Principal) (toPrincipal, toAccount bool) {
	if !p.present {
		return false, false
	}
	for _, a := range p.arns {
		toPrincipal = toPrincipal || a == who.ARN
		toAccount = toAccount || isRootOf(a, who.Account)
	}
	toPrincipal = toPrincipal || p.any
	if p.negated {
		named := toPrincipal || toAccount
		return !named, !named
	}
	return toPrincipal, toAccount
}

// isRootOf reports whether an ARN is that of an account: arn:<partition>:iam::<account>:root.
func isRootOf(arn, account string) bool {
	rest, root := strings.CutSuffix(arn, ":root")
	rest, of := strings.CutSuffix(rest, account)
	return root && of && strings.HasPrefix(rest, "arn:") && strings.HasSuffix(rest, ":iam::")
}

func choose(condition bool, yes, no Effect) Effect {
	if condition {
		return yes
	}
	return no
}
