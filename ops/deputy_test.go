package ops

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/policy"
)

// TestServicesTakeOnRolesForThemselvesOnly: a session that a service got for somebody would not come
// through the service any more.
func TestServicesTakeOnRolesForThemselvesOnly(t *testing.T) {
	h := newHarness(t)
	h.served()
	h.user(account, "alice", allow("sts:*", "*"))
	h.role(account, "app", trust(`{"Effect":"Allow","Principal":{"AWS":"`+account+`"},"Action":"sts:*"},{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}`))
	in := &AssumeRoleRequest{RoleARN: roleARN(account, "app"), RoleSessionName: "session"}

	for _, who := range []string{userARN(account, "alice"), "arn:aws:sts::" + account + ":assumed-role/app/earlier"} {
		behalf, err := h.serviceCall(s3Key, ServiceClaim{Behalf: who})
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.service.AssumeRole(t.Context(), behalf, in)
		wantIdentityError(t, err, AccessDenied, "User: "+who+" is not authorized to perform: sts:AssumeRole on resource: "+in.RoleARN)
	}
	alice := must(h.service.CallerOf(t.Context(), userARN(account, "alice")))(t)
	must(h.service.AssumeRole(t.Context(), &Call{Region: testRegion, Caller: alice}, in))(t)
	must(h.service.AssumeRole(t.Context(), h.itself(s3Key, account, bucketARN), in))(t)
	_, err := h.service.AssumeRole(t.Context(), h.itself(ec2Key, account, bucketARN), in)
	wantIdentityError(t, err, AccessDenied, "User: ec2.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: "+in.RoleARN)
}

// TestClaimedAccountIsNoAccount: the account for which a service says that it acts is not its own, for a
// role's trust policy as for a key's.
func TestClaimedAccountIsNoAccount(t *testing.T) {
	h := newHarness(t)
	h.served()
	h.user(account, "alice")
	h.role(account, "app", trust(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:PrincipalAccount":"`+account+`"}}}`))
	in := &AssumeRoleRequest{RoleARN: roleARN(account, "app"), RoleSessionName: "session"}
	_, err := h.service.AssumeRole(t.Context(), h.itself(s3Key, account, bucketARN), in)
	wantIdentityError(t, err, AccessDenied, "User: s3.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: "+in.RoleARN)
	alice := must(h.service.CallerOf(t.Context(), userARN(account, "alice")))(t)
	must(h.service.AssumeRole(t.Context(), &Call{Region: testRegion, Caller: alice}, in))(t)
}

// TestTagKeysThatLookAlike: a key that Unicode's case folding takes for another, but lower case does not,
// is another one everywhere. Otherwise a rule about who may set a tag would not see it and a rule about
// who has the tag would.
func TestTagKeysThatLookAlike(t *testing.T) {
	h := newHarness(t)
	alice := h.user(account, "alice", allow("sts:*", "*"))
	h.role(account, "app", trust(`{"Effect":"Allow","Principal":"*","Action":"sts:*"},{"Effect":"Deny","Principal":"*","Action":"sts:*","Condition":{"Null":{"aws:RequestTag/cost":"false"}}}`))
	must(h.service.TagPrincipal(t.Context(), new(Call), &TagRequest{Principal: Principal{Role: "app"}, Tags: map[string]string{"Cost": "red"}}))(t)
	assume := func(tag string) (*AssumedRole, error) {
		return h.service.AssumeRole(t.Context(), alice, &AssumeRoleRequest{
			RoleARN: roleARN(account, "app"), RoleSessionName: "session", Tags: []SessionTag{{tag, "blue"}}})
	}
	for _, tag := range []string{"cost", "COST"} {
		_, err := assume(tag)
		wantIdentityError(t, err, AccessDenied, "User: "+userARN(account, "alice")+" is not authorized to perform: sts:AssumeRole on resource: "+roleARN(account, "app"))
	}
	session := h.within(must(assume("co\u017ft"))(t).Credentials)
	q := question{Request: policy.Request{Principal: session.Caller.Principal}}
	for part, want := range map[string]string{"cost": "red", "CoSt": "red", "co\u017ft": "blue", "CO\u017fT": "blue"} {
		if got := principalTag(&q, part).All(); len(got) != 1 || got[0] != want {
			t.Errorf("aws:PrincipalTag/%s is %q, want %q alone", part, got, want)
		}
	}
}

// TestDenyHoweverSpelled: a statement that denies counts for every kind of principal, however JSON
// spells the word.
func TestDenyHoweverSpelled(t *testing.T) {
	for _, deny := range []string{`"Deny"`, `"\u0044eny"`} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":` + deny + `,"Principal":"*","Action":"sts:*"}]}`
		direct, federated, err := trustDocuments(json.RawMessage(text))
		if err != nil {
			t.Fatal(err)
		}
		for kind, document := range map[string]string{"direct": direct, "federated": federated} {
			if parsed, err := policy.Parse([]byte(document)); err != nil || parsed.Statements() != 1 {
				t.Errorf("%s: %s principals are not denied: %q, %v", deny, kind, document, err)
			}
		}
	}
}

// TestSessionTokensTakeTurns: made-up session tokens wait for one another, not for the HSM, and a session
// that is known does not wait.
func TestSessionTokensTakeTurns(t *testing.T) {
	h := newHarness(t)
	alice := h.user(account, "alice")
	h.role(account, "app", trust(`{"Effect":"Allow","Principal":"*","Action":"sts:*"}`))
	assume := func() SessionCredentials {
		return must(h.service.AssumeRole(t.Context(), alice, &AssumeRoleRequest{RoleARN: roleARN(account, "app"), RoleSessionName: "session"}))(t).Credentials
	}
	known, unknown := assume(), assume()
	h.within(known)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range openingTokens {
		h.service.forged.slots <- struct{}{}
	}
	h.within(known)
	forged := base64.StdEncoding.EncodeToString(append([]byte{1, 0, 0, 0, 1}, make([]byte, 200)...))
	for name, token := range map[string]string{"true": unknown.Token, "forged": forged} {
		if _, _, _, err := h.service.SessionCredential(ended, "192.0.2.1", unknown.ID, token); !errors.Is(err, context.Canceled) {
			t.Errorf("a %s token did not wait: %v", name, err)
		}
	}
	if _, _, _, err := h.service.SessionCredential(ended, "192.0.2.1", unknown.ID, "no token"); !errors.Is(err, ErrBadSessionToken) {
		t.Errorf("what cannot be a token: %v", err)
	}
}

// TestTrailNamesTheService: a request that a service sent for somebody does not look like their own.
func TestTrailNamesTheService(t *testing.T) {
	h := newHarness(t)
	h.served()
	h.user(account, "alice")
	call, err := h.serviceCall(s3Key, ServiceClaim{Behalf: userARN(account, "alice")})
	if err != nil {
		t.Fatal(err)
	}
	told, recipient := h.service.identity(call)
	who := told.(*audit.Identity)
	if who.ARN != userARN(account, "alice") || who.InvokedBy != "s3.amazonaws.com" || who.AccessKeyID != s3Key || recipient != account {
		t.Errorf("the trail has %+v for %s", who, recipient)
	}
	alice := must(h.service.CallerOf(t.Context(), userARN(account, "alice")))(t)
	if who, _ := h.service.identity(&Call{Caller: alice}); who.(*audit.Identity).InvokedBy != "" {
		t.Errorf("the trail has %+v for alice herself", who)
	}
}
