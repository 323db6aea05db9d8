package keystore

import (
	"testing"
	"time"
)

func FuzzLastUsageRecord(f *testing.F) { fuzzContent(f, lastUsageKind, sampleLastUsage()) }

func sampleLastUsage() *LastUsageRecord {
	return &LastUsageRecord{Partition: "aws", Account: "111122223333", Region: "us-east-1", KeyID: "k",
		Operation: "Encrypt", Used: time.Unix(1_800_000_000, 123), RequestID: "r"}
}

// TestFormatOfALastUse pins what docs/formats.md says.
func TestFormatOfALastUse(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{sampleLastUsage().place().String(), "aws/111122223333/us-east-1/last-usage/k"},
		{encoded(t, lastUsageKind, sampleLastUsage()), `{"partition":"aws","account":"111122223333","region":"us-east-1","keyId":"k",` +
			`"operation":"Encrypt","used":"2027-01-15T08:00:00.000000123Z","requestId":"r"}`},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
	if lastUsageKind.code != 12 {
		t.Errorf("the code is %d", lastUsageKind.code)
	}
}
