package ops

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/kms"
)

// Records of requests that nobody was authenticated for are the only ones that anyone who reaches a
// listener can cause. So many a second are written; of those beyond it one record a second tells how
// many there were.
const (
	unidentifiedPerSource = 10 // from one source address
	unidentifiedOverall   = 20
	// omittedSources is how many addresses that record names.
	omittedSources = 16
	// eventOmit is its name.
	eventOmit = "OmitRecords"
)

// unidentified counts such requests. It is safe for concurrent use.
type unidentified struct {
	limit *limiter
	now   func() time.Time

	mu      sync.Mutex
	since   time.Time      // of the first one that is omitted
	omitted int            // since then
	sources map[string]int // of those, by source; at most omittedSources
}

func newUnidentified(now func() time.Time) *unidentified {
	return &unidentified{now: now, limit: newLimiter(now, func(key bucketKey) float64 {
		if key.who == "" {
			return unidentifiedOverall
		}
		return unidentifiedPerSource
	})}
}

// admit says whether a request from an address gets a record of its own. If not it is counted.
func (u *unidentified) admit(address string) bool {
	source := sourceOf(address)
	if u.limit.take(bucketKey{who: source}, 1) && u.limit.take(bucketKey{}, 1) {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.omitted == 0 {
		u.since, u.sources = u.now(), make(map[string]int)
	}
	u.omitted++
	if _, known := u.sources[source]; known || len(u.sources) < omittedSources {
		u.sources[source]++
	}
	return false
}

// take gives what was omitted since the last take, as the details of an event; nil: nothing.
func (u *unidentified) take() jsonMembers {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.omitted == 0 {
		return nil
	}
	var list []jsonMembers
	others := u.omitted
	for source, n := range u.sources {
		list = append(list, jsonMembers{{"sourceIPAddress", source}, {"omitted", n}})
		others -= n
	}
	slices.SortFunc(list, func(a, b jsonMembers) int {
		return cmp.Or(cmp.Compare(b[1].value.(int), a[1].value.(int)), cmp.Compare(a[0].value.(string), b[0].value.(string)))
	})
	details := jsonMembers{{"since", u.since}, {"omitted", u.omitted}, {"sources", list}, {"fromOtherSources", others}}
	u.omitted, u.sources = 0, nil
	return details
}

// undo takes a take back.
func (u *unidentified) undo(details jsonMembers) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.omitted == 0 {
		u.sources = make(map[string]int)
	}
	u.since = details[0].value.(time.Time)
	u.omitted += details[1].value.(int)
	for _, source := range details[2].value.([]jsonMembers) {
		name := source[0].value.(string)
		if _, known := u.sources[name]; known || len(u.sources) < omittedSources {
			u.sources[name] += source[1].value.(int)
		}
	}
}

// recordOmitted records what was omitted, if anything was.
func (s *Service) recordOmitted() {
	details := s.unidentified.take()
	if details == nil {
		return
	}
	event := audit.Event{
		ID: kms.NewRequestID(), Time: s.now(), Source: audit.SourceTrail, Name: eventOmit, Region: s.region, Service: true,
		Identity: &audit.Identity{Account: s.account, InvokedBy: "AWS Internal"}, Recipient: s.account, Details: details,
	}
	if s.audit.Append(event.Append(nil)) != nil { // the trail says what is wrong with it
		s.unidentified.undo(details)
	}
}

// sourceOf is what addresses are told apart by: an IPv4 address, or the /64 of an IPv6 address, of
// which one host has all.
func sourceOf(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return cmp.Or(address, "unknown")
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	prefix, _ := a.WithZone("").Prefix(64)
	return prefix.String()
}
