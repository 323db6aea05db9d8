package ops

import (
	"strings"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/policy"
)

// identity tells who made a call, and the account that the event belongs to.
func (s *Service) identity(call *Call) (who audit.Appender, account string) {
	switch c := call.Caller; {
	case call.service:
		account = call.touched[0].Account
		return &audit.Identity{Account: account, InvokedBy: "AWS Internal"}, account
	case c == nil:
		return &audit.Identity{Type: "Unknown"}, s.account
	case c.Principal.Service != "":
		return c.identity(), s.account
	case call.Via.OnBehalf: // the principal did not ask itself: a service says that it did
		i := c.identity()
		i.InvokedBy = call.Via.Principal
		return i, c.Principal.Account
	case c.written.of == c:
		return &c.written, c.Principal.Account
	default:
		return c.identity(), c.Principal.Account
	}
}

// identity is what events tell of a caller by itself.
func (c *Caller) identity() *audit.Identity {
	p := &c.Principal
	if p.Service != "" {
		return &audit.Identity{Type: "AWSService", InvokedBy: p.Service}
	}
	i := &audit.Identity{PrincipalID: p.ID, ARN: p.ARN, Account: p.Account, AccessKeyID: c.AccessKeyID}
	resource := p.ARN[strings.LastIndexByte(p.ARN, ':')+1:]
	kind, name, _ := strings.Cut(resource, "/")
	switch kind {
	case "root":
		i.Type, i.PrincipalID = "Root", p.Account
	case "user":
		i.Type, i.UserName = "IAMUser", name[strings.LastIndexByte(name, '/')+1:]
	case "assumed-role":
		i.Type = "AssumedRole"
		id, _, _ := strings.Cut(p.ID, ":")
		i.Issuer = audit.Issuer{PrincipalID: id, ARN: p.Role, Account: accountOf(p), UserName: p.Role[strings.LastIndexByte(p.Role, '/')+1:]}
	case "federated-user":
		i.Type = "FederatedUser"
	case "role":
		i.Type = "Role"
	default:
		i.Type = "Unknown"
	}
	return i
}

// accountOf is the account of a session's role.
func accountOf(p *policy.Principal) string {
	if parts := strings.SplitN(p.Role, ":", 6); len(parts) == 6 {
		return parts[4]
	}
	return p.Account
}

// writtenIdentity is the identity of a caller in written form. It counts for the caller of which it
// is, and for no copy that has become somebody else.
type writtenIdentity struct {
	of   *Caller
	text []byte
}

// AppendAudit implements audit.Appender.
func (w *writtenIdentity) AppendAudit(b []byte) []byte { return append(b, w.text...) }

// writeIdentity writes down what the events of a caller's requests have in common. It is for callers that are
// kept: from here on nothing of them changes.
func (c *Caller) writeIdentity() {
	c.written = writtenIdentity{of: c, text: c.identity().AppendAudit(nil)}
}
