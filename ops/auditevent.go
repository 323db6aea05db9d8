package ops

import (
	"bytes"
	"strings"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// event is what the audit trail tells of a call and its outcome. Members of requests and answers
// that no list of kms/gen/overrides.json names are not in it.
func (s *Service) event(call *Call, output kms.Audited, failure error) audit.Event {
	if call.other != nil {
		return s.otherEvent(call, "", "")
	}
	s.identify(call)
	e := audit.Event{
		ID: call.EventID, RequestID: call.RequestID, Time: call.Began,
		Name: call.Operation, Region: call.Region,
		SourceIP: call.Origin.SourceIP, UserAgent: call.Origin.UserAgent,
		TLS:        call.Origin.TLS,
		Parameters: call.request,
		Service:    call.service,
	}
	if e.Region == "" {
		e.Region = s.region // nobody was authenticated
	}
	operation, _ := kms.OperationByName(call.Operation)
	e.ReadOnly = !operation.Mutates && !call.service
	e.Identity, e.Recipient = s.identity(call)
	if failure != nil {
		known := kms.AsError(failure)
		e.ErrorCode, e.ErrorMessage = auditCode(known.Code), known.Message
	}
	call.told = told{call: call, output: output, failed: failure != nil, fromStore: call.recovering}
	if operation.Mutates || call.service {
		if failure == nil {
			e.Response = (*response)(&call.told)
		}
	}
	if call.told.additional(operation.Mutates) {
		e.Additional = (*additional)(&call.told)
	}
	if call.details != nil {
		e.Details = call.details
	}
	call.resources = call.resources[:0]
	for _, k := range call.touched {
		if k.KeyRecord != nil {
			call.resources = append(call.resources, audit.Resource{Account: k.Account, ARN: k.arn})
		}
	}
	e.Resources = call.resources
	return e
}

// auditCode is what CloudTrail calls an error.
func auditCode(code kms.ErrorCode) string {
	if code == kms.AccessDeniedException {
		return "AccessDenied"
	}
	return string(code)
}

// identity tells who made a call, and the account that the event belongs to.
func (s *Service) identity(call *Call) (audit.Identity, string) {
	switch {
	case call.service:
		account := call.touched[0].Account
		return audit.Identity{Account: account, InvokedBy: "AWS Internal"}, account
	case call.Caller == nil:
		return audit.Identity{Type: "Unknown"}, s.account
	}
	p := &call.Caller.Principal
	i := audit.Identity{PrincipalID: p.ID, ARN: p.ARN, Account: p.Account, AccessKeyID: call.Caller.AccessKeyID}
	if call.Via.OnBehalf { // the principal did not ask itself: a service says that it did
		i.InvokedBy = call.Via.Principal
	}
	if p.Service != "" {
		return audit.Identity{Type: "AWSService", InvokedBy: p.Service}, s.account
	}
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
	return i, p.Account
}

// accountOf is the account of a session's role.
func accountOf(p *policy.Principal) string {
	if parts := strings.SplitN(p.Role, ":", 6); len(parts) == 6 {
		return parts[4]
	}
	return p.Account
}

// told is what an event tells beside the request. It is part of its call, so that telling allocates
// nothing.
type told struct {
	call   *Call
	output kms.Audited
	failed bool
	// fromStore: the event waits in the store, and is copied to the trail by a start after a crash.
	fromStore bool
}

// response is the element responseElements: of a mutation its answer, with the ARN of the key where
// the answer names none (AWS KMS Developer Guide, "Examples of AWS KMS log entries").
type response told

// AppendAudit implements audit.Appender.
func (r *response) AppendAudit(b []byte) []byte {
	start := len(b)
	if r.output != nil {
		b = r.output.AppendAudit(b)
	} else {
		b = append(b, "null"...)
	}
	k := r.call.touched[0]
	if k.KeyRecord == nil || bytes.Contains(b[start:], []byte(`"keyId":`)) {
		return b
	}
	if b[len(b)-1] == '}' {
		b = append(b[:len(b)-1], ',')
	} else {
		b = append(b[:start], '{')
	}
	b = append(b, `"keyId":`...)
	b = kms.AppendJSON(b, k.arn)
	return append(b, '}')
}

// additional is the element additionalEventData: the ids of the key material that was used, the
// access key that somebody claimed to have, and whether the event was copied from the keystore.
type additional told

func (t *told) additional(mutates bool) bool {
	switch {
	case t.call.Claimed != "", t.fromStore:
		return true
	case t.failed || mutates || t.call.service:
		return false
	}
	return t.material() != "" || t.output != nil && shows(t.output)
}

// shows says whether an answer has something for the trail.
func shows(output kms.Audited) bool {
	var few [96]byte
	return string(output.AppendAudit(few[:0])) != "null"
}

// material is the id of the key material that Encrypt used: its answer does not tell.
func (t *told) material() string {
	k := t.call.used[0]
	if t.call.Operation != "Encrypt" || k == nil || k.Spec != kms.KeySpecSymmetricDefault {
		return ""
	}
	if m := k.CurrentMaterial(); m != nil {
		return m.ID
	}
	return ""
}

// AppendAudit implements audit.Appender.
func (a *additional) AppendAudit(b []byte) []byte {
	t := (*told)(a)
	switch {
	case t.fromStore:
		return append(b, `{"copiedFromKeystore":true}`...)
	case t.call.Claimed != "":
		b = append(b, `{"claimedAccessKeyId":`...)
		b = kms.AppendJSON(b, t.call.Claimed)
		return append(b, '}')
	}
	if id := t.material(); id != "" {
		b = append(b, `{"keyMaterialId":`...)
		b = kms.AppendJSON(b, id)
		return append(b, '}')
	}
	return t.output.AppendAudit(b)
}
