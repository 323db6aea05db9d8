package kms

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Timestamp is a time as the API carries it: a JSON number of seconds since 1970 UTC with up to
// three decimals. The zero value means absent.
type Timestamp struct{ time.Time }

// TimestampOf gives t in UTC, cut to whole milliseconds.
func TimestampOf(t time.Time) Timestamp {
	if t.IsZero() {
		return Timestamp{}
	}
	return Timestamp{t.UTC().Truncate(time.Millisecond)}
}

// MarshalJSON writes seconds since 1970, such as 1571767572.317, without needless zeros.
func (t Timestamp) MarshalJSON() ([]byte, error) { return t.append(nil), nil }

func (t Timestamp) append(b []byte) []byte {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(b, ms/1000, 10)
	}
	// Years up to 9999 need 15 digits, which a float64 holds exactly.
	return strconv.AppendFloat(b, float64(ms)/1000, 'f', -1, 64)
}

// UnmarshalJSON reads seconds since 1970, rounded to milliseconds. The year must be 1 to 9999.
func (t *Timestamp) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	seconds, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	if seconds < minTimestamp || seconds > maxTimestamp {
		return fmt.Errorf("timestamp: %w", strconv.ErrRange)
	}
	*t = Timestamp{time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()}
	return nil
}

// The seconds of 0001-01-02T00:00:00Z and 9999-12-31T23:59:59Z. The first day of year 1 is left
// out because its first second is Go's zero time, which means absent.
const (
	minTimestamp = -62135510400
	maxTimestamp = 253402300799
)
