package ops

import (
	"strings"

	"github.com/kms11/kms11/audit"
)

// What the audit trail shows of the requests and answers of iamActions: members under IAM's names,
// as CloudTrail has them, and never a secret.

// told of each request are its parameters.
func (in *CreateUserRequest) told() jsonMembers {
	return jsonMembers{{"userName", in.Name}, {"path", in.Path}, {"tags", tagMap(in.Tags)}}
}

func (in *DeleteUserRequest) told() jsonMembers {
	return jsonMembers{{"userName", in.Name}, {"force", in.Force}}
}

func (in *CreateRoleRequest) told() jsonMembers {
	return jsonMembers{
		{"roleName", in.Name}, {"path", in.Path}, {"description", in.Description}, {"assumeRolePolicyDocument", shownPolicy(in.Trust)},
		{"maxSessionDuration", in.MaxSessionSeconds}, {"tags", tagMap(in.Tags)},
	}
}

func (in *RoleRequest) told() jsonMembers { return jsonMembers{{"roleName", in.Name}} }

func (in *PutTrustRequest) told() jsonMembers {
	return jsonMembers{{"roleName", in.Name}, {"policyDocument", shownPolicy(in.Trust)}, {"maxSessionDuration", in.MaxSessionSeconds}}
}

func (p *Principal) told() jsonMembers {
	return jsonMembers{{"userName", p.User}, {"roleName", p.Role}}
}

func (in *PutPolicyRequest) told() jsonMembers {
	return append(in.Principal.told(), jsonMember{"policyName", in.Name}, jsonMember{"policyDocument", shownPolicy(in.Policy)})
}

func (in *PolicyRequest) told() jsonMembers {
	return append(in.Principal.told(), jsonMember{"policyName", in.Name})
}

func (in *PutBoundaryRequest) told() jsonMembers {
	return append(in.Principal.told(), jsonMember{"permissionsBoundary", shownPolicy(in.Policy)})
}

func (in *TagRequest) told() jsonMembers {
	return append(in.Principal.told(), jsonMember{"tags", tagMap(in.Tags)})
}

func (in *UntagRequest) told() jsonMembers {
	return append(in.Principal.told(), jsonMember{"tagKeys", in.Keys})
}

func (in *CreateAccessKeyRequest) told() jsonMembers { return jsonMembers{{"userName", in.User}} }

func (in *AccessKeyRequest) told() jsonMembers { return jsonMembers{{"accessKeyId", in.ID}} }

func (in *RotateAccessKeyRequest) told() jsonMembers {
	return jsonMembers{{"accessKeyId", in.ID}, {"deleteOld", in.DeleteOld}}
}

func (in *ListIdentitiesRequest) told() jsonMembers { return jsonMembers{{"accountId", in.Account}} }

func (in *SealAccessKeyRequest) told() jsonMembers { return jsonMembers{{"accessKeyId", in.ID}} }

// kind completes the name of an event about a user or a role.
func (p *Principal) kind() string {
	if p.Role != "" {
		return "Role"
	}
	return "User"
}

// shown of each answer is what the trail tells of it.
func (i PrincipalInfo) shown() jsonMembers {
	kind, prefix := "role", "role"
	if strings.Contains(i.ARN, ":user/") {
		kind, prefix = "user", "user"
	}
	return jsonMembers{{kind, jsonMembers{{prefix + "Name", i.Name}, {prefix + "Id", i.ID}, {"arn", i.ARN}, {"createDate", i.Created}}}}
}

func (k AccessKey) shown() jsonMembers {
	return jsonMembers{{"accessKey", jsonMembers{{"accessKeyId", k.ID}, {"status", "Active"}}}}
}

func (k SealedAccessKey) shown() jsonMembers {
	return jsonMembers{{"accessKey", jsonMembers{{"accessKeyId", k.ID}}}}
}

// concerns adds the user that an access key belongs to, which the request does not name.
func (c *Call) concerns(user string) {
	if c.other == nil {
		return
	}
	if told, ok := c.other.parameters.(jsonMembers); ok && told[0].name != "userName" { // a transaction may run again
		c.other.parameters = append(jsonMembers{{"userName", user}}, told...)
	}
}

// administration is how the trail tells of a request for the action.
func (a *iamAction) administration(in iamRequest) administration {
	told := administration{source: audit.SourceIAM, event: a.event, parameters: in.told()}
	if name, own := strings.CutPrefix(a.event, ownEvent); own {
		told.source, told.event = audit.SourceAdmin, name
	}
	if principal, ok := in.(interface{ kind() string }); ok {
		told.event = strings.Replace(told.event, "*", principal.kind(), 1)
	}
	told.readOnly = strings.HasPrefix(told.event, "List")
	if a.status != "" {
		told.parameters = append(told.parameters, jsonMember{"status", a.status})
	}
	return told
}

// iamRequest is the decoded request of an action.
type iamRequest interface{ told() jsonMembers }

// undecoded is the request of an action that could not be decoded.
type undecoded struct{}

func (undecoded) told() jsonMembers { return nil }

// ownEvent marks the names of events that IAM has no counterpart of.
const ownEvent = "kms11:"
