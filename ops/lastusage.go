package ops

import (
	"context"
	"errors"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// GetKeyLastUsage implements the operation GetKeyLastUsage. AWS's examples give the bare key id.
func (s *Service) GetKeyLastUsage(ctx context.Context, call *Call, in *kms.GetKeyLastUsageRequest) (*kms.GetKeyLastUsageResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return nil, err
	}
	last, used, err := s.lastUse(k, func(id keystore.KeyID) (*keystore.LastUsageRecord, error) { return s.store.LastUsage(ctx, id) })
	if err != nil {
		return nil, err
	}
	out := &kms.GetKeyLastUsageResponse{
		KeyId:             k.ID,
		KeyCreationDate:   kms.TimestampOf(k.Created),
		TrackingStartDate: kms.TimestampOf(s.trackedSince(k)),
	}
	if used {
		out.KeyLastUsage = &kms.KeyLastUsageData{
			Operation:    last.operation,
			Timestamp:    kms.TimestampOf(last.at),
			KmsRequestId: last.requestID,

			CloudTrailEventId: last.eventID,
		}
	}
	return out, nil
}

// trackedSince is the time from which every use of a key was noted. A store notes uses from the
// day it is made.
func (s *Service) trackedSince(k key) time.Time {
	if made := s.store.Created(); made.After(k.Created) {
		return made
	}
	return k.Created
}

// lastUse gives the last use of a key that this service or the store knows of, if there is one.
// It reads the store as the caller may at that moment.
func (s *Service) lastUse(k key, read func(keystore.KeyID) (*keystore.LastUsageRecord, error)) (last lastUse, used bool, err error) {
	// Memory first: what is written meanwhile is in the store before it leaves memory.
	noted, inMemory := s.lastUses.get(k.KeyID())
	// A replica may have been deleted and made again under its old id.
	inMemory = inMemory && !noted.at.Before(k.Created)
	record, err := read(k.KeyID())
	switch {
	case errors.Is(err, keystore.ErrNotFound):
		return noted, inMemory, nil
	case err != nil:
		return lastUse{}, false, err
	case inMemory && !record.Used.After(noted.at):
		return noted, true, nil
	}
	return lastUse{operation: record.Operation, at: record.Used, requestID: record.RequestID, eventID: record.EventID}, true, nil
}

// noteUses notes that a request used its keys. It does so in memory only.
func (s *Service) noteUses(call *Call) {
	if call.used[0] == nil {
		return
	}
	use := lastUse{operation: kms.KeyLastUsageTrackingOperation(call.Operation), at: s.now(), requestID: call.RequestID, eventID: call.EventID}
	for _, record := range call.used {
		if record != nil {
			s.lastUses.note(record.KeyID(), use)
		}
	}
}
