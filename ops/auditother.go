package ops

import (
	"cmp"

	"github.com/kms11/kms11/audit"
)

// other is what the event of a call tells that is no operation of KMS's API: one of STS, of an
// administrator, or of the external key store proxy.
type other struct {
	source     string
	readOnly   bool
	identity   *audit.Identity // of callers that are no principal; nil: the call's Caller
	recipient  string          // the account that the event belongs to; "": the caller's, or the default one
	parameters audit.Appender
	response   audit.Appender // if the call succeeds; nil: nothing to tell
	additional audit.Appender
	resource   audit.Resource // its zero value: none
}

// tell gives the event of a call of another API its request. It does nothing for calls without an event.
func (c *Call) tell(parameters jsonMembers) {
	if c.other != nil {
		c.other.parameters = parameters
	}
}

// answer gives the event of a call of another API its answer.
func (c *Call) answer(response jsonMembers) {
	if c.other != nil {
		c.other.response = response
	}
}

// about says which resource a call of another API is about.
func (c *Call) about(resource audit.Resource) {
	if c.other != nil {
		c.other.resource = resource
	}
}

// belongs says which account a call of another API is about.
func (c *Call) belongs(account string) {
	if c.other != nil {
		c.other.recipient = account
	}
}

// anonymous says that nobody was authenticated.
func (c *Call) anonymous() bool {
	return c.Caller == nil && !c.service && (c.other == nil || c.other.identity == nil)
}

// fillOtherEvent is fillEvent for a call of another API. code is empty for a success.
func (s *Service) fillOtherEvent(e *audit.Event, call *Call, code, message string) {
	s.identify(call)
	f := call.other
	*e = audit.Event{
		ID: call.EventID, RequestID: call.RequestID, Time: call.Began,
		Source: f.source, Name: call.Operation, Region: cmp.Or(call.Region, s.region),
		SourceIP: call.Origin.SourceIP, UserAgent: call.Origin.UserAgent, TLS: call.Origin.TLS,
		ErrorCode: code, ErrorMessage: message,
		Parameters: f.parameters, Additional: f.additional, Resources: [2]audit.Resource{f.resource},
		ReadOnly: f.readOnly,
	}
	if code == "" {
		e.Response = f.response
	}
	switch {
	case call.recovering:
		e.Additional = jsonMembers{{"copiedFromKeystore", true}}
	case call.Claimed != "":
		e.Additional = jsonMembers{{"claimedAccessKeyId", call.Claimed}}
	}
	if f.identity != nil {
		e.Identity, e.Recipient = f.identity, s.account
	} else {
		e.Identity, e.Recipient = s.identity(call)
	}
	e.Recipient = cmp.Or(f.recipient, e.Recipient)
}

// concludeOther records a call of another API with its outcome, as Conclude does others.
func (s *Service) concludeOther(call *Call, code, message string) error {
	if s.audit == nil {
		return nil
	}
	if call.anonymous() && !s.unidentified.admit(call.Origin.SourceIP) {
		return s.Auditable()
	}
	var event audit.Event
	s.fillOtherEvent(&event, call, code, message)
	return s.record(call, &event)
}
