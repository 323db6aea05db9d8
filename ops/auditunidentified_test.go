package ops

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// refuse is a request that nobody is authenticated for.
func (h *auditedHarness) refuse(address string) {
	h.t.Helper()
	call := h.service.Begin("r", Origin{SourceIP: address})
	call.Operation = "Decrypt"
	if err := h.service.Conclude(call, nil, kms.UnrecognizedClientException.Err()); err != nil {
		h.t.Fatal(err)
	}
}

// TestUnidentifiedRequests: so many records a second, and then one for all others. Requests of
// callers are recorded all the same.
func TestUnidentifiedRequests(t *testing.T) {
	h := newAudited(t)
	count := func() (n int) {
		for _, r := range h.told() {
			if r.ErrorCode == "UnrecognizedClientException" {
				n++
			}
		}
		return n
	}
	for range 1000 {
		h.refuse("192.0.2.1")
	}
	if n := count(); n != unidentifiedPerSource {
		t.Errorf("%d records of one address", n)
	}
	for i := range 1000 { // one host of IPv6, and many of them
		h.refuse(fmt.Sprintf("2001:db8::%x", i+1))
	}
	if n := count(); n != 2*unidentifiedPerSource {
		t.Errorf("%d records of two sources", n)
	}
	for i := range 100 {
		h.refuse(fmt.Sprintf("198.51.100.%d", i))
	}
	if n := count(); n != unidentifiedOverall {
		t.Errorf("%d records of many sources", n)
	}
	h.createKeyAudited()
	if r := h.newest(); r.EventName != "CreateKey" {
		t.Errorf("%+v", r)
	}

	since := h.clock.Now()
	h.service.recordOmitted()
	r := h.newest()
	sources, _ := r.ServiceEventDetails["sources"].([]any)
	omitted := 1000 - unidentifiedPerSource + 1000 - unidentifiedPerSource + 100
	if r.EventName != "OmitRecords" || r.EventSource != "audit.kms11" || r.EventType != "AwsServiceEvent" || r.ServiceEventDetails["omitted"] != float64(omitted) ||
		r.ServiceEventDetails["since"] != since.UTC().Format(time.RFC3339) || len(sources) != omittedSources || r.ServiceEventDetails["fromOtherSources"] != float64(100-(omittedSources-2)) {
		t.Fatalf("%+v", r)
	}
	for i, want := range []string{`{"omitted":990,"sourceIPAddress":"192.0.2.1"}`, `{"omitted":990,"sourceIPAddress":"2001:db8::/64"}`} {
		if got := jsonOf(t, sources[i]); got != want {
			t.Errorf("got %s", got)
		}
	}
	before := len(h.told())
	h.service.recordOmitted()
	if len(h.told()) != before {
		t.Error("nothing was omitted, and there is a record of it")
	}

	h.clock.Advance(time.Second)
	h.refuse("192.0.2.1")
	if n := count(); n != unidentifiedOverall+1 {
		t.Errorf("%d records a second later", n)
	}

	// What the trail does not take is told of later.
	for range 1000 {
		h.refuse("192.0.2.1")
	}
	h.closeTrail()
	h.service.recordOmitted()
	later := h.service.unidentified
	h.openTrail()
	h.service.unidentified = later
	h.service.recordOmitted()
	if r := h.newest(); r.EventName != "OmitRecords" || r.ServiceEventDetails["omitted"] != float64(1000-unidentifiedPerSource+1) {
		t.Errorf("%+v", r)
	}
}

// TestForgedSessionTokens: made-up tokens of one source cost so many decryptions a second, and do not
// keep others, or sessions that are known, from being served.
func TestForgedSessionTokens(t *testing.T) {
	h := newHarness(t)
	alice := h.user(account, "alice", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"}]}`)
	role := h.role(account, "app", trustsAccount)
	session := func() SessionCredentials {
		t.Helper()
		made, err := h.service.AssumeRole(t.Context(), alice, &AssumeRoleRequest{RoleARN: role.ARN, RoleSessionName: "s1"})
		if err != nil {
			t.Fatal(err)
		}
		return made.Credentials
	}
	known, fresh, third := session(), session(), session()
	ask := func(source, id, token string) error {
		_, _, _, err := h.service.SessionCredential(t.Context(), source, id, token)
		return err
	}
	const source = "192.0.2.1"
	if err := ask(source, known.ID, known.Token); err != nil {
		t.Fatal(err)
	}
	var decrypted, refused int
	for i := range 100 {
		switch err := ask(source, fmt.Sprintf("ASIA%016d", i), fresh.Token); {
		case errors.Is(err, ErrBadSessionToken):
			decrypted++
		case errors.Is(err, kms.ThrottlingException):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if decrypted != forgedPerSource || refused != 100-forgedPerSource {
		t.Errorf("%d were decrypted, %d refused", decrypted, refused)
	}
	if err := ask(source, known.ID, known.Token); err != nil {
		t.Errorf("a known session of the source: %v", err)
	}
	if err := ask("192.0.2.2", fresh.ID, fresh.Token); err != nil {
		t.Errorf("a new session of another source: %v", err)
	}
	if err := ask(source, third.ID, third.Token); !errors.Is(err, kms.ThrottlingException) {
		t.Errorf("a new session of the source: %v", err)
	}
	h.clock.Advance(time.Second)
	if err := ask(source, third.ID, third.Token); err != nil {
		t.Errorf("a second later: %v", err)
	}
	for i := range 50 { // good ones cost nothing
		made := session()
		if err := ask(source, made.ID, made.Token); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
}

// TestForgedGuard: few at a time, and nobody waits for longer than for his own context.
func TestForgedGuard(t *testing.T) {
	f := newForged(time.Now)
	var at, most atomic.Int64
	hold, entered := make(chan struct{}), make(chan struct{}, 100)
	var all sync.WaitGroup
	for i := range 3 * openingTokens {
		all.Go(func() {
			err := f.guard(t.Context(), fmt.Sprintf("192.0.2.%d", i), func() error {
				if n := at.Add(1); n > most.Load() {
					most.Store(n)
				}
				entered <- struct{}{}
				<-hold
				at.Add(-1)
				return hsm.ErrBadCiphertext
			})
			if !errors.Is(err, hsm.ErrBadCiphertext) {
				t.Error(err)
			}
		})
	}
	for range openingTokens {
		<-entered
	}
	ending, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.guard(ending, "192.0.2.99", func() error { t.Error("it got in"); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(hold)
	all.Wait()
	if most.Load() != openingTokens {
		t.Errorf("%d at a time", most.Load())
	}
}
