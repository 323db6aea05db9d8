package audit

import (
	"strconv"

	"github.com/kms11/kms11/kms"
)

// The trail's own records: what it tells of itself. Their source is SourceTrail.
const (
	eventStart    = "StartTrail"    // a process opened the trail
	eventStop     = "StopTrail"     // it closed it in good order
	eventResume   = "ResumeTrail"   // it goes on after it could not be written
	eventTruncate = "TruncateTrail" // a half-written end was moved aside when the trail was opened
	eventMissing  = "MissingTrail"  // when it was opened, it did not reach as far as its last known digest
)

// details are members in their order; a value is a string or a uint64.
type details []struct {
	name  string
	value any
}

// AppendAudit implements Appender.
func (d details) AppendAudit(b []byte) []byte {
	b = append(b, '{')
	for i, member := range d {
		if i > 0 {
			b = append(b, ',')
		}
		b = kms.AppendJSON(b, member.name)
		b = append(b, ':')
		switch value := member.value.(type) {
		case uint64:
			b = strconv.AppendUint(b, value, 10)
		case string:
			b = kms.AppendJSON(b, value)
		default:
			b = append(b, "null"...)
		}
	}
	return append(b, '}')
}

// ownEvent is an event of the trail itself.
func (t *Trail) ownEvent(name string, d details) []byte {
	e := Event{
		ID: kms.NewRequestID(), Time: t.now(), Source: SourceTrail, Name: name, Region: t.c.Region, Service: true,
		Identity:  &Identity{Account: t.c.Account, InvokedBy: internal},
		Recipient: t.c.Account,
	}
	if len(d) > 0 {
		e.Details = d
	}
	return e.Append(nil)
}
