package audit

import (
	"time"

	"github.com/kms11/kms11/kms"
)

// Event is one thing that happened, as the trail tells of it. The JSON members are those of a
// CloudTrail record (CloudTrail User Guide, "CloudTrail record contents", version 1.11), in its
// order.
type Event struct {
	ID     string // a UUID, unique among all events
	Time   time.Time
	Source string // KMS if empty
	Name   string // of the operation, or of what the service did
	Region string

	Identity  Appender // as an Identity writes itself; nil: as an empty one
	SourceIP  string
	UserAgent string

	ErrorCode    string // empty for success
	ErrorMessage string

	Parameters Appender // of the request; nil is null
	Response   Appender // nil is null
	Additional Appender // additionalEventData; nil is none
	Details    Appender // serviceEventDetails; nil is none

	RequestID string
	ReadOnly  bool
	Resources [2]Resource // what comes first; zero values are none
	// Service says that no request caused the event.
	Service bool
	// Recipient is the account that the event belongs to.
	Recipient string
	TLS       TLS
}

// Appender is a part of an event that writes itself: it appends one JSON value.
type Appender = kms.Audited

// Resource is what an event touched: a KMS key if Type is empty.
type Resource struct{ Account, ARN, Type string }

// TLS is how a request came; its zero value is plain HTTP.
type TLS struct{ Version, CipherSuite, Host string }

// The sources of events: the service whose API was called, or the part of kms11 that has no counterpart
// at AWS.
const (
	SourceKMS   = "kms.amazonaws.com"
	SourceSTS   = "sts.amazonaws.com"
	SourceIAM   = "iam.amazonaws.com"
	SourceTrail = "audit.kms11" // what the trail tells of itself
	SourceAdmin = "admin.kms11" // what an administrator does that IAM has no name for
	SourceXKS   = "xks.kms11"   // uses of external keys that are no KMS keys
)

const (
	eventVersion = "1.11"
	keyType      = "AWS::KMS::Key"
	// RoleType is the type of the resource of AssumeRole.
	RoleType = "AWS::IAM::Role"
	// internal is what CloudTrail calls the origin of service events.
	internal = "AWS Internal"
)

// Bounds of members, in bytes: CloudTrail's own. What is longer is cut, or left out and said to be.
const (
	maxText  = 1 << 10
	maxValue = 100 << 10
)

// Append appends the event as one JSON object without a line break. It allocates only to make room
// in b.
func (e *Event) Append(b []byte) []byte {
	b = append(b, `{"eventVersion":"`+eventVersion+`","userIdentity":`...)
	if e.Identity == nil {
		b = append(b, "{}"...)
	} else {
		b = e.Identity.AppendAudit(b)
	}
	b = append(b, `,"eventTime":"`...)
	b = e.Time.UTC().AppendFormat(b, time.RFC3339)
	b = append(b, `","eventSource":`...)
	if e.Source == "" {
		b = append(b, `"`+SourceKMS+`"`...)
	} else {
		b = kms.AppendJSON(b, e.Source)
	}
	b = appendText(b, `,"eventName":`, e.Name)
	b = appendText(b, `,"awsRegion":`, e.Region)
	b = appendText(b, `,"sourceIPAddress":`, e.from(e.SourceIP))
	b = appendText(b, `,"userAgent":`, e.from(e.UserAgent))
	if e.ErrorCode != "" {
		b = appendText(b, `,"errorCode":`, e.ErrorCode)
		if e.ErrorMessage != "" {
			b = appendText(b, `,"errorMessage":`, e.ErrorMessage)
		}
	}
	b = appendValue(b, `,"requestParameters":`, e.Parameters)
	b = appendValue(b, `,"responseElements":`, e.Response)
	if e.Additional != nil {
		b = appendValue(b, `,"additionalEventData":`, e.Additional)
	}
	if e.RequestID != "" {
		b = appendText(b, `,"requestID":`, e.RequestID)
	}
	b = appendText(b, `,"eventID":`, e.ID)
	if e.ReadOnly {
		b = append(b, `,"readOnly":true`...)
	} else {
		b = append(b, `,"readOnly":false`...)
	}
	b = e.appendResources(b)
	if e.Service {
		b = appendText(b, `,"eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":`, e.Recipient)
	} else {
		b = appendText(b, `,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":`, e.Recipient)
	}
	if e.Details != nil {
		b = appendValue(b, `,"serviceEventDetails":`, e.Details)
	}
	b = append(b, `,"eventCategory":"Management"`...)
	if e.TLS.Version != "" {
		b = append(b, `,"tlsDetails":{"tlsVersion":`...)
		b = kms.AppendJSON(b, e.TLS.Version)
		b = appendText(b, `,"cipherSuite":`, e.TLS.CipherSuite)
		b = appendText(b, `,"clientProvidedHostHeader":`, e.TLS.Host)
		b = append(b, '}')
	}
	return append(b, '}')
}

// from is where an event came from: service events come from within.
func (e *Event) from(origin string) string {
	if e.Service && origin == "" {
		return internal
	}
	return origin
}

func (e *Event) appendResources(b []byte) []byte {
	if e.Resources[0] == (Resource{}) {
		return b
	}
	for i := range e.Resources {
		if i == 0 {
			b = append(b, `,"resources":[{"accountId":`...)
		} else if e.Resources[i] != (Resource{}) {
			b = append(b, `,{"accountId":`...)
		} else {
			break
		}
		b = kms.AppendJSON(b, e.Resources[i].Account)
		if kind := e.Resources[i].Type; kind == "" {
			b = append(b, `,"type":"`+keyType+`","ARN":`...)
		} else {
			b = appendText(b, `,"type":`, kind)
			b = append(b, `,"ARN":`...)
		}
		b = kms.AppendJSON(b, e.Resources[i].ARN)
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendText appends a member, which is a comma, its name and a colon, with a text that is cut to maxText.
func appendText(b []byte, member, value string) []byte {
	return kms.AppendJSON(append(b, member...), value[:min(len(value), maxText)])
}

// appendValue appends a member by its value, or the word that it is too long.
func appendValue(b []byte, member string, value Appender) []byte {
	b = append(b, member...)
	if value == nil {
		return append(b, "null"...)
	}
	start := len(b)
	if b = value.AppendAudit(b); len(b)-start > maxValue {
		b = append(b[:start], `{"omitted":"more than 100 KB"}`...)
	}
	return b
}
