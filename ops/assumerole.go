package ops

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// AssumeRoleRequest is the input of STS AssumeRole. An empty string is a member that is not there.
type AssumeRoleRequest struct {
	RoleARN           string
	RoleSessionName   string
	DurationSeconds   int // 0: an hour
	ExternalID        string
	Policy            string // a session policy
	PolicyARNs        bool   // whether managed policies were named: there are none here
	Tags              []SessionTag
	TransitiveTagKeys []string
	SourceIdentity    string
	TokenCode         string // of a multi-factor device: there are none here
}

// SessionTag is a tag of a session.
type SessionTag struct{ Key, Value string }

// AssumedRole is what AssumeRole and AssumeRoleWithWebIdentity give.
type AssumedRole struct {
	Credentials      SessionCredentials
	ARN              string // of the session
	ID               string // of the role, a colon, the session's name
	PackedPolicySize int    // percent of what a token holds; 0: neither policy nor tags
	SourceIdentity   string
	Provider         string // of a web identity: its issuer
	Audience         string // likewise
	Subject          string // likewise
}

// CallerIdentity is what STS GetCallerIdentity gives.
type CallerIdentity struct{ Account, ARN, UserID string }

// GetCallerIdentity says who the caller is. Nobody needs a permission for it.
func (s *Service) GetCallerIdentity(call *Call) CallerIdentity {
	p := call.Caller.Principal
	return CallerIdentity{Account: p.Account, ARN: p.ARN, UserID: p.ID}
}

