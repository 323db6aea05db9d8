package ops

import (
	"bytes"
	"encoding/json"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/policy"
)

// A trustRequest is what somebody asks of a role's trust policy.
type trustRequest struct {
	action string  // such as sts:AssumeRole
	caller *Caller // who asks; its principal is the provider's for the token of an OpenID Connect issuer
	// provider is whether the caller is an OpenID Connect provider: only statements with a Federated
	// principal are about it, and it has no policies of its own.
	provider bool
	// keys are the values of the condition keys that only this kind of request has.
	keys   map[string][]string
	origin Origin
}

// trusts decides whether a role lets the caller take it on, as a key policy decides about a key: the
// trust policy has to name the principal, or its account, whose identity policies have to allow the
// action then; for a caller of another account both have to allow it (IAM User Guide, "Granting a
// user permissions to switch roles").
func (s *Service) trusts(role *keystore.RoleRecord, r trustRequest) (bool, error) {
	direct, federated, err := trustDocuments(role.Trust)
	if err != nil {
		return false, err
	}
	if r.provider {
		direct = federated
	}
	if direct == "" {
		return false, nil
	}
	document, err := s.policies.get(direct)
	if err != nil {
		return false, err
	}
	request := policy.Request{
		Principal: r.caller.Principal,
		Action:    r.action,
		Resource:  role.ARN,
		Owner:     role.Account,
	}
	return policy.Evaluate(request, document, r.caller.Policies) == policy.Allowed, nil
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
		if string(bytes.TrimSpace(s["Effect"])) == `"Deny"` {
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
