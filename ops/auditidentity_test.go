package ops

import (
	"strings"
	"testing"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/keystore"
)

// TestIdentityWrittenBeforehand: events tell of a caller that is kept by what was written down for it once,
// of a copy that has become somebody else by who that is.
func TestIdentityWrittenBeforehand(t *testing.T) {
	h := newHarness(t)
	alice := h.user(account, "alice", allow("sts:*", "*"))
	h.role(account, "app", trustsAccount)
	session := must(h.service.AssumeRole(t.Context(), alice, &AssumeRoleRequest{RoleARN: roleARN(account, "app"), RoleSessionName: "s1"}))(t)
	mapped := must(h.service.MappedCaller(t.Context(), roleARN(account, "app"), "s1"))(t)
	filed := AccessKey{ID: "AKIAFILEFILEFILEFILE", Secret: strings.Repeat("s", 40)}
	if err := h.service.UseIdentities(t.Context(), IdentitySet{Users: []FileUser{{
		File: "a.yaml", UserRecord: keystore.UserRecord{Account: account, Name: "filed"}, Keys: []FileAccessKey{{ID: filed.ID, Secret: filed.Secret}},
	}}}); err != nil {
		t.Fatal(err)
	}
	told := func(call *Call) string {
		who, recipient := h.service.identity(call)
		if recipient != account {
			t.Errorf("the event belongs to %s", recipient)
		}
		return string(who.AppendAudit(nil))
	}
	for name, c := range map[string]*Caller{
		"a user": alice.Caller, "a user of a file": h.signedBy(filed).Caller, "a session": h.within(session.Credentials).Caller, "a client certificate": mapped,
	} {
		if who, _ := h.service.identity(&Call{Caller: c}); who != audit.Appender(&c.written) {
			t.Errorf("nothing was written down for %s", name)
		}
		want := string(c.identity().AppendAudit(nil))
		if got := told(&Call{Caller: c}); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
		other := *c
		other.AccessKeyID = "AKIAI44QH8DHBEXAMPLE"
		if got, want := told(&Call{Caller: &other}), string(other.identity().AppendAudit(nil)); got != want {
			t.Errorf("another key of %s:\ngot  %s\nwant %s", name, got, want)
		}
		through := c.identity()
		through.InvokedBy = "s3.amazonaws.com"
		want = string(through.AppendAudit(nil))
		if got := told(&Call{Caller: c, Via: Via{Principal: "s3.amazonaws.com", OnBehalf: true}}); got != want {
			t.Errorf("%s through a service:\ngot  %s\nwant %s", name, got, want)
		}
	}
}
