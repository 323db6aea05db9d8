package ops

import (
	"context"
	"time"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// Call is one authenticated request on its way through an operation.
type Call struct {
	RequestID string
	Operation string // set by the table of operations
	Region    string // the Region of the request's signature
	Caller    *Caller
	Origin    Origin
	Via       Via       // which service sent it, and for whom
	EventID   string    // of its audit event
	Began     time.Time // when the request arrived
	Claimed   string    // access key of a request that was not authenticated, as it says

	// used are the keys that count as used if the request, a cryptographic one, succeeds. ReEncrypt
	// has two.
	used [2]*keystore.KeyRecord
	// asked is the question that the policies are asked at the moment; it is here so that asking
	// allocates nothing.
	asked question

	// What follows is for the audit event.
	request    kms.Audited // nil until the request is decoded
	touched    [2]key      // the keys that it found
	details    kms.Audited // of a service event
	told       told
	service    bool   // no request makes it
	happened   bool   // of a service call: it did something
	outboxed   bool   // the event is in the store
	recovering bool   // the event is being made for the store
	other      *other // nil for operations of KMS
}

// begin makes the call one of an operation, with its decoded request.
func (c *Call) begin(ctx context.Context, operation string, request kms.Audited) {
	c.Operation, c.request = operation, request
	c.used, c.touched = [2]*keystore.KeyRecord{}, [2]key{}
	c.asked = question{ctx: ctx, input: request}
}

// touch says that the call is about a key.
func (c *Call) touch(k key) {
	for i := range c.touched {
		if c.touched[i].KeyRecord == nil || c.touched[i].arn == k.arn {
			c.touched[i] = k
			return
		}
	}
}

// uses says that the request's success is a use of a key.
func (c *Call) uses(k key) {
	if c.used[0] == nil {
		c.used[0] = k.KeyRecord
	} else {
		c.used[1] = k.KeyRecord
	}
}

// Origin is where a request came from, as the transport saw it.
type Origin struct {
	SourceIP  string // without the port
	UserAgent string
	Secure    bool // it came through TLS
	TLS       TLS
	// Peer is who is at the other end of a unix socket: "uid:" and a number; empty if that is not known.
	Peer string
	// SourceARN and SourceAccount are the resource and the account for which a service says that it
	// acts. They are what the request says: only a service principal is believed.
	SourceARN, SourceAccount string
}

// source gives what a service says for whom it acts; nothing of all others.
func (c *Call) source() (arn, account string) {
	if c.Via.Principal != "" {
		return c.Via.SourceARN, c.Via.SourceAccount
	}
	if c.Caller.Principal.Service == "" {
		return "", ""
	}
	return c.Origin.SourceARN, c.Origin.SourceAccount
}

// TLS is the protocol of a connection; its zero value is plain HTTP.
type TLS = audit.TLS

// Caller is who sent a request. It is shared between requests and never changed.
type Caller struct {
	Principal policy.Principal
	Policies  []*policy.Document // the identity policies
	// Boundary bounds what Policies allow; nil: nothing does.
	Boundary *policy.Document
	// Session bound what a session may do of what its role may; empty: nothing does.
	Session []*policy.Document
	// AccessKeyID is the access key that signed, for records only; empty in dev mode and for client
	// certificates.
	AccessKeyID string
	// Temporary is what there is to know of the session that temporary credentials are of; nil for all
	// other callers.
	Temporary *Temporary

	written writtenIdentity // see writeIdentity
}

// Temporary is a session of a role with temporary credentials.
type Temporary struct {
	Issued, Expires time.Time
	// SourceIdentity is who stands behind the session and those that it takes on, if that was said.
	SourceIdentity string
	// Transitive are the keys of the session's tags that sessions it takes on inherit.
	Transitive []string
	// Provider is the ARN of the OpenID Connect provider whose token the session was made for, and
	// Subject the token's sub; both empty for a session that AssumeRole made.
	Provider, Subject string
}

// policies are what bears on a request of the caller for a key with a policy; nil: for none.
func (c *Caller) policies(key *policy.Document) policy.Policies {
	return policy.Policies{Resource: key, Identity: c.Policies, Boundary: c.Boundary, Session: c.Session}
}

// RootCaller is the root user of an account.
func RootCaller(partition, account string) *Caller {
	return &Caller{Principal: policy.Principal{ARN: accountARN(partition, account), Account: account, ID: account}}
}
