package ops

import (
	"cmp"
	"fmt"
	"sync"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// authorizeKey decides whether the caller may do the call's operation on a key.
func (s *Service) authorizeKey(call *Call, k key) error {
	request, decision, err := s.evaluate(call, call.Operation, k)
	if err != nil {
		return err
	}
	return denial(request, decision.Effect)
}

// authorizeKeyIn is authorizeKey in a transaction, beside which the store must not be read.
func (s *Service) authorizeKeyIn(tx *keystore.Tx, call *Call, k key) error {
	call.asked.tx = tx
	defer func() { call.asked.tx = nil }()
	return s.authorizeKey(call, k)
}

// evaluate asks the policies about an action of the caller on a key. The request is the call's own
// and good until the next one is asked about.
func (s *Service) evaluate(call *Call, action string, k key) (*policy.Request, policy.Decision, error) {
	request := s.ask(call, action, k.arn, k.Account, k)
	document, err := s.policies.get(k.Policy)
	if err != nil {
		return request, policy.Decision{Effect: policy.NoResourceAllow}, err
	}
	decision := policy.Evaluate(request, call.Caller.policies(document))
	if explicit := decision.Effect != policy.Allowed && !decision.Effect.Implicit(); explicit && !opens(request, document) {
		// Another account must not learn by a deny of its own that the key exists.
		decision.Effect = policy.DeniedByResource
	}
	return request, decision, nil
}

// opens says whether a key is of the caller's account or its policy lets the caller's account in.
func opens(r *policy.Request, document *policy.Document) bool {
	if r.Principal.Account == r.Owner {
		return true
	}
	effect := policy.Evaluate(r, policy.Policies{Resource: document}).Effect
	return effect == policy.Allowed || effect == policy.NoIdentityAllow
}

// authorizeAccount decides an operation that concerns no key (AWS: "Resource": "*").
func (s *Service) authorizeAccount(call *Call) error {
	return s.authorizeByIdentity(call, call.Operation, "*", call.Caller.Principal.Account, key{})
}

// authorizeByIdentity decides an action on something that has no policy of its own. The key is what
// conditions see, if there is one.
func (s *Service) authorizeByIdentity(call *Call, action, resource, owner string, k key) error {
	request := s.ask(call, action, resource, owner, k)
	return denial(request, policy.Evaluate(request, call.Caller.policies(nil)).Effect)
}

// authorizeMaking is authorizeByIdentity for an action on a key that is about to be made, which a text
// cannot name.
func (s *Service) authorizeMaking(call *Call, action string, k key) error {
	request := s.ask(call, action, k.arn, k.Account, k)
	effect := policy.Evaluate(request, call.Caller.policies(nil)).Effect
	if effect == policy.Allowed {
		return nil
	}
	return kms.Errorf(kms.AccessDeniedException, "User: %s is not authorized to perform: %s %s",
		request.Principal.ARN, request.Action, why(request, effect))
}

// denials say why an effect denies, as AWS does (IAM User Guide, "Troubleshoot access denied error
// messages"). Nothing writes to it.
var denials = map[policy.Effect]string{
	policy.DeniedByResource: "with an explicit deny in a resource-based policy",
	policy.DeniedByIdentity: "with an explicit deny in an identity-based policy",
	policy.DeniedByBoundary: "with an explicit deny in a permissions boundary",
	policy.DeniedBySession:  "with an explicit deny in a session policy",
	policy.TooCostly:        "because the policies that apply take too much work to evaluate for this request", // kms11's own
	policy.NoResourceAllow:  "because no resource-based policy allows the %s action",
	policy.NoIdentityAllow:  "because no identity-based policy allows the %s action",
	policy.NoBoundaryAllow:  "because no permissions boundary allows the %s action",
	policy.NoSessionAllow:   "because no session policy allows the %s action",
}

// why is the end of a text: what denies or does not allow the action.
func why(r *policy.Request, effect policy.Effect) string {
	if effect.Implicit() {
		return fmt.Sprintf(denials[effect], r.Action)
	}
	return denials[effect]
}

// denial gives AWS's text for a decision. To another account a key whose policy does not let it in
// looks like one that does not exist.
func denial(r *policy.Request, effect policy.Effect) error { return denialOn(r, effect, "") }

// denialOn is denial with other words for the resource, if there are any, than its name.
func denialOn(r *policy.Request, effect policy.Effect, words string) error {
	switch {
	case effect == policy.Allowed:
		return nil
	case r.Principal.Account != r.Owner && (effect == policy.DeniedByResource || effect == policy.NoResourceAllow):
		return unseenOn(r.Principal, r.Action, cmp.Or(words, thisResource))
	}
	return kms.Errorf(kms.AccessDeniedException, "User: %s is not authorized to perform: %s on %s %s",
		r.Principal.ARN, r.Action, cmp.Or(words, "resource: "+r.Resource), why(r, effect))
}

// policyCache keeps compiled policies by their text: most keys of an account share the default
// policy.
type policyCache struct {
	mu       sync.RWMutex
	compiled map[string]*policy.Document
	size     int // in bytes
}

// policyCacheBound is how many bytes different policies may take, compiled and with their texts. AWS's
// default policy takes about 1,000; a text can take 80 times its length compiled, if it has many small
// values.
const policyCacheBound = 64 << 20

func (c *policyCache) get(text string) (*policy.Document, error) {
	c.mu.RLock()
	document, ok := c.compiled[text]
	c.mu.RUnlock()
	if ok {
		return document, nil
	}
	document, err := policy.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("ops: stored policy: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.compiled[text]; known {
		return document, nil
	}
	size := len(text) + document.Memory()
	if c.compiled == nil || c.size+size > policyCacheBound {
		c.compiled, c.size = make(map[string]*policy.Document), 0
	}
	c.compiled[text] = document
	c.size += size
	return document, nil
}

// defaultKeyPolicy is the policy of a key created without one, as GetKeyPolicy returns it (AWS
// KMS Developer Guide, "Default key policy").
func defaultKeyPolicy(partition, account string) string {
	return `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:` + partition + `:iam::` + account + `:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`
}
