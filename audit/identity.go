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

func (i *Identity) append(b []byte) []byte {
	b = append(b, '{')
	start := len(b)
	member := func(name, value string) {
		if value != "" {
			b = appendText(b, name, value)
		}
	}
	member("type", i.Type)
	member("principalId", i.PrincipalID)
	member("arn", i.ARN)
	member("accountId", i.Account)
	member("accessKeyId", i.AccessKeyID)
	member("userName", i.UserName)
	member("identityProvider", i.Provider)
	if i.Issuer != (Issuer{}) {
		b = append(b, `,"sessionContext":{"sessionIssuer":{"type":"Role","principalId":`...)
		b = kms.AppendJSON(b, i.Issuer.PrincipalID)
		b = appendText(b, "arn", i.Issuer.ARN)
		b = appendText(b, "accountId", i.Issuer.Account)
		b = appendText(b, "userName", i.Issuer.UserName)
		b = append(b, `},"attributes":{"mfaAuthenticated":"false"}}`...)
	}
	member("invokedBy", i.InvokedBy)
	if len(b) > start { // the first member's comma
		copy(b[start:], b[start+1:])
		b = b[:len(b)-1]
	}
	return append(b, '}')
}
