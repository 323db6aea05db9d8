package policy

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// principals are a Principal or NotPrincipal element.
type principals struct {
	present bool
	negated bool
	any     bool
	names   []string // ARNs, services and providers; account ids in their ARN form arn:…:iam::<id>:root
}

// reach says how closely an element names who asks. What it allows is bounded accordingly: see
// Evaluate.
type reach int

const (
	toNobody  reach = iota
	toAccount       // its account
	toRole          // the role that its session is of
	toSelf          // itself, or everyone
)

// principalTypes are the kinds of principals in the policy grammar. Nothing writes to it.
var principalTypes = []string{"AWS", "Service", "Federated", "CanonicalUser"}

func parsePrincipals(plain, negated json.RawMessage) (principals, error) {
	p := principals{present: plain != nil || negated != nil, negated: negated != nil}
	if plain != nil && negated != nil {
		return p, malformed("both Principal and NotPrincipal")
	}
	text := plain
	if p.negated {
		text = negated
	}
	if text == nil {
		return p, nil
	}
	if bytes.Equal(bytes.TrimSpace(text), []byte(`"*"`)) {
		p.any = true
		return p, nil
	}
	var byType map[string]json.RawMessage
	if err := strict(text, &byType); err != nil {
		return p, err
	}
	for kind, values := range byType {
		if !slices.Contains(principalTypes, kind) {
			return p, malformed("unknown type of principal")
		}
		list, err := oneOrMany[string](values)
		if err != nil {
			return p, malformed("a principal is a string")
		}
		for _, value := range list {
			switch {
			case kind == "AWS" && value == "*":
				p.any = true
			case kind == "AWS" && isAccountID(value):
				p.names = append(p.names, "arn:aws:iam::"+value+":root")
			case kind == "CanonicalUser": // of S3; nobody who asks has one
			default:
				p.names = append(p.names, value)
			}
		}
	}
	slices.Sort(p.names) // the members of the element have no order
	return p, nil
}

func isAccountID(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// match says how the element of a statement covers who asks. NotPrincipal in a statement that denies
// spares only who is named with role and account: session, role and account of a session, user and
// account of a user. In a statement that allows it leaves out who is named in any of these ways (IAM
// User Guide, "IAM JSON policy elements: NotPrincipal").
func (p *principals) match(who *Principal, deny bool) reach {
	if !p.present {
		return toNobody
	}
	if !p.negated {
		if p.any {
			return toSelf
		}
		best := toNobody
		for _, name := range p.names {
			best = max(best, who.reachedBy(name))
		}
		return best
	}
	if p.any {
		return toNobody
	}
	var account, role, self bool
	for _, name := range p.names {
		switch who.reachedBy(name) {
		case toAccount:
			account = true
		case toRole:
			role = true
		case toSelf:
			self = true
		}
	}
	alone := who.Account == "" || who.IsRoot() // has no account besides itself
	spared := account || role || self
	if deny {
		spared = self && (account || alone) && (role || who.Role == "")
	}
	if spared {
		return toNobody
	}
	return toSelf
}

// reachedBy says how a name of a policy's principal, or of a grant's, names who asks.
func (who *Principal) reachedBy(name string) reach {
	switch {
	case name == "":
		return toNobody
	case name == who.ARN || name == who.Service || name == who.Provider:
		return toSelf
	case name == who.Role:
		return toRole
	case who.Account != "" && isRootOf(name, who.Account):
		if who.IsRoot() {
			return toSelf
		}
		return toAccount
	}
	return toNobody
}

// isRootOf reports whether an ARN is that of an account: arn:<partition>:iam::<account>:root.
func isRootOf(arn, account string) bool {
	rest, root := strings.CutSuffix(arn, ":root")
	rest, of := strings.CutSuffix(rest, account)
	return root && of && strings.HasPrefix(rest, "arn:") && strings.HasSuffix(rest, ":iam::")
}
