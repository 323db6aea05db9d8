package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
)

// OutboxRecord is the audit event of a mutation, written in the mutation's own transaction. It is
// removed once the event is in the audit trail, so that after any crash neither exists without the
// other.
type OutboxRecord struct {
	// EventID is the event's, and unique: copying an event to the trail twice can be told by it.
	EventID string `json:"eventId"`
	// After is the number of the trail's last record before the event: it can only be behind it.
	After uint64 `json:"after,omitempty"`
	// Event is the event as the trail would have it if the request had ended right after its
	// transaction.
	Event json.RawMessage `json:"event"`
}

func outboxPlace(eventID string) engineKey { return engineKey{kind: "outbox", id: eventID} }

func (r *OutboxRecord) place() engineKey { return outboxPlace(r.EventID) }

func (r *OutboxRecord) prepare() (*OutboxRecord, error) {
	if r.EventID == "" || strings.ContainsAny(r.EventID, ",;") {
		return nil, errors.New("the event of an outbox record has no id")
	}
	if !json.Valid(r.Event) || r.Event[0] != '{' {
		return nil, errors.New("the event of an outbox record is not a JSON object")
	}
	return r, nil
}

// PutOutbox writes an outbox record, whether or not there is one of the event.
func (tx *Tx) PutOutbox(r *OutboxRecord) error { return put(tx, outboxKind, r) }

// DeleteOutbox removes the outbox record of an event, ErrNotFound if there is none.
func (tx *Tx) DeleteOutbox(eventID string) error { return remove(tx, outboxPlace(eventID)) }

// Writes is how many records the transaction has written and deleted so far.
func (tx *Tx) Writes() int { return len(tx.written) }

// ScanOutbox lists the ids of the events in the outbox, beginning behind the id after ("" for the
// first), at most limit (from 1) of them, and says whether there are more. It reads no records.
func (s *Store) ScanOutbox(ctx context.Context, after string, limit int) (eventIDs []string, more bool, err error) {
	return s.scanIDs(ctx, outboxPlace(""), after, nil, limit)
}

// Outbox gives the outbox record of an event, ErrNotFound if there is none. The record is shared and
// must not be changed.
func (s *Store) Outbox(ctx context.Context, eventID string) (*OutboxRecord, error) {
	return load(ctx, s, outboxKind, outboxPlace(eventID))
}
