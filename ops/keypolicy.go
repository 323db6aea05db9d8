package ops

import (
	"context"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// policyName is the name of the one policy that a key has.
const policyName = "default"

// GetKeyPolicy implements the operation GetKeyPolicy. The policy comes back as it was given.
func (s *Service) GetKeyPolicy(ctx context.Context, call *Call, in *kms.GetKeyPolicyRequest) (*kms.GetKeyPolicyResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return nil, err
	}
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	return &kms.GetKeyPolicyResponse{Policy: k.Policy, PolicyName: policyName}, nil
}

// PutKeyPolicy implements the operation PutKeyPolicy.
func (s *Service) PutKeyPolicy(ctx context.Context, call *Call, in *kms.PutKeyPolicyRequest) error {
	_, err := s.changeKey(ctx, call, in.KeyId, func(r *keystore.KeyRecord) error {
		if err := checkPolicyName(in.PolicyName); err != nil {
			return err
		}
		if err := checkKeyPolicy(call, arnOf(r.KeyID()), in.Policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
			return err
		}
		r.Policy = in.Policy
		return nil
	})
	return err
}

// ListKeyPolicies implements the operation ListKeyPolicies: every key has the one policy.
func (s *Service) ListKeyPolicies(ctx context.Context, call *Call, in *kms.ListKeyPoliciesRequest) (*kms.ListKeyPoliciesResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return nil, err
	}
	if _, err := openMarker(call.Operation, in.Marker); err != nil {
		return nil, err
	}
	return &kms.ListKeyPoliciesResponse{PolicyNames: []string{policyName}}, nil
}

func checkPolicyName(name string) error {
	if name != "" && name != policyName {
		return kms.Errorf(kms.NotFoundException, "No such policy exists")
	}
	return nil
}

// newKeyPolicy gives the policy of a key that the caller is about to make, the default one if the
// request has none.
func newKeyPolicy(call *Call, keyARN, text string, bypass bool) (string, error) {
	if text == "" {
		return defaultKeyPolicy(kms.PartitionOf(call.Region), call.Caller.Principal.Account), nil
	}
	return text, checkKeyPolicy(call, keyARN, text, bypass)
}

// checkKeyPolicy refuses a policy for the key of an ARN, which belongs to the caller's account, if
// it is too large or not well-formed, or if the caller could not put another policy in its place
// (AWS KMS Developer Guide, "Changing a key policy"), unless bypass says not to look at that.
// Delegation to the account counts as far as the caller's identity policies allow the rest.
func checkKeyPolicy(call *Call, keyARN, text string, bypass bool) error {
	document, err := parseKeyPolicy(text)
	if err != nil || bypass {
		return err
	}
	request := policy.Request{
		Principal: call.Caller.Principal,
		Action:    "kms:PutKeyPolicy",
		Resource:  keyARN,
		Owner:     call.Caller.Principal.Account,
	}
	if policy.Evaluate(request, document, call.Caller.Policies) != policy.Allowed {
		return malformed("The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}
