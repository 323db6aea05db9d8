package sigv4

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// basicFormat is ISO 8601's basic format, the only one that X-Amz-Date may have.
const basicFormat = "20060102T150405Z"

// timestamp gives the request's time in basic format: X-Amz-Date's if that is there, else
// Date's. It refuses a time that is more than MaxSkew from now.
func (v *Verifier) timestamp(header http.Header) (string, error) {
	values, alone := header["X-Amz-Date"], true
	if len(values) == 0 {
		values, alone = header["Date"], false
	}
	if len(values) != 1 {
		return "", badDate(strings.Join(values, ","))
	}
	text := values[0]
	at, err := parseBasic(text)
	if err != nil && !alone {
		if at, err = http.ParseTime(text); err == nil {
			at = at.UTC()
			text = at.Format(basicFormat)
		}
	}
	if err != nil {
		return "", badDate(values[0])
	}

	now, skew := v.config.Now().UTC(), v.config.MaxSkew
	if earliest := now.Add(-skew); at.Before(earliest.Truncate(time.Second)) {
		return "", refuse(InvalidSignature, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %s.)",
			text, earliest.Format(basicFormat), now.Format(basicFormat), inMinutes(skew)))
	}
	if latest := now.Add(skew); at.After(latest) {
		return "", refuse(InvalidSignature, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %s.)",
			text, latest.Format(basicFormat), now.Format(basicFormat), inMinutes(skew)))
	}
	return text, nil
}

// parseBasic is strict where time.Parse is not: it takes fractions of a second.
func parseBasic(s string) (time.Time, error) {
	if len(s) != len(basicFormat) {
		return time.Time{}, fmt.Errorf("%d characters, not %d", len(s), len(basicFormat))
	}
	return time.Parse(basicFormat, s)
}

func badDate(got string) error {
	return refuse(IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '"+shown(got)+
		"'. See http://en.wikipedia.org/wiki/ISO_8601")
}

func inMinutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d sec", d/time.Second)
}
