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
	form, formErr := s.readKeyPolicy(ctx, kms.PartitionOf(call.Region), in.Policy)
	_, err := s.changeKey(ctx, call, in.KeyId, func(r *keystore.KeyRecord) error {
		if err := checkPolicyName(in.PolicyName); err != nil {
			return err
		}
		if formErr != nil { // not before: who may not put a policy does not learn of principals
			return formErr
		}
		if err := s.checkLockout(call, keyOf(r), form, in.BypassPolicyLockoutSafetyCheck); err != nil {
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
func (s *Service) newKeyPolicy(ctx context.Context, call *Call, k key, text string, bypass bool) (string, error) {
	if text == "" {
		return defaultKeyPolicy(kms.PartitionOf(call.Region), call.Caller.Principal.Account), nil
	}
	document, err := s.readKeyPolicy(ctx, k.Partition, text)
	if err != nil {
		return "", err
	}
	return text, s.checkLockout(call, k, document, bypass)
}

// readKeyPolicy refuses a policy that is too large or not well-formed, or that names principals who
// do not exist: see principalExists.
func (s *Service) readKeyPolicy(ctx context.Context, partition, text string) (*policy.Document, error) {
	document, names, err := parseKeyPolicy(text)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		parts := principalARN.FindStringSubmatch(name)
		if parts == nil || parts[1] != partition {
			continue
		}
		exists, err := s.principalExists(ctx, name)
		if err != nil {
			return nil, err
		}
		if !exists {
			return nil, invalidPrincipals()
		}
	}
	return document, nil
}

// checkLockout refuses a policy for a key of the caller's account under which the caller could not
// put another policy in its place (AWS KMS Developer Guide, "Changing a key policy"), unless bypass
// says not to look at that. Conditions count as they are met by this request, delegation to the
// account as far as the caller's own policies allow the rest.
func (s *Service) checkLockout(call *Call, k key, document *policy.Document, bypass bool) error {
	if bypass {
		return nil
	}
	request := s.ask(call, "PutKeyPolicy", k.arn, k.Account, k)
	if policy.Evaluate(request, call.Caller.policies(document)).Effect != policy.Allowed {
		return malformed("The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}
