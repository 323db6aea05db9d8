package ops

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/policy"
)

// A trustRequest is what somebody asks of a role's trust policy.
type trustRequest struct {
	call   *Call  // of who asks; its principal is the provider's for the token of an OpenID Connect issuer
	action string // such as sts:AssumeRole
	// keys are the values of the condition keys that this kind of request has beside the global ones.
	keys map[string][]string
}

// trusts decides whether a role lets the caller take it on, as a key policy decides about a key: the
// trust policy has to name the principal, or its account, whose identity policies have to allow the
// action then; for a caller of another account both have to allow it (IAM User Guide, "Granting a
// user permissions to switch roles").
func (s *Service) trusts(ctx context.Context, role *keystore.RoleRecord, r trustRequest) (bool, error) {
	text, federated, err := trustDocuments(role.Trust)
	if err != nil {
		return false, err
	}
	caller := r.call.Caller
	if caller.Principal.Provider != "" {
		text = federated
	}
	if text == "" {
		return false, nil
	}
	document, err := s.policies.get(text)
	if err != nil {
		return false, err
	}
	q := question{ctx: ctx, service: s, call: r.call, action: r.action, given: make(policy.Fixed, len(r.keys))}
	for name, values := range r.keys {
		q.given[strings.ToLower(name)] = values
	}
	q.Request = policy.Request{
		Principal:  caller.Principal,
		Action:     r.action,
		Resource:   role.ARN,
		Owner:      role.Account,
		Attributes: &q,
	}
	if caller.Principal.Service != "" {
		q.Request.Principal.Account = "" // that of the call is the one it says it acts for
	}
	return policy.Evaluate(&q.Request, caller.policies(document)).Effect == policy.Allowed, nil
}

// trustDocuments gives the text of a trust policy as package policy is to read it, once for
// principals of AWS and services, once for OpenID Connect providers; empty if it has no statement for
// them. The role itself stands for the Resource that a trust policy does not have. An allowing
// statement counts for the principals of its own kind only, so "*" lets no provider's users in; a
// denying one counts for all.
func trustDocuments(trust json.RawMessage) (direct, federated string, err error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(trust, &top); err != nil {
		return "", "", identityErrorf(MalformedPolicyDocument, "Syntax errors in policy.")
	}
	var statements oneOrMany[map[string]json.RawMessage]
	if err := json.Unmarshal(top["Statement"], &statements); err != nil {
		return "", "", identityErrorf(MalformedPolicyDocument, "Syntax errors in policy.")
	}
	var forDirect, forFederated []map[string]json.RawMessage
	for _, s := range statements {
		s["Resource"] = json.RawMessage(`"*"`)
		var effect string
		if json.Unmarshal(s["Effect"], &effect) == nil && effect == "Deny" { // however the text spells it
			forDirect, forFederated = append(forDirect, s), append(forFederated, s)
			continue
		}
		if s["Principal"] == nil {
			forDirect = append(forDirect, s)
			continue
		}
		var byType map[string]json.RawMessage
		if err := json.Unmarshal(s["Principal"], &byType); err != nil { // "*"
			forDirect = append(forDirect, s)
			continue
		}
		if provider := byType["Federated"]; provider != nil {
			forFederated = append(forFederated, withPrincipal(s, map[string]json.RawMessage{"Federated": provider}))
			delete(byType, "Federated")
		}
		if len(byType) > 0 {
			forDirect = append(forDirect, withPrincipal(s, byType))
		}
	}
	if direct, err = trustDocument(top, forDirect); err != nil {
		return "", "", err
	}
	federated, err = trustDocument(top, forFederated)
	return direct, federated, err
}

func withPrincipal(statement map[string]json.RawMessage, byType map[string]json.RawMessage) map[string]json.RawMessage {
	text, _ := json.Marshal(byType) // of JSON values that were read
	changed := make(map[string]json.RawMessage, len(statement))
	for name, value := range statement {
		changed[name] = value
	}
	changed["Principal"] = text
	return changed
}

func trustDocument(top map[string]json.RawMessage, statements []map[string]json.RawMessage) (string, error) {
	if len(statements) == 0 {
		return "", nil
	}
	document := make(map[string]any, len(top))
	for name, value := range top {
		document[name] = value
	}
	document["Statement"] = statements
	text, err := json.Marshal(document)
	if err != nil {
		return "", err
	}
	if _, err := policy.Parse(text); err != nil {
		return "", &IdentityError{Code: MalformedPolicyDocument, Message: "Syntax errors in policy.", Cause: err}
	}
	return string(text), nil
}

// compacted is JSON without the white space between its tokens; text must be valid.
func compacted(text json.RawMessage) []byte {
	var b bytes.Buffer
	_ = json.Compact(&b, text)
	return b.Bytes()
}
