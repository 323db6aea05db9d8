package policy

import "strings"

// Principal is who asks.
type Principal struct {
	// ARN is arn:aws:iam::111122223333:user/alice, or …:root for the account itself, or
	// arn:aws:sts::111122223333:assumed-role/<role>/<session> for a session of a role.
	ARN     string
	Account string // 12 digits; empty of a service
	// Role is the ARN of the role that a session is of; empty for all others.
	Role string
	// ID is AWS's unique id: AIDA… of a user, AROA…:<session> of a session of a role, the account's
	// of its root user.
	ID string
	// Tags are the principal's tags, a session's own before those of its role.
	Tags map[string]string
	// Service is the service that asks for itself, such as s3.amazonaws.com; empty for all others.
	Service string
	// Provider is the identity provider that vouches for who asks to assume a role: what Federated
	// names in the role's trust policy. Empty for all others.
	Provider string
}

// IsRoot reports whether the principal is its account's root user.
func (who *Principal) IsRoot() bool { return strings.HasSuffix(who.ARN, ":root") }
