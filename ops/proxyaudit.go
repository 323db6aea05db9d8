package ops

import (
	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/kms"
)

// ProxyEvent is what the audit trail tells of a request to the external key store proxy.
type ProxyEvent struct {
	Operation string // Encrypt, Decrypt or GetKeyMetadata
	Prefix    string // of the tenant
	// AccessKeyID signed the request if Authenticated; else the request says so.
	AccessKeyID   string
	Authenticated bool
	Region        string // of the calling KMS
	Request       ProxyRequest
	KMSRequestID  string
	// Key is the external key, nil if it was not found.
	Key *ProxyKey
}

// tenantType is the type of a tenant's identity in events.
const tenantType = "XksTenant"

// Ready says why no request can be served at the moment: there would be no record of it.
func (p *Proxy) Ready() error { return p.service.Auditable() }

// Begin makes the call of a request that has just arrived.
//
// Its event has no request id: the proxy gives none, and the calling KMS's is among the parameters.
func (p *Proxy) Begin(origin Origin) *Call { return p.service.Begin("", origin) }

// Conclude records a request with its outcome, in one record; code is empty for a success. With an
// error the answer must not leave, as for Service.Conclude.
func (p *Proxy) Conclude(call *Call, e *ProxyEvent, code, message string) error {
	if p.service.audit == nil {
		return nil
	}
	call.Operation, call.Region = e.Operation, e.Region
	f := &other{source: audit.SourceXKS, readOnly: true, parameters: e}
	call.other = f
	if e.Authenticated {
		f.identity = &audit.Identity{Type: tenantType, PrincipalID: e.Prefix, Account: p.service.account, AccessKeyID: e.AccessKeyID}
	} else {
		call.Claimed = e.AccessKeyID
	}
	if k, ok := e.kmsKey(); ok {
		f.source, f.resource = audit.SourceKMS, audit.Resource{Account: k.id.Account, ARN: e.Key.record.KeyARN}
		f.recipient, call.Region = k.id.Account, k.id.Region
	}
	return p.service.concludeOther(call, code, message)
}

// kmsKey is the KMS key that the external key stands for, if it stands for one.
func (e *ProxyEvent) kmsKey() (proxiedKey, bool) {
	if e.Key == nil {
		return proxiedKey{}, false
	}
	k, ok := e.Key.behind.(proxiedKey)
	return k, ok
}

// AppendAudit implements audit.Appender: the element requestParameters.
func (e *ProxyEvent) AppendAudit(b []byte) []byte {
	b = append(b, '{')
	start := len(b)
	add := func(name, value string) {
		if value == "" {
			return
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = kms.AppendJSON(b, name)
		b = append(b, ':')
		b = kms.AppendJSON(b, value[:min(len(value), shownText)])
	}
	add("uriPathPrefix", e.Prefix)
	add("externalKeyId", e.Request.Key)
	if e.Key != nil {
		add("object", e.Key.record.Object)
	}
	add("callerRegion", e.Region)
	add("kmsRequestId", e.KMSRequestID)
	add("kmsOperation", e.Request.Operation)
	add("awsPrincipalArn", e.Request.PrincipalARN)
	add("kmsKeyArn", e.Request.KeyARN)
	add("awsSourceVpc", e.Request.SourceVPC)
	add("awsSourceVpce", e.Request.SourceVPCE)
	add("kmsViaService", e.Request.ViaService)
	return append(b, '}')
}
