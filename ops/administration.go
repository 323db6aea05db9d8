package ops

import (
	"errors"
	"strings"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// administratorType is the type of an administrator's identity in events. CloudTrail has none for
// somebody at the machine.
const administratorType = "Administrator"

// An administration is a command of an administrator at the admin socket, as the audit trail tells of
// it.
type administration struct {
	source     string
	event      string // its name
	readOnly   bool
	parameters jsonMembers
}

// administer runs a command and records it. The answer is withheld where there is no record of it. A
// command that changes the store does so by Service.update with the call that it is given.
func (s *Service) administer(origin Origin, a administration, do func(call *Call) (answer any, err error)) (answer any, err error) {
	call := s.Begin(kms.NewRequestID(), origin)
	call.Operation = a.event
	call.other = &other{
		source: a.source, readOnly: a.readOnly,
		identity: &audit.Identity{Type: administratorType, Account: s.account, PrincipalID: origin.Peer},
	}
	if a.parameters != nil {
		call.other.parameters = a.parameters
	}
	if err = s.Auditable(); err == nil {
		answer, err = do(call)
	}
	code, message := "", ""
	if err != nil {
		code, message = administrationError(err)
	} else if shown, ok := answer.(interface{ shown() jsonMembers }); ok {
		call.answer(shown.shown())
	}
	if unrecorded := s.concludeOther(call, code, message); unrecorded != nil && err == nil {
		return nil, unrecorded
	}
	return answer, err
}

// administrationError is what the trail tells of a command that failed.
func administrationError(err error) (code, message string) {
	var told *IdentityError
	switch {
	case errors.As(err, &told):
		return string(told.Code), told.Message
	case errors.Is(err, keystore.ErrNotFound):
		return string(NoSuchEntity), err.Error()
	case errors.Is(err, ErrProxyConflict):
		return "Conflict", err.Error()
	}
	return "CommandFailed", err.Error()
}

// Administer runs a command of the proxy's administrator under its name and records it. parameters
// are its request as texts that may be shown, by pairs of name and value; one without a value is left
// out.
func (p *Proxy) Administer(origin Origin, event string, parameters [][2]string, do func(call *Call) (any, error)) (any, error) {
	a := administration{source: audit.SourceAdmin, event: event, readOnly: strings.HasPrefix(event, "List"), parameters: jsonMembers{}}
	for _, pair := range parameters {
		a.parameters = append(a.parameters, jsonMember{pair[0], pair[1]})
	}
	return p.service.administer(origin, a, do)
}

// RecordRotation has a command about the keys of a domain done, and records it. Its parameters are those of
// the request, and of its tokens what tells them apart. The keys change later, step by step: only the
// command has an event, which is not in the transaction of the domain's description.
func (s *Service) RecordRotation(origin Origin, event string, r RotationRequest, do func() (any, error)) (any, error) {
	var tokens []string
	for _, text := range r.Tokens {
		tokens = append(tokens, ShownObject(text))
	}
	a := administration{source: audit.SourceAdmin, event: event, parameters: jsonMembers{
		{"region", r.Region}, {"tokens", tokens}, {"fingerprints", r.Fingerprints},
	}}
	return s.administer(origin, a, func(*Call) (any, error) { return do() })
}

// ShownObject is a PKCS #11 URI as a record may show it: without PINs and where to find them. What is
// no such URI is not shown.
func ShownObject(text string) string {
	u, err := plainObject(text)
	if err != nil {
		return ""
	}
	return u
}

// recordIdentities records that the identities directory is taken as it is now.
func (s *Service) recordIdentities(set *identitySet) error {
	if s.audit == nil {
		return nil
	}
	event := audit.Event{
		ID: kms.NewRequestID(), Time: s.now(), Source: audit.SourceAdmin, Name: "LoadIdentities", Region: s.region, Service: true,
		Identity: &audit.Identity{Account: s.account, InvokedBy: "AWS Internal"}, Recipient: s.account,
		Details: jsonMembers{{"users", len(set.users)}, {"roles", len(set.roles)}, {"accessKeys", len(set.keys)}},
	}
	return s.audit.Append(event.Append(nil))
}
