package ops

import (
	"context"
	"errors"
	"sync"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// Begin makes the call of a request that has just arrived: with a time, and with the id of its audit
// event.
func (s *Service) Begin(requestID string, origin Origin) *Call {
	call := &Call{RequestID: requestID, Origin: origin}
	if s.audit != nil {
		s.identify(call)
	}
	return call
}

// identify gives a call that Begin did not make what an event needs.
func (s *Service) identify(call *Call) {
	if call.EventID == "" {
		call.EventID, call.Began = kms.NewRequestID(), s.now()
	}
}

// ErrTrailStopped is matched by what Auditable and Conclude say while the audit trail cannot be written.
// The trail itself tells the log when that begins and ends.
var ErrTrailStopped = audit.ErrStopped

// Auditable says why no request can be served at the moment: there would be no record of it.
func (s *Service) Auditable() error {
	if s.audit == nil {
		return nil
	}
	return s.audit.Ready()
}

// eventBuffers are where events are put together.
var eventBuffers = sync.Pool{New: func() any { return new([]byte) }}

// Conclude records a request with its outcome; every request is to be concluded once, whatever
// became of it. Of requests that nobody was authenticated for it records so many a second, and counts
// the others. It returns when the record is as durable as the trail's mode promises. With an error
// the answer must not leave.
func (s *Service) Conclude(call *Call, output kms.Audited, failure error) error {
	if s.audit == nil {
		return nil
	}
	if call.anonymous() && !s.unidentified.admit(call.Origin.SourceIP) {
		return s.Auditable()
	}
	var event audit.Event
	s.fillEvent(&event, call, output, failure)
	return s.record(call, &event)
}

func (s *Service) record(call *Call, event *audit.Event) error {
	buffer := eventBuffers.Get().(*[]byte)
	*buffer = event.Append((*buffer)[:0])
	err := s.audit.Append(*buffer)
	if cap(*buffer) <= 64<<10 {
		eventBuffers.Put(buffer)
	}
	if call.outboxed {
		s.outbox.settle(call.EventID, err == nil)
	}
	return err
}

// update is how a call changes the store: store.Update, with the call's audit event in the same
// transaction. Where fn writes nothing there is no event in it either.
func (s *Service) update(ctx context.Context, call *Call, fn func(tx *keystore.Tx) error) error {
	if s.audit == nil {
		return s.store.Update(ctx, fn)
	}
	return s.store.Update(ctx, func(tx *keystore.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		if tx.Writes() == 0 || call.service && !call.happened {
			return nil
		}
		call.recovering = true
		var event audit.Event
		s.fillEvent(&event, call, nil, nil)
		call.recovering = false
		// From here on the record may be there, whatever becomes of the transaction.
		call.outboxed = true
		return tx.PutOutbox(&keystore.OutboxRecord{EventID: call.EventID, After: s.audit.Sequence(), Event: event.Append(nil)})
	})
}

// serviceCall is a call that no request makes: what the service does with a key by itself, under the
// name that CloudTrail has for it.
func (s *Service) serviceCall(event string, r *keystore.KeyRecord) *Call {
	call := s.Begin("", Origin{})
	call.Operation, call.service = event, true
	if r != nil {
		call.Region = r.Region
		call.touch(keyOf(r))
	}
	return call
}

// happen says that a service call did something to a key.
func (c *Call) happen(r *keystore.KeyRecord) {
	c.happened, c.Region = true, r.Region
	c.touch(keyOf(r))
}

// concludeService records what the service did, if it did. The event is in the store already, so one
// that the trail does not take now comes later.
func (s *Service) concludeService(call *Call) {
	if s.audit == nil || !call.happened {
		return
	}
	var event audit.Event
	s.fillEvent(&event, call, nil, nil)
	if err := s.record(call, &event); err != nil {
		s.log.Error("an event is not in the audit trail yet", "event", call.Operation, "error", err)
	}
}

// rotationDetails are the details of the event RotateKey.
type rotationDetails struct {
	keyID string
	why   kms.RotationType
}

// AppendAudit implements audit.Appender.
func (d *rotationDetails) AppendAudit(b []byte) []byte {
	b = append(b, `{"rotationType":`...)
	b = kms.AppendJSON(b, string(d.why))
	b = append(b, `,"keyId":`...)
	b = kms.AppendJSON(b, d.keyID)
	return append(b, '}')
}

// auditHealth says what keeps the trail from being written.
func (s *Service) auditHealth() error {
	if err := s.Auditable(); err != nil && !errors.Is(err, audit.ErrClosed) {
		return err
	}
	return nil
}
