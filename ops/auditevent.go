package ops

import (
	"bytes"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/kms"
)

// fillEvent makes e, which is empty, what the audit trail tells of a call and its outcome. Members of
// requests and answers that no list of kms/gen/overrides.json names are not in it.
func (s *Service) fillEvent(e *audit.Event, call *Call, output kms.Audited, failure error) {
	if call.other != nil {
		s.fillOtherEvent(e, call, "", "")
		return
	}
	s.identify(call)
	// One by one: an event is large to be made elsewhere and copied.
	e.ID, e.RequestID, e.Time = call.EventID, call.RequestID, call.Began
	e.Name, e.Region = call.Operation, call.Region
	e.SourceIP, e.UserAgent, e.TLS = call.Origin.SourceIP, call.Origin.UserAgent, call.Origin.TLS
	e.Parameters, e.Service = call.request, call.service
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
	for i := range call.touched { // the first place first
		if k := &call.touched[i]; k.KeyRecord != nil {
			e.Resources[i] = audit.Resource{Account: k.Account, ARN: k.arn}
		}
	}
}

// auditCode is what CloudTrail calls an error.
func auditCode(code kms.ErrorCode) string {
	if code == kms.AccessDeniedException {
		return "AccessDenied"
	}
	return string(code)
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
