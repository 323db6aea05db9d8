package policy

import (
	"slices"
	"strings"

	"github.com/kms11/kms11/kms"
)

// Grant is what a grant allows. It shares what it is made of and is never changed.
type Grant struct {
	Operations []kms.GrantOperation
	Constraints
}

// Constraints bound what a grant allows. Empty ones are no constraint (API reference,
// GrantConstraints).
type Constraints struct {
	ContextEquals map[string]string // the request's encryption context is this one
	ContextSubset map[string]string // the request's encryption context has these pairs
	SourceARN     string            // the resource that a service acts for
}

// GrantRequest is what is asked for with a grant.
type GrantRequest struct {
	Operation kms.GrantOperation
	Context   map[string]string
	SourceARN string // empty unless a service says for which resource it acts
	// New is the grant that is to be created, for the operation CreateGrant only.
	New *Grant
}

// Acts reports whether a request that no policy denies counts as one of the principal whom a grant
// names. As in a key policy, the role of a session stands for it within the bounds of the session
// and of the role, and the root user of an account for whom the account's own policies allow the
// action.
func Acts(r *Request, named string, p Policies) bool {
	p.Resource = nil
	switch r.Principal.reachedBy(named) {
	case toSelf:
		return true
	case toRole:
		var d Decision
		r.spent = 0
		boundary, session := r.bounds(p, &d)
		return d.Effect == Allowed && boundary && session && !r.spent.exhausted()
	case toAccount:
		return Evaluate(r, p).Effect == Allowed
	}
	return false
}

// Allows reports whether the grant allows its grantee a request. The constraint on the encryption
// context does not apply to DescribeKey and RetireGrant, which have none, and no constraint applies
// to RetireGrant (AWS KMS Developer Guide, "Grant constraints"). For CreateGrant the constraints
// must hold for whatever the new grant would allow: see Covers.
func (g *Grant) Allows(r GrantRequest) bool {
	if !slices.Contains(g.Operations, r.Operation) {
		return false
	}
	switch r.Operation {
	case kms.GrantOperationRetireGrant:
		return true
	case kms.GrantOperationDescribeKey:
		return g.SourceARN == "" || g.SourceARN == r.SourceARN
	case kms.GrantOperationCreateGrant:
		return r.New != nil && g.Covers(r.New)
	}
	return g.match(r)
}

// Selecting gives the encryption context of which any constraint of a grant that allows the request
// must be a part, keys apart. It is not ok if constraints do not matter.
func (r GrantRequest) Selecting() (context map[string]string, ok bool) {
	switch r.Operation {
	case kms.GrantOperationRetireGrant, kms.GrantOperationDescribeKey:
		return nil, false
	case kms.GrantOperationCreateGrant:
		if r.New == nil {
			return nil, true
		}
		if len(r.New.ContextEquals) > 0 && len(r.New.ContextSubset) > 0 {
			return nil, false
		}
		if len(r.New.ContextEquals) > 0 {
			return r.New.ContextEquals, true
		}
		return r.New.ContextSubset, true
	}
	return r.Context, true
}

// match reports whether a request meets all constraints.
func (c *Constraints) match(r GrantRequest) bool {
	return (c.SourceARN == "" || c.SourceARN == r.SourceARN) &&
		(len(c.ContextSubset) == 0 || contains(r.Context, c.ContextSubset)) &&
		(len(c.ContextEquals) == 0 || same(r.Context, c.ContextEquals))
}

// Covers reports whether everything that a new grant would allow is allowed by g too: its
// operations are among those of g and its constraints at least as strict (AWS KMS Developer Guide,
// "Granting CreateGrant permission").
func (g *Grant) Covers(child *Grant) bool {
	for _, operation := range child.Operations {
		if !slices.Contains(g.Operations, operation) {
			return false
		}
	}
	return (g.SourceARN == "" || g.SourceARN == child.SourceARN) &&
		(len(g.ContextSubset) == 0 || contains(child.ContextSubset, g.ContextSubset) || contains(child.ContextEquals, g.ContextSubset)) &&
		(len(g.ContextEquals) == 0 || same(child.ContextEquals, g.ContextEquals))
}

// contains reports whether context has all pairs of a constraint. In a constraint the keys of the
// pairs are not case-sensitive, the values are (API reference, GrantConstraints).
func contains(context, pairs map[string]string) bool {
	for key, value := range pairs {
		if v, ok := context[key]; (!ok || v != value) && !containsFolded(context, key, value) {
			return false
		}
	}
	return true
}

func containsFolded(context map[string]string, key, value string) bool {
	for k, v := range context {
		if v == value && strings.EqualFold(k, key) {
			return true
		}
	}
	return false
}

// same reports whether a context has the pairs of a constraint and no others.
func same(context, pairs map[string]string) bool {
	return len(context) == len(pairs) && contains(context, pairs) && contains(pairs, context)
}
