package ops

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// The limits of IAM (IAM User Guide, "IAM and AWS STS quotas").
const (
	maxIdentityPolicy     = 10_240 // characters of a policy, white space apart
	maxTrustPolicy        = 4096
	maxIdentityPolicies   = 20 // of a user or role
	maxAccessKeys         = 2
	maxEntityTags         = 50
	defaultSessionSeconds = 3600
	minSessionSeconds     = 900
	maxSessionSeconds     = 43_200
)

// partition is the partition of all principals that are made here.
func (s *Service) partition() string { return kms.PartitionOf(s.region) }

// checkEntity refuses what cannot be a user or a role.
func checkEntity(account, name, path string) error {
	switch {
	case !accountForm.MatchString(account):
		return identityErrorf(ValidationError, "The account id %q is not 12 digits.", account)
	case !entityNameForm.MatchString(name):
		return identityErrorf(ValidationError, "The name %q is not 1 to 64 letters, digits or any of +=,.@_-.", name)
	case !entityPathForm.MatchString(path) || len(path) > maxEntityPath:
		return identityErrorf(ValidationError, "The path %q does not begin and end with a slash, or has more than %d characters.", path, maxEntityPath)
	}
	return nil
}

// checkRole refuses a role that cannot be.
func checkRole(r *keystore.RoleRecord) error {
	if r.MaxSessionSeconds < defaultSessionSeconds || r.MaxSessionSeconds > maxSessionSeconds {
		return identityErrorf(ValidationError, "The maximum session duration is %d to %d seconds.", defaultSessionSeconds, maxSessionSeconds)
	}
	if len(r.Description) > 1000 {
		return identityErrorf(ValidationError, "The description has more than 1000 characters.")
	}
	if err := checkTrust(r.Trust); err != nil {
		return err
	}
	return checkIdentity(&r.Identity)
}

// checkIdentity refuses policies, a boundary or tags that cannot be.
func checkIdentity(i *keystore.Identity) error {
	if len(i.Policies) > maxIdentityPolicies {
		return identityErrorf(LimitExceeded, "There are more than %d policies.", maxIdentityPolicies)
	}
	for _, name := range slices.Sorted(maps.Keys(i.Policies)) {
		if !policyNameForm.MatchString(name) {
			return identityErrorf(ValidationError, "The policy name %q is not 1 to 128 letters, digits or any of +=,.@_-.", name)
		}
		if err := checkIdentityPolicy(i.Policies[name]); err != nil {
			return err
		}
	}
	if i.Boundary != nil {
		if err := checkIdentityPolicy(i.Boundary); err != nil {
			return err
		}
	}
	return checkEntityTags(i.Tags)
}

// statementNames is as much of a policy as the rules for identity and trust policies look at.
type statementNames struct {
	Statement oneOrMany[map[string]json.RawMessage]
}

// checkIdentityPolicy refuses a policy that cannot be an identity policy, a boundary or a session
// policy: each statement has an action and a resource, and none has a principal.
func checkIdentityPolicy(text json.RawMessage) error {
	names, err := parseIdentityPolicy(text, maxIdentityPolicy)
	if err != nil {
		return err
	}
	for _, s := range names.Statement {
		switch {
		case s["Principal"] != nil || s["NotPrincipal"] != nil:
			return identityErrorf(MalformedPolicyDocument, "Policy document should not specify a principal.")
		case s["Action"] == nil && s["NotAction"] == nil:
			return identityErrorf(MalformedPolicyDocument, "Policy statement must contain actions.")
		case s["Resource"] == nil && s["NotResource"] == nil:
			return identityErrorf(MalformedPolicyDocument, "Policy statement must contain resources.")
		}
	}
	return nil
}

// checkTrust refuses a policy that cannot be a role's trust policy.
func checkTrust(text json.RawMessage) error {
	names, err := parseIdentityPolicy(text, maxTrustPolicy)
	if err != nil {
		return err
	}
	for _, s := range names.Statement {
		switch {
		case s["Resource"] != nil || s["NotResource"] != nil:
			return identityErrorf(MalformedPolicyDocument, "Has prohibited field Resource")
		case s["Principal"] == nil && s["NotPrincipal"] == nil:
			return identityErrorf(MalformedPolicyDocument, "Missing required field Principal")
		case s["Action"] == nil && s["NotAction"] == nil:
			return identityErrorf(MalformedPolicyDocument, "Missing required field Action")
		}
		for _, element := range []string{"Principal", "NotPrincipal"} {
			if s[element] == nil {
				continue
			}
			var form principalForm
			if err := json.Unmarshal(s[element], &form); err != nil || form.invalid || form.values == 0 {
				return identityErrorf(MalformedPolicyDocument, "Invalid principal in policy")
			}
		}
	}
	_, _, err = trustDocuments(text)
	return err
}

func parseIdentityPolicy(text json.RawMessage, limit int) (names statementNames, err error) {
	if !json.Valid(text) {
		return names, identityErrorf(MalformedPolicyDocument, "Syntax errors in policy.")
	}
	if _, err := policy.Parse(text); err != nil {
		return names, &IdentityError{Code: MalformedPolicyDocument, Message: "Syntax errors in policy.", Cause: err}
	}
	if err := json.Unmarshal(text, &names); err != nil {
		return names, identityErrorf(MalformedPolicyDocument, "Syntax errors in policy.")
	}
	if n := utf8.RuneCount(compacted(text)); n > limit {
		return names, identityErrorf(LimitExceeded, "The policy has %d characters, white space apart; %d are allowed.", n, limit)
	}
	return names, nil
}

// tagForm is what a tag's key and value are made of (IAM API reference, Tag). Nothing writes to it.
var tagForm = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// checkEntityTags refuses tags that a principal cannot have. Their keys differ in more than case.
func checkEntityTags(tags map[string]string) error {
	if len(tags) > maxEntityTags {
		return identityErrorf(LimitExceeded, "There are more than %d tags.", maxEntityTags)
	}
	folded := make(map[string]bool, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		switch {
		case key == "" || utf8.RuneCountInString(key) > 128 || !tagForm.MatchString(key) || strings.HasPrefix(strings.ToLower(key), "aws:"):
			return identityErrorf(ValidationError, "A tag has the key %q, which no tag can have.", key)
		case utf8.RuneCountInString(value) > 256 || !tagForm.MatchString(value):
			return identityErrorf(ValidationError, "The tag %q has a value that no tag can have.", key)
		case folded[strings.ToLower(key)]:
			return identityErrorf(ValidationError, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		folded[strings.ToLower(key)] = true
	}
	return nil
}
