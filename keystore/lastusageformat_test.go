package keystore

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"
)

func FuzzLastUsageRecord(f *testing.F) { fuzzContent(f, lastUsageKind, sampleLastUsage()) }

func sampleLastUsage() *LastUsageRecord {
	return &LastUsageRecord{Partition: "aws", Account: "111122223333", Region: "us-east-1", KeyID: "k",
		Operation: "Encrypt", Used: time.Unix(1_800_000_000, 123), RequestID: "r", EventID: "e"}
}

// TestFormatOfALastUse pins what docs/formats.md says.
func TestFormatOfALastUse(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{sampleLastUsage().place().String(), "aws/111122223333/us-east-1/last-usage/k"},
		{encoded(t, lastUsageKind, sampleLastUsage()), `{"partition":"aws","account":"111122223333","region":"us-east-1","keyId":"k",` +
			`"operation":"Encrypt","used":"2027-01-15T08:00:00.000000123Z","requestId":"r","eventId":"e"}`},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
	if lastUsageKind.code != 12 || lastUsageKind.version != 2 {
		t.Errorf("the code is %d, the version %d", lastUsageKind.code, lastUsageKind.version)
	}
}

// hashes stands for a token.
type hashes struct{}

func (hashes) RecordKeyVersion() uint32 { return 1 }

func (hashes) MAC(_ context.Context, _ uint32, data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return sum[:], nil
}

// TestLastUsageOfVersion1: records that were written before events had an id are read, and those of
// a later version refused.
func TestLastUsageOfVersion1(t *testing.T) {
	known := func(uint32) (bool, error) { return true, nil }
	for version := uint16(0); version <= 3; version++ {
		old := lastUsageKind
		old.version = version
		sample := sampleLastUsage()
		sample.EventID = ""
		raw, err := sealRecord(t.Context(), hashes{}, old, "store", "place", 1, sample)
		if err != nil {
			t.Fatal(err)
		}
		record, _, err := openRecord(t.Context(), hashes{}, lastUsageKind, "store", "place", raw, known)
		switch {
		case version == 1 || version == 2:
			if err != nil || record.RequestID != "r" || record.EventID != "" {
				t.Errorf("version %d: %+v, %v", version, record, err)
			}
		case !errors.Is(err, ErrFormat):
			t.Errorf("version %d: got %v, want ErrFormat", version, err)
		}
	}
}
