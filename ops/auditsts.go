package ops

import (
	"strings"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/oidc"
)

// BeginSTS makes the call of a request to STS that has just arrived.
func (s *Service) BeginSTS(requestID string, origin Origin) *Call {
	call := s.Begin(requestID, origin)
	call.other = &other{source: audit.SourceSTS, readOnly: true}
	return call
}

// ConcludeSTS records a request to STS with what its client is told of its failure; code is empty for
// a success. With an error the answer must not leave, as for Conclude.
func (s *Service) ConcludeSTS(call *Call, code, message string) error {
	return s.concludeOther(call, code, message)
}

// told is what the trail shows of the request, as CloudTrail does.
func (in *AssumeRoleRequest) told() jsonMembers {
	var tags []jsonMembers
	for _, tag := range in.Tags {
		tags = append(tags, jsonMembers{{"key", tag.Key}, {"value", tag.Value}})
	}
	return jsonMembers{
		{"roleArn", in.RoleARN}, {"roleSessionName", in.RoleSessionName}, {"durationSeconds", in.DurationSeconds},
		{"externalId", in.ExternalID}, {"policy", shownPolicy(in.Policy)}, {"tags", tags},
		{"transitiveTagKeys", in.TransitiveTagKeys}, {"sourceIdentity", in.SourceIdentity},
	}
}

// told is what the trail shows of the request: not the token, of which it shows what was verified as
// the identity.
func (in *WebIdentityRequest) told() jsonMembers {
	return jsonMembers{
		{"roleArn", in.RoleARN}, {"roleSessionName", in.RoleSessionName}, {"durationSeconds", in.DurationSeconds},
		{"providerId", in.ProviderID}, {"policy", shownPolicy(in.Policy)},
	}
}

// bearer gives the event the bearer of a token that was verified (CloudTrail User Guide, "userIdentity
// element", WebIdentityUser).
func (c *Call) bearer(account, provider string, token *oidc.Token) {
	if c.other == nil {
		return
	}
	c.other.identity = &audit.Identity{
		Type: "WebIdentityUser", PrincipalID: provider + ":" + token.Audience + ":" + token.Subject,
		UserName: token.Subject, Provider: provider,
	}
	c.other.recipient = account
}

// told gives the event the session: neither its secret nor its token.
func (a *AssumedRole) told(call *Call, roleARN string) {
	user := jsonMembers{{"assumedRoleId", a.ID}, {"arn", a.ARN}}
	answer := jsonMembers{
		{"subjectFromWebIdentityToken", a.Subject}, {"assumedRoleUser", user},
		{"credentials", jsonMembers{{"accessKeyId", a.Credentials.ID}, {"expiration", a.Credentials.Expires}}},
		{"provider", a.Provider}, {"audience", a.Audience}, {"packedPolicySize", a.PackedPolicySize}, {"sourceIdentity", a.SourceIdentity},
	}
	call.answer(answer)
	call.about(audit.Resource{Account: strings.Split(roleARN, ":")[4], ARN: roleARN, Type: audit.RoleType})
}