// AssumeRole makes a session of a role for the caller (STS API reference, AssumeRole). A service that
// acts for somebody gets none: what it does for them would no longer come through the service, as
// conditions on kms:ViaService want it, and would go on after their request.
func (s *Service) AssumeRole(ctx context.Context, call *Call, in *AssumeRoleRequest) (*AssumedRole, error) {
	call.tell(in.told())
	list := slices.Concat(
		roleFaults(in.RoleARN, in.RoleSessionName),
		policyFaults(in.Policy),
		durationFaults(in.DurationSeconds),
		tagFaults(in.Tags, in.TransitiveTagKeys),
		faults(
			stsMember{name: "externalId", value: in.ExternalID, set: in.ExternalID != "", min: 2, max: 1224, pattern: externalID},
			stsMember{name: "sourceIdentity", value: in.SourceIdentity, set: in.SourceIdentity != "", min: 2, max: 64, pattern: roleSession},
		))
	if err := invalid(list); err != nil {
		return nil, err
	}
	id, err := roleOf(in.RoleARN)
	if err != nil {
		return nil, err
	}
	caller := call.Caller
	denied := func(action string) error {
		return identityErrorf(AccessDenied, "User: %s is not authorized to perform: %s on resource: %s", caller.Principal.ARN, action, in.RoleARN)
	}
	switch {
	case call.Via.OnBehalf: // nobody could tell from the session that a service is behind it
		return nil, denied("sts:AssumeRole")
	case caller.Principal.IsRoot():
		return nil, identityErrorf(AccessDenied, "Roles may not be assumed by root accounts.")
	case in.TokenCode != "":
		return nil, identityErrorf(AccessDenied, "MultiFactorAuthentication failed with invalid MFA one time pass code. ")
	case in.PolicyARNs:
		return nil, identityErrorf(ValidationError, "There are no managed policies here: give the session policy as Policy.")
	}
	role, err := s.role(ctx, id)
	if errors.Is(err, keystore.ErrNotFound) || err == nil && role.ARN != in.RoleARN {
		return nil, denied("sts:AssumeRole") // whether a role exists is not told
	}
	if err != nil {
		return nil, err
	}
	content := sessionContent{SourceIdentity: in.SourceIdentity}
	if err := content.tag(in.Tags, in.TransitiveTagKeys, caller); err != nil {
		return nil, err
	}
	if t := caller.Temporary; t != nil && t.SourceIdentity != "" {
		if in.SourceIdentity != "" && in.SourceIdentity != t.SourceIdentity {
			return nil, denied("sts:SetSourceIdentity")
		}
		content.SourceIdentity = t.SourceIdentity
	}
	asked := trustRequest{call: call, keys: assumeKeys(in, &content)}
	for _, action := range content.neededActions() {
		asked.action = action
		ok, err := s.trusts(ctx, role, asked)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, denied(action)
		}
	}
	if caller.Temporary != nil && in.DurationSeconds > defaultSessionSeconds {
		return nil, identityErrorf(ValidationError, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	assumed, err := s.begin(ctx, role, in.RoleSessionName, in.Policy, in.DurationSeconds, content)
	if err != nil {
		return nil, err
	}
	assumed.told(call, role.ARN)
	return assumed, nil
}

// neededActions are what a role's trust policy has to allow for a session to begin. What a session
// inherits counts as what it is given.
func (c *sessionContent) neededActions() []string {
	actions := []string{"sts:AssumeRole"}
	if len(c.Tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if c.SourceIdentity != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	return actions
}

// assumeKeys are the condition keys of AssumeRole (IAM User Guide, "IAM and AWS STS condition context
// keys").
func assumeKeys(in *AssumeRoleRequest, content *sessionContent) map[string][]string {
	keys := map[string][]string{"sts:RoleSessionName": {in.RoleSessionName}}
	if in.ExternalID != "" {
		keys["sts:ExternalId"] = []string{in.ExternalID}
	}
	if content.SourceIdentity != "" {
		keys["sts:SourceIdentity"] = []string{content.SourceIdentity}
	}
	for _, key := range slices.Sorted(maps.Keys(content.Tags)) {
		keys["aws:RequestTag/"+key] = []string{content.Tags[key]}
		keys["aws:TagKeys"] = append(keys["aws:TagKeys"], key)
	}
	if len(content.Transitive) > 0 {
		keys["sts:TransitiveTagKeys"] = slices.Clone(content.Transitive)
	}
	return keys
}

// tag gives a session the tags of its request, and those that it inherits.
func (c *sessionContent) tag(tags []SessionTag, transitive []string, caller *Caller) error {
	c.Tags = make(map[string]string)
	seen := make(map[string]bool)
	for _, tag := range tags {
		folded := strings.ToLower(tag.Key)
		if seen[folded] {
			return identityErrorf(ValidationError, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		if strings.HasPrefix(folded, "aws:") {
			return identityErrorf(ValidationError, "Tag keys beginning with aws: are reserved.")
		}
		seen[folded] = true
		c.Tags[tag.Key] = tag.Value
	}
	for _, key := range transitive {
		if !seen[strings.ToLower(key)] {
			return identityErrorf(ValidationError, "The transitive tag key %s is not the key of a tag of the session.", key)
		}
		c.Transitive = append(c.Transitive, key)
	}
	if caller.Temporary == nil {
		return nil
	}
	for _, key := range caller.Temporary.Transitive {
		if seen[strings.ToLower(key)] {
			return identityErrorf(ValidationError, "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
		for own, value := range caller.Principal.Tags {
			if sameFolded(own, key) {
				c.Tags[own] = value
			}
		}
		c.Transitive = append(c.Transitive, key)
	}
	return nil
}

// begin makes a session of a role that the role's trust policy allows.
func (s *Service) begin(ctx context.Context, role *keystore.RoleRecord, name, policyText string, seconds int, content sessionContent) (*AssumedRole, error) {
	if seconds == 0 {
		seconds = defaultSessionSeconds
	}
	if seconds > role.MaxSessionSeconds {
		return nil, identityErrorf(ValidationError, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	if policyText != "" {
		if err := checkIdentityPolicy([]byte(policyText)); err != nil {
			return nil, err
		}
		content.Policy = string(compacted([]byte(policyText)))
	}
	now := s.now()
	content.Partition, content.Account, content.Role, content.RoleID = role.Partition, role.Account, role.Name, role.ID
	content.Name = name
	content.Issued = now.UnixMilli()
	content.Expires = now.Add(time.Duration(seconds) * time.Second).Truncate(time.Second).UnixMilli()
	credentials, err := s.issue(ctx, content)
	if err != nil {
		return nil, err
	}
	packed := 0
	if content.Policy != "" || len(content.Tags) > 0 {
		packed = max(1, 100*len(credentials.Token)/maxSessionToken)
	}
	return &AssumedRole{
		Credentials:      credentials,
		ARN:              "arn:" + role.Partition + ":sts::" + role.Account + ":assumed-role/" + role.Name + "/" + name,
		ID:               role.ID + ":" + name,
		PackedPolicySize: packed,
		SourceIdentity:   content.SourceIdentity,
	}, nil
}

func roleFaults(roleARN, session string) []string {
	return faults(
		stsMember{name: "roleArn", value: roleARN, set: roleARN != "", required: true, min: 20, max: 2048, pattern: anyText},
		stsMember{name: "roleSessionName", value: session, set: session != "", required: true, min: 2, max: 64, pattern: roleSession},
	)
}

func policyFaults(text string) []string {
	return faults(stsMember{name: "policy", value: text, set: text != "", min: 1, max: 2048, pattern: anyText, hidden: true})
}

// roleOf takes the ARN of a role apart.
func roleOf(arn string) (keystore.RoleID, error) {
	name, ok := parsePrincipal(arn)
	if !ok || name.kind != "role" {
		if _, err := kms.ParseARN(arn); err != nil && !strings.HasPrefix(arn, "arn:") {
			return keystore.RoleID{}, identityErrorf(ValidationError, "%s is invalid", arn)
		}
		return keystore.RoleID{}, identityErrorf(ValidationError, "Request ARN is invalid")
	}
	return keystore.RoleID{Partition: name.partition, Account: name.account, Name: name.name}, nil
}
