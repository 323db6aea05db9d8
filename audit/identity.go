package audit

import "github.com/kms11/kms11/kms"

// Identity is who did something: CloudTrail's element userIdentity. Empty members are left out.
type Identity struct {
	Type        string // Root, IAMUser, AssumedRole, …; Unknown where nobody was authenticated
	PrincipalID string
	ARN         string
	Account     string
	AccessKeyID string
	UserName    string
	Provider    string // of a web identity: the ARN of its issuer
	InvokedBy   string // a service, or AWS Internal
	// Issuer is the role of a session's context; its zero value is none.
	Issuer Issuer
}

// Issuer is the role that a session is of.
type Issuer struct{ PrincipalID, ARN, Account, UserName string }

// AppendAudit implements Appender.
func (i *Identity) AppendAudit(b []byte) []byte {
	start := len(b)
	b = appendIfAny(b, `,"type":`, i.Type)
	b = appendIfAny(b, `,"principalId":`, i.PrincipalID)
	b = appendIfAny(b, `,"arn":`, i.ARN)
	b = appendIfAny(b, `,"accountId":`, i.Account)
	b = appendIfAny(b, `,"accessKeyId":`, i.AccessKeyID)
	b = appendIfAny(b, `,"userName":`, i.UserName)
	b = appendIfAny(b, `,"identityProvider":`, i.Provider)
	if i.Issuer != (Issuer{}) {
		b = append(b, `,"sessionContext":{"sessionIssuer":{"type":"Role","principalId":`...)
		b = kms.AppendJSON(b, i.Issuer.PrincipalID)
		b = appendText(b, `,"arn":`, i.Issuer.ARN)
		b = appendText(b, `,"accountId":`, i.Issuer.Account)
		b = appendText(b, `,"userName":`, i.Issuer.UserName)
		b = append(b, `},"attributes":{"mfaAuthenticated":"false"}}`...)
	}
	b = appendIfAny(b, `,"invokedBy":`, i.InvokedBy)
	if len(b) == start {
		return append(b, "{}"...)
	}
	b[start] = '{' // in place of the first member's comma
	return append(b, '}')
}

// appendIfAny is appendText for a member that is left out where it is empty.
func appendIfAny(b []byte, member, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(b, member, value)
}
