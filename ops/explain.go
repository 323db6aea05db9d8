package ops

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// ExplainRequest asks what the policies would say of a request that nobody sends.
type ExplainRequest struct {
	Principal string `json:"principal"` // ARN of a user or of an account's root user
	Action    string `json:"action"`    // such as kms:Encrypt
	// Key is a key id, a key ARN or an alias; empty for an action without a key, such as
	// kms:ListKeys.
	Key    string `json:"key,omitempty"`
	Region string `json:"region,omitempty"` // the default one if empty
	// Context is the encryption context.
	Context map[string]string `json:"context,omitempty"`
	// Conditions are the values of condition keys by name. What they do not say of the request's
	// parameters and of its transport is taken to be absent; what is known of principal and key is
	// taken from the store.
	Conditions map[string][]string `json:"conditions,omitempty"`
}

// Explanation is the answer to an ExplainRequest.
type Explanation struct {
	Allowed bool `json:"allowed"`
	// Reason is AWS's text for a denial, or what allows the request.
	Reason string `json:"reason"`
	// Decided names the statements that decided, or the grant.
	Decided []string `json:"decided"`
	// Statements are all statements that were looked at.
	Statements []ExplainedStatement `json:"statements"`
}

// ExplainedStatement is what one statement means for the request.
type ExplainedStatement struct {
	Name    string `json:"name"` // the policy and the statement
	Effect  string `json:"effect"`
	Applies bool   `json:"applies"`
	Why     string `json:"why,omitempty"` // why it does not apply
}

// Explain says what the policies, and the grants on the key, decide of a request and why. It is for
// the administrator: the answer shows policies whoever may not read them.
func (s *Service) Explain(ctx context.Context, in ExplainRequest) (*Explanation, error) {
	caller, err := s.principalNamed(ctx, in.Principal)
	if err != nil {
		return nil, err
	}
	action, known := s.knownAction(in.Action)
	if !known {
		return nil, kms.Errorf(kms.ValidationException, "%s is no action of KMS, such as kms:Encrypt.", in.Action)
	}
	call := &Call{Region: in.Region, Caller: caller}
	if call.Region == "" {
		call.Region = s.region
	}
	call.begin(ctx, action, nil)
	call.asked.input = &hypothetical{context: in.Context}
	call.asked.given = make(policy.Fixed, len(in.Conditions))
	for name, values := range in.Conditions {
		call.asked.given[strings.ToLower(name)] = values
	}
	if in.Key == "" {
		request := s.ask(call, action, "*", caller.Principal.Account, key{})
		return explain(request, caller.policies(nil), policy.Evaluate(request, caller.policies(nil)).Effect, nil), nil
	}
	k, err := s.keyNamed(ctx, call, in.Key)
	if err != nil {
		return nil, err
	}
	request, decision, err := s.evaluate(call, action, k)
	if err != nil {
		return nil, err
	}
	var grant *keystore.GrantRecord
	if decision.Effect.Implicit() && action != "CreateGrant" { // whose grant to be is not known
		if grant, err = s.granted(ctx, call, k, nil, request, policy.GrantRequest{Operation: kms.GrantOperation(action), Context: in.Context}); err != nil {
			return nil, err
		}
	}
	document, err := s.policies.get(k.Policy)
	if err != nil {
		return nil, err
	}
	return explain(request, caller.policies(document), decision.Effect, grant), nil
}

// keyNamed finds a key for an administrator, by whatever names it, in the account of the principal
// asked about unless an ARN says another.
func (s *Service) keyNamed(ctx context.Context, call *Call, name string) (key, error) {
	ref, err := kms.ParseKeyID(name)
	if err != nil {
		return key{}, err
	}
	arn, err := ref.Resolve(call.Region, call.Caller.Principal.Account)
	if err != nil {
		return key{}, err
	}
	call.asked.named(call.Operation, ref.Alias)
	if ref.Alias != "" {
		record, err := s.store.KeyByAlias(ctx, aliasID(arn))
		if errors.Is(err, keystore.ErrNotFound) {
			err = kms.NoSuchAlias(arn)
		}
		if err != nil {
			return key{}, err
		}
		return keyOf(s.present(record)), nil
	}
	record, err := s.store.Key(ctx, keystore.KeyID{Partition: arn.Partition, Account: arn.Account, Region: arn.Region, ID: ref.KeyID})
	if errors.Is(err, keystore.ErrNotFound) {
		err = kms.NoSuchKey(arn)
	}
	if err != nil {
		return key{}, err
	}
	return keyOf(s.present(record)), nil
}

// explain puts a decision into words.
func explain(r *policy.Request, p policy.Policies, effect policy.Effect, grant *keystore.GrantRecord) *Explanation {
	out := &Explanation{Allowed: effect == policy.Allowed || grant != nil, Decided: []string{}, Statements: []ExplainedStatement{}}
	decision := policy.Evaluate(r, p)
	for _, step := range policy.Explain(r, p) {
		name := statementName(step)
		if decision.By[step.Kind] == (policy.Ref{Document: step.Document, Statement: step.Statement}) && grant == nil {
			out.Decided = append(out.Decided, name)
		}
		effect := "Allow"
		if step.Deny {
			effect = "Deny"
		}
		out.Statements = append(out.Statements, ExplainedStatement{Name: name, Effect: effect, Applies: step.Applies, Why: step.Why})
	}
	switch err := denial(r, effect); {
	case grant != nil:
		out.Reason = "a grant on the key allows it"
		out.Decided = append(out.Decided, "grant "+grant.ID)
	case err != nil:
		out.Reason = kms.AsError(err).Message
	case len(out.Decided) == 0:
		out.Reason = "the root user of an account needs no identity-based policy"
	default:
		out.Reason = "the policies allow it"
	}
	return out
}

// statementName names a statement for people: "identity-based policy administrator, statement 2
// (AllowUse)". Statements are counted from 1.
func statementName(step policy.Step) string {
	name := step.Kind.String()
	if step.Kind == policy.Resource {
		name = "key policy"
	}
	if step.Name != "" {
		name += " " + step.Name
	}
	name += ", statement " + strconv.Itoa(step.Statement+1)
	if step.Sid != "" {
		name += " (" + step.Sid + ")"
	}
	return name
}
