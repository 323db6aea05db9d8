package keystore

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

func FuzzOutboxRecord(f *testing.F) { fuzzContent(f, outboxKind, sampleOutbox()) }
func FuzzAuditRecord(f *testing.F)  { fuzzContent(f, auditKind, sampleAudit()) }

func sampleOutbox() *OutboxRecord {
	return &OutboxRecord{EventID: "1234abcd-12ab-4cd5-8ef0-1234567890ab", After: 7, Event: json.RawMessage(`{"eventName":"<CreateKey>"}`)}
}

func sampleAudit() *AuditRecord {
	return &AuditRecord{Created: time.Unix(1_800_000_000, 0), Digest: 3, Hash: "00ff", Sequence: 9,
		Key: kms.Material{ID: "m", Ordinal: 1, Created: time.Unix(1_800_000_000, 0), Wrap: kms.AESKeyWrapPad, DomainKey: 1, Blob: []byte{1}, PublicKey: []byte{2}}}
}

// TestFormatOfAudit pins what docs/formats.md says.
func TestFormatOfAudit(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{sampleOutbox().place().String(), "-/-/-/outbox/1234abcd-12ab-4cd5-8ef0-1234567890ab"},
		{encoded(t, outboxKind, sampleOutbox()), `{"eventId":"1234abcd-12ab-4cd5-8ef0-1234567890ab","after":7,"event":{"eventName":"<CreateKey>"}}`},
		{sampleAudit().place().String(), "-/-/-/audit/trail"},
		{encoded(t, auditKind, sampleAudit()), `{"created":"2027-01-15T08:00:00Z","key":{"id":"m","ordinal":1,"created":"2027-01-15T08:00:00Z",` +
			`"wrap":"RFC5649","domainKey":1,"blob":"AQ==","publicKey":"Ag=="},"digest":3,"hash":"00ff","sequence":9}`},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
	if outboxKind.code != 13 || auditKind.code != 14 {
		t.Errorf("the codes are %d and %d", outboxKind.code, auditKind.code)
	}
}

func TestAuditRecordsThatAreNotWhole(t *testing.T) {
	for name, damage := range map[string]func(*OutboxRecord){
		"no id":     func(r *OutboxRecord) { r.EventID = "" },
		"no event":  func(r *OutboxRecord) { r.Event = nil },
		"no JSON":   func(r *OutboxRecord) { r.Event = json.RawMessage(`{"a":`) },
		"no object": func(r *OutboxRecord) { r.Event = json.RawMessage(`[1]`) },
	} {
		r := sampleOutbox()
		damage(r)
		if _, err := outboxKind.encode(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, damage := range map[string]func(*AuditRecord){
		"no time":       func(r *AuditRecord) { r.Created = time.Time{} },
		"no public key": func(r *AuditRecord) { r.Key.PublicKey = nil },
		"no key":        func(r *AuditRecord) { r.Key.Blob = nil },
	} {
		r := sampleAudit()
		damage(r)
		if _, err := auditKind.encode(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
