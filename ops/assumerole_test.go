package ops

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const third = "777788889999"

// trust is a trust policy with one statement.
func trust(statement string) string {
	return `{"Version":"2012-10-17","Statement":[` + statement + `]}`
}

// allow is an identity policy that allows an action on a resource.
func allow(action, resource string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}]}`
}

func roleARN(account, name string) string { return "arn:aws:iam::" + account + ":role/" + name }

// TestWhoMayAssumeARole takes trust policies and callers together: both directions of each rule.
func TestWhoMayAssumeARole(t *testing.T) {
	h := newHarness(t)
	for _, text := range []string{account, stranger} {
		h.user(text, "plain")
		h.user(text, "allowed", allow("sts:*", "*"))
		h.user(text, "denied", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"},{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"*"}]}`)
	}
	must(h.service.TagPrincipal(t.Context(), new(Call), &TagRequest{Principal: Principal{User: "plain"}, Tags: map[string]string{"team": "red"}}))(t)
	root := `"AWS":"arn:aws:iam::` + account + `:root"`
	both := `"AWS":["` + account + `","arn:aws:iam::` + stranger + `:root"]`
	statement := func(principal, action, rest string) string {
		return trust(`{"Effect":"Allow","Principal":{` + principal + `},"Action":"` + action + `"` + rest + `}`)
	}
	condition := func(text string) string { return `,"Condition":` + text }
	for _, c := range []struct {
		name, trust string
		caller      string // account/user
		in          AssumeRoleRequest
		denied      string // the action; empty: allowed
	}{
		{"named", statement(`"AWS":"`+userARN(account, "plain")+`"`, "sts:AssumeRole", ""), account + "/plain", AssumeRoleRequest{}, ""},
		{"another is named", statement(`"AWS":"`+userARN(account, "allowed")+`"`, "sts:AssumeRole", ""), account + "/plain", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"named but denied", statement(`"AWS":"`+userARN(account, "denied")+`"`, "sts:AssumeRole", ""), account + "/denied", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"account without a policy", statement(root, "sts:AssumeRole", ""), account + "/plain", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"account with a policy", statement(root, "sts:AssumeRole", ""), account + "/allowed", AssumeRoleRequest{}, ""},
		{"foreign account with a policy", statement(both, "sts:AssumeRole", ""), stranger + "/allowed", AssumeRoleRequest{}, ""},
		{"foreign account without", statement(both, "sts:AssumeRole", ""), stranger + "/plain", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"foreign user by name, without a policy", statement(`"AWS":"`+userARN(stranger, "plain")+`"`, "sts:AssumeRole", ""), stranger + "/plain", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"foreign user by name, with one", statement(`"AWS":"`+userARN(stranger, "allowed")+`"`, "sts:AssumeRole", ""), stranger + "/allowed", AssumeRoleRequest{}, ""},
		{"account not trusted", statement(root, "sts:AssumeRole", ""), stranger + "/allowed", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"another action", statement(root, "sts:AssumeRoleWithWebIdentity", ""), account + "/allowed", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"everyone", statement(`"AWS":"*"`, "sts:*", ""), account + "/plain", AssumeRoleRequest{}, ""},
		{"a provider", statement(`"Federated":"arn:aws:iam::`+account+`:oidc-provider/x"`, "sts:*", ""), account + "/allowed", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"explicit deny", trust(`{"Effect":"Allow","Principal":"*","Action":"sts:*"},{"Effect":"Deny","Principal":{"AWS":"` + userARN(account, "plain") + `"},"Action":"sts:*"}`), account + "/plain", AssumeRoleRequest{}, "sts:AssumeRole"},

		{"external id", statement(root, "sts:AssumeRole", condition(`{"StringEquals":{"sts:ExternalId":"x:1"}}`)), account + "/allowed", AssumeRoleRequest{ExternalID: "x:1"}, ""},
		{"wrong external id", statement(root, "sts:AssumeRole", condition(`{"StringEquals":{"sts:ExternalId":"x:1"}}`)), account + "/allowed", AssumeRoleRequest{ExternalID: "x:2"}, "sts:AssumeRole"},
		{"no external id", statement(root, "sts:AssumeRole", condition(`{"StringEquals":{"sts:ExternalId":"x:1"}}`)), account + "/allowed", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"caller's tag", statement(`"AWS":"*"`, "sts:AssumeRole", condition(`{"StringEquals":{"aws:PrincipalTag/team":"red"}}`)), account + "/plain", AssumeRoleRequest{}, ""},
		{"another tag", statement(`"AWS":"*"`, "sts:AssumeRole", condition(`{"StringEquals":{"aws:PrincipalTag/team":"blue"}}`)), account + "/plain", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"session named after the user", statement(`"AWS":"*"`, "sts:AssumeRole", condition(`{"StringEquals":{"sts:RoleSessionName":"${aws:username}"}}`)), account + "/plain", AssumeRoleRequest{RoleSessionName: "plain"}, ""},
		{"session named otherwise", statement(`"AWS":"*"`, "sts:AssumeRole", condition(`{"StringEquals":{"sts:RoleSessionName":"${aws:username}"}}`)), account + "/plain", AssumeRoleRequest{}, "sts:AssumeRole"},
		{"from a network", statement(`"AWS":"*"`, "sts:AssumeRole", condition(`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`)), account + "/plain", AssumeRoleRequest{}, ""},
		{"from elsewhere", statement(`"AWS":"*"`, "sts:AssumeRole", condition(`{"IpAddress":{"aws:SourceIp":"198.51.100.0/24"}}`)), account + "/plain", AssumeRoleRequest{}, "sts:AssumeRole"},

		{"tags", statement(`"AWS":"*"`, "sts:*", ""), account + "/plain", AssumeRoleRequest{Tags: []SessionTag{{"a", "1"}}}, ""},
		{"tags not allowed", statement(`"AWS":"*"`, "sts:AssumeRole", ""), account + "/plain", AssumeRoleRequest{Tags: []SessionTag{{"a", "1"}}}, "sts:TagSession"},
		{"tag by condition", statement(`"AWS":"*"`, "sts:*", condition(`{"StringEquals":{"aws:RequestTag/a":"1"},"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}`)), account + "/plain", AssumeRoleRequest{Tags: []SessionTag{{"a", "1"}}}, ""},
		{"one tag too many", statement(`"AWS":"*"`, "sts:*", condition(`{"StringEquals":{"aws:RequestTag/a":"1"},"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}`)), account + "/plain", AssumeRoleRequest{Tags: []SessionTag{{"a", "1"}, {"b", "2"}}}, "sts:AssumeRole"},
		{"source identity", statement(`"AWS":"*"`, "sts:*", condition(`{"StringEquals":{"sts:SourceIdentity":"me"}}`)), account + "/plain", AssumeRoleRequest{SourceIdentity: "me"}, ""},
		{"source identity not allowed", statement(`"AWS":"*"`, "sts:AssumeRole", ""), account + "/plain", AssumeRoleRequest{SourceIdentity: "me"}, "sts:SetSourceIdentity"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := h.service.DeleteRole(t.Context(), new(Call), &RoleRequest{Name: "app"}); err != nil && !errors.Is(err, NoSuchEntity) {
				t.Fatal(err)
			}
			h.t = t
			role := h.role(account, "app", c.trust)
			of, name, _ := strings.Cut(c.caller, "/")
			caller := must(h.service.CallerOf(t.Context(), userARN(of, name)))(t)
			in := c.in
			in.RoleARN = role.ARN
			if in.RoleSessionName == "" {
				in.RoleSessionName = "session"
			}
			got, err := h.service.AssumeRole(t.Context(), &Call{Region: testRegion, Caller: caller, Origin: Origin{SourceIP: "192.0.2.7"}}, &in)
			if c.denied != "" {
				wantIdentityError(t, err, AccessDenied, "User: "+userARN(of, name)+" is not authorized to perform: "+c.denied+" on resource: "+role.ARN)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.ARN != "arn:aws:sts::"+account+":assumed-role/app/"+in.RoleSessionName || got.ID != role.ID+":"+in.RoleSessionName || got.SourceIdentity != in.SourceIdentity {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestSessions follows sessions: what they may do, how tags and source identities come down to the
// sessions they take on, and what ends them.
func TestSessions(t *testing.T) {
	h := newHarness(t)
	ctx := t.Context()
	key := h.createKey(nil)
	alice := h.user(stranger, "alice", allow("sts:*", "*"))
	h.role(account, "app", trust(`{"Effect":"Allow","Principal":{"AWS":"`+stranger+`"},"Action":"sts:*"}`), grantAll, allow("sts:*", "*"))
	h.role(third, "next", trust(`{"Effect":"Allow","Principal":{"AWS":"`+roleARN(account, "app")+`"},"Action":"sts:*"}`))
	must(h.service.TagPrincipal(ctx, new(Call), &TagRequest{Principal: Principal{Role: "app"}, Tags: map[string]string{"Team": "red", "stage": "prod"}}))(t)

	assume := func(call *Call, in AssumeRoleRequest) (*AssumedRole, error) {
		in.RoleARN = cmpRole(in.RoleARN)
		in.RoleSessionName = "session"
		return h.service.AssumeRole(ctx, call, &in)
	}
	plain := must(assume(alice, AssumeRoleRequest{}))(t)
	if want := h.clock.Now().Add(time.Hour); !plain.Credentials.Expires.Equal(want) || plain.PackedPolicySize != 0 {
		t.Errorf("got %+v, want the end at %v", plain, want)
	}
	call := h.within(plain.Credentials)
	who := call.Caller
	if p := who.Principal; p.ARN != "arn:aws:sts::111122223333:assumed-role/app/session" || p.Role != roleARN(account, "app") || p.Account != account ||
		p.ID != plain.ID || fmt.Sprint(p.Tags) != "map[Team:red stage:prod]" || who.AccessKeyID != plain.Credentials.ID || who.Temporary == nil || len(who.Session) != 0 {
		t.Errorf("the caller is %+v", who)
	}
	if got := h.service.GetCallerIdentity(call); got != (CallerIdentity{account, who.Principal.ARN, who.Principal.ID}) {
		t.Errorf("the identity is %+v", got)
	}
	if h.within(plain.Credentials).Caller != who {
		t.Error("the session was made anew for its second request")
	}
	encrypt := func(call *Call) error {
		_, err := h.invokeAs(call, "Encrypt", in{"KeyId": key.Arn, "Plaintext": []byte("x")})
		return err
	}
	if err := encrypt(call); err != nil {
		t.Errorf("the role's policy does not count: %v", err)
	}

	// A session policy.
	narrow := must(assume(alice, AssumeRoleRequest{Policy: allow("kms:DescribeKey", "*")}))(t)
	if narrow.PackedPolicySize < 1 || narrow.PackedPolicySize > 99 {
		t.Errorf("the packed policy is %d%%", narrow.PackedPolicySize)
	}
	wantError(t, encrypt(h.within(narrow.Credentials)), kms.AccessDeniedException,
		"User: arn:aws:sts::111122223333:assumed-role/app/session is not authorized to perform: kms:Encrypt on resource: "+key.Arn+" because no session policy allows the kms:Encrypt action")
	if _, err := h.invokeAs(h.within(narrow.Credentials), "DescribeKey", in{"KeyId": key.Arn}); err != nil {
		t.Errorf("what the session policy allows is denied: %v", err)
	}

	// Tags and the source identity go with the session into the next one.
	tagged := must(assume(alice, AssumeRoleRequest{Tags: []SessionTag{{"team", "blue"}, {"own", "1"}}, TransitiveTagKeys: []string{"team"}, SourceIdentity: "alice"}))(t)
	call = h.within(tagged.Credentials)
	if fmt.Sprint(call.Caller.Principal.Tags) != "map[own:1 stage:prod team:blue]" || call.Caller.Temporary.SourceIdentity != "alice" {
		t.Errorf("the caller is %+v, %+v", call.Caller.Principal, call.Caller.Temporary)
	}
	next := roleARN(third, "next")
	chained := must(assume(call, AssumeRoleRequest{RoleARN: next, Tags: []SessionTag{{"more", "2"}}}))(t)
	after := h.within(chained.Credentials).Caller
	if fmt.Sprint(after.Principal.Tags) != "map[more:2 team:blue]" || after.Temporary.SourceIdentity != "alice" || chained.SourceIdentity != "alice" || fmt.Sprint(after.Temporary.Transitive) != "[team]" {
		t.Errorf("the caller is %+v, %+v", after.Principal, after.Temporary)
	}
	_, err := assume(call, AssumeRoleRequest{RoleARN: next, Tags: []SessionTag{{"TEAM", "green"}}})
	wantIdentityError(t, err, ValidationError, "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
	_, err = assume(call, AssumeRoleRequest{RoleARN: next, SourceIdentity: "bob"})
	wantIdentityError(t, err, AccessDenied, "User: arn:aws:sts::111122223333:assumed-role/app/session is not authorized to perform: sts:SetSourceIdentity on resource: "+next)
	_, err = assume(call, AssumeRoleRequest{RoleARN: next, DurationSeconds: 3601})
	wantIdentityError(t, err, ValidationError, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")

	// A change of the role counts at once.
	must(h.service.DeletePolicy(ctx, new(Call), &PolicyRequest{Principal: Principal{Role: "app"}, Name: "a"}))(t)
	wantError(t, encrypt(h.within(plain.Credentials)), kms.AccessDeniedException,
		"User: arn:aws:sts::111122223333:assumed-role/app/session is not authorized to perform: kms:Encrypt on resource: "+key.Arn+" because no identity-based policy allows the kms:Encrypt action")

	bad := func(c SessionCredentials) {
		t.Helper()
		if _, _, _, err := h.service.SessionCredential(ctx, "192.0.2.1", c.ID, c.Token); !errors.Is(err, ErrBadSessionToken) {
			t.Errorf("the session is still good: %v", err)
		}
	}
	must(h.service.RevokeSessions(ctx, new(Call), &RoleRequest{Name: "app"}))(t)
	bad(plain.Credentials)
	bad(tagged.Credentials)
	h.within(chained.Credentials) // is of another role
	h.clock.advance(time.Millisecond)
	again := must(assume(alice, AssumeRoleRequest{}))(t)
	h.within(again.Credentials)
	must(h.service.DeleteRole(ctx, new(Call), &RoleRequest{Name: "app"}))(t)
	bad(again.Credentials)
	h.role(account, "app", trustsAccount)
	bad(again.Credentials) // another role of that name
}

// cmpRole is the role of these tests unless another is named.
func cmpRole(arn string) string {
	if arn == "" {
		return roleARN(account, "app")
	}
	return arn
}

// TestSessionTokensAreBound offers tokens that are not those of their access key.
func TestSessionTokensAreBound(t *testing.T) {
	h := newHarness(t)
	ctx := t.Context()
	alice := h.user(account, "alice", allow("sts:*", "*"))
	h.role(account, "app", trustsAccount, grantAll)
	in := &AssumeRoleRequest{RoleARN: roleARN(account, "app"), RoleSessionName: "session"}
	one := must(h.service.AssumeRole(ctx, alice, in))(t).Credentials
	two := must(h.service.AssumeRole(ctx, alice, in))(t).Credentials
	if one.ID == two.ID || one.Secret == two.Secret || one.Token == two.Token || !strings.HasPrefix(one.ID, "ASIA") || len(one.ID) != 20 || len(one.Secret) != 40 {
		t.Errorf("the credentials are %s and %s", one.ID, two.ID)
	}
	secret, err := h.domain.Seal(ctx, "access-key/"+one.ID, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(one.Token)
	flipped[40] ^= 1
	for name, c := range map[string][2]string{
		"another session's token":   {one.ID, two.Token},
		"another session's key":     {two.ID, one.Token},
		"a changed token":           {one.ID, string(flipped)},
		"a cut token":               {one.ID, one.Token[:len(one.Token)-4]},
		"a longer token":            {one.ID, one.Token + "AAAA"},
		"line breaks":               {one.ID, one.Token[:8] + "\n" + one.Token[8:]},
		"no token":                  {one.ID, ""},
		"no base64":                 {one.ID, "!"},
		"sealed for something else": {one.ID, string(must(json.Marshal(secret))(t))},
		"a long-term key's id":      {alice.Caller.AccessKeyID, one.Token},
		"too long":                  {one.ID, strings.Repeat("A", maxSessionToken+1)},
	} {
		for range 2 { // the second time what was opened is in memory
			if _, _, _, err := h.service.SessionCredential(ctx, name, c[0], c[1]); !errors.Is(err, ErrBadSessionToken) {
				t.Errorf("%s: got %v", name, err)
			}
			h.within(one)
			h.within(two)
		}
	}
	if _, _, err := h.service.Credential(ctx, one.ID); !errors.Is(err, ErrUnknownAccessKey) {
		t.Errorf("temporary credentials are good without their token: %v", err)
	}
	// Another node knows the sessions.
	other := h.newService()
	if secret, _, caller, err := other.SessionCredential(ctx, "192.0.2.1", one.ID, one.Token); err != nil || secret != one.Secret || caller.Principal.Account != account {
		t.Errorf("another node does not know the session: %v", err)
	}
}

// TestAssumeRoleErrors has AWS's texts for mistakes.
func TestAssumeRoleErrors(t *testing.T) {
	h := newHarness(t)
	h.role(account, "app", trustsAccount)
	alice := h.user(account, "alice", allow("sts:*", "*"))
	many := make([]SessionTag, 51)
	var long []SessionTag
	for i := range 50 {
		long = append(long, SessionTag{fmt.Sprint("k", i), strings.Repeat("v", 250)})
	}
	const one = "1 validation error detected: "
	for name, c := range map[string]struct {
		call *Call
		in   AssumeRoleRequest
		code IdentityCode
		text string
	}{
		"nothing": {alice, AssumeRoleRequest{RoleARN: "-", RoleSessionName: "-"}, ValidationError, "2 validation errors detected: " +
			"Value '-' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20; " +
			"Value '-' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2"},
		"session name":   {alice, AssumeRoleRequest{RoleSessionName: "a b"}, ValidationError, one + `Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		"short time":     {alice, AssumeRoleRequest{DurationSeconds: 899}, ValidationError, one + "Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		"long time":      {alice, AssumeRoleRequest{DurationSeconds: 43201}, ValidationError, one + "Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200"},
		"role's limit":   {alice, AssumeRoleRequest{DurationSeconds: 7201}, ValidationError, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		"no role's ARN":  {alice, AssumeRoleRequest{RoleARN: "a role that is not an ARN"}, ValidationError, "a role that is not an ARN is invalid"},
		"a user's ARN":   {alice, AssumeRoleRequest{RoleARN: userARN(account, "alice")}, ValidationError, "Request ARN is invalid"},
		"no such role":   {alice, AssumeRoleRequest{RoleARN: roleARN(account, "none")}, AccessDenied, "User: " + userARN(account, "alice") + " is not authorized to perform: sts:AssumeRole on resource: " + roleARN(account, "none")},
		"another path":   {alice, AssumeRoleRequest{RoleARN: roleARN(account, "x/app")}, AccessDenied, "User: " + userARN(account, "alice") + " is not authorized to perform: sts:AssumeRole on resource: " + roleARN(account, "x/app")},
		"root":           {h.call(account), AssumeRoleRequest{}, AccessDenied, "Roles may not be assumed by root accounts."},
		"external id":    {alice, AssumeRoleRequest{ExternalID: "x"}, ValidationError, one + "Value 'x' at 'externalId' failed to satisfy constraint: Member must have length greater than or equal to 2"},
		"policy syntax":  {alice, AssumeRoleRequest{Policy: "{"}, MalformedPolicyDocument, "Syntax errors in policy."},
		"policy's kind":  {alice, AssumeRoleRequest{Policy: trustsAccount}, MalformedPolicyDocument, "Policy document should not specify a principal."},
		"policy's size":  {alice, AssumeRoleRequest{Policy: strings.Repeat(" ", 2049)}, ValidationError, one + "Value '...' at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048"},
		"managed policy": {alice, AssumeRoleRequest{PolicyARNs: true}, ValidationError, "There are no managed policies here: give the session policy as Policy."},
		"token code":     {alice, AssumeRoleRequest{TokenCode: "123456"}, AccessDenied, "MultiFactorAuthentication failed with invalid MFA one time pass code. "},
		"tag twice":      {alice, AssumeRoleRequest{Tags: []SessionTag{{"a", "1"}, {"A", "2"}}}, ValidationError, "Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		"reserved tag":   {alice, AssumeRoleRequest{Tags: []SessionTag{{"AWS:a", "1"}}}, ValidationError, "Tag keys beginning with aws: are reserved."},
		"tag's key":      {alice, AssumeRoleRequest{Tags: []SessionTag{{"", "1"}}}, ValidationError, one + "Value '' at 'tags.1.member.key' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		"many tags":      {alice, AssumeRoleRequest{Tags: many}, ValidationError, one + "Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"},
		"transitive tag": {alice, AssumeRoleRequest{TransitiveTagKeys: []string{"a"}}, ValidationError, "The transitive tag key a is not the key of a tag of the session."},
	} {
		in := c.in
		in.RoleARN = cmpRole(in.RoleARN)
		if in.RoleSessionName == "" {
			in.RoleSessionName = "session"
		}
		_, err := h.service.AssumeRole(t.Context(), c.call, &in)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		wantIdentityError(t, err, c.code, c.text)
	}
	must(h.service.PutTrust(t.Context(), new(Call), &PutTrustRequest{Name: "app", Trust: json.RawMessage(trust(`{"Effect":"Allow","Principal":"*","Action":"sts:*"}`))}))(t)
	_, err := h.service.AssumeRole(t.Context(), alice, &AssumeRoleRequest{RoleARN: roleARN(account, "app"), RoleSessionName: "session", Tags: long})
	if !errors.Is(err, PackedPolicyTooLarge) {
		t.Errorf("tags of 12 KB: got %v", err)
	}
}

// TestCallerOf looks principals up by their ARNs, as an explanation of a policy does.
func TestCallerOf(t *testing.T) {
	h := newHarness(t)
	h.user(account, "alice", grantAll)
	role := h.role(account, "app", trustsAccount, grantAll)
	must(h.service.PutBoundary(t.Context(), new(Call), &PutBoundaryRequest{Principal: Principal{Role: "app"}, Policy: json.RawMessage(grantAll)}))(t)
	for _, arn := range []string{userARN(account, "alice"), role.ARN, "arn:aws:sts::" + account + ":assumed-role/app/x", accountARN("aws", "999999999999")} {
		caller, err := h.service.CallerOf(t.Context(), arn)
		if err != nil || caller.Principal.ARN != arn || strings.Contains(arn, "app") != (caller.Boundary != nil) || strings.Contains(arn, "assumed") != (caller.Principal.Role != "" && caller.Principal.ID == role.ID+":x") {
			if arn != role.ARN || caller == nil || caller.Principal.ID != role.ID {
				t.Errorf("%s: got %+v, %v", arn, caller, err)
			}
		}
	}
	for arn, want := range map[string][2]bool{
		userARN(account, "alice"): {true, true}, userARN(account, "bob"): {false, true}, userARN(stranger, "bob"): {true, false},
		role.ARN: {true, true}, roleARN(account, "none"): {false, true}, roleARN(stranger, "none"): {true, false},
		accountARN("aws", account): {true, true}, accountARN("aws", stranger): {true, false}, "x": {false, false},
		"arn:aws:sts::" + account + ":federated-user/f": {true, true}, "arn:aws:sts::" + account + ":assumed-role/none/x": {false, true},
	} {
		if exists, held, err := h.service.PrincipalExists(t.Context(), arn); err != nil || exists != want[0] || held != want[1] {
			t.Errorf("%s: exists %v, held %v, %v", arn, exists, held, err)
		}
	}
	for _, arn := range []string{"x", userARN(account, "bob"), userARN(account, "x/alice"), roleARN(account, "none"), "arn:aws:sts::" + account + ":assumed-role/none/x"} {
		if _, err := h.service.CallerOf(t.Context(), arn); !errors.Is(err, NoSuchEntity) {
			t.Errorf("%s: got %v", arn, err)
		}
	}
}

// TestMappedCallers changes the principals that a map names.
func TestMappedCallers(t *testing.T) {
	h := newHarness(t)
	ctx := t.Context()
	h.user(account, "alice")
	h.role(account, "app", trustsAccount)
	alice := must(h.service.MappedCaller(ctx, userARN(account, "alice"), "s1"))(t)
	app := must(h.service.MappedCaller(ctx, roleARN(account, "app"), "s1"))(t)
	if alice.Principal.ARN != userARN(account, "alice") || app.Principal.ARN != "arn:aws:sts::111122223333:assumed-role/app/s1" || app.Principal.Role != roleARN(account, "app") {
		t.Errorf("got %+v and %+v", alice.Principal, app.Principal)
	}
	// The store may drop the record once more when it is told of its own write, and with it the caller.
	kept := false
	for tries := 0; tries < 100 && !kept; tries++ {
		again := must(h.service.MappedCaller(ctx, roleARN(account, "app"), "s1"))(t)
		kept, app = again == app, again
	}
	if !kept || must(h.service.MappedCaller(ctx, roleARN(account, "app"), "s2"))(t) == app {
		t.Error("callers are not kept by principal and session")
	}
	must(h.service.PutPolicy(ctx, new(Call), &PutPolicyRequest{Principal: Principal{Role: "app"}, Name: "p", Policy: json.RawMessage(grantAll)}))(t)
	if now := must(h.service.MappedCaller(ctx, roleARN(account, "app"), "s1"))(t); len(now.Policies) != 1 {
		t.Error("a new policy does not count")
	}
	must(h.service.DeleteRole(ctx, new(Call), &RoleRequest{Name: "app"}))(t)
	for _, arn := range []string{roleARN(account, "app"), userARN(account, "x/alice"), accountARN("aws", account), "x"} {
		if _, err := h.service.MappedCaller(ctx, arn, "s1"); !errors.Is(err, NoSuchEntity) {
			t.Errorf("%s: got %v", arn, err)
		}
	}
}

// TestIdentitySet takes sets of files in place of one another.
func TestIdentitySet(t *testing.T) {
	h := newHarness(t)
	ctx := t.Context()
	h.user(account, "stored")
	sealed := must(h.service.SealAccessKey(ctx, new(Call), &SealAccessKeyRequest{}))(t)
	user := func(name string, keys ...FileAccessKey) FileUser {
		return FileUser{File: "a.yaml", UserRecord: keystore.UserRecord{Account: stranger, Name: name,
			Identity: keystore.Identity{Policies: map[string]json.RawMessage{"p": json.RawMessage(allow("sts:*", "*"))}}}, Keys: keys}
	}
	role := FileRole{File: "b.yaml", RoleRecord: keystore.RoleRecord{Account: stranger, Name: "app", Trust: json.RawMessage(trust(`{"Effect":"Allow","Principal":{"AWS":"` + stranger + `"},"Action":"sts:AssumeRole"}`))}}
	plain := FileAccessKey{ID: "AKIAFILEFILEFILEFILE", Secret: strings.Repeat("s", 40)}
	good := IdentitySet{Users: []FileUser{user("filed", plain, FileAccessKey{ID: sealed.ID, Sealed: sealed.Sealed})}, Roles: []FileRole{role}}
	if err := h.service.UseIdentities(ctx, good); err != nil {
		t.Fatal(err)
	}
	for _, key := range []AccessKey{{plain.ID, plain.Secret}, {sealed.ID, sealed.Secret}} {
		call := h.signedBy(key)
		if call.Caller.Principal.ARN != userARN(stranger, "filed") || len(call.Caller.Principal.ID) != 21 || call.Caller.AccessKeyID != key.ID {
			t.Errorf("the caller is %+v", call.Caller)
		}
	}
	call := h.signedBy(AccessKey{plain.ID, plain.Secret})
	session := must(h.service.AssumeRole(ctx, call, &AssumeRoleRequest{RoleARN: roleARN(stranger, "app"), RoleSessionName: "s1"}))(t)
	h.within(session.Credentials)

	// What a file describes cannot be changed or made in the keystore.
	inFile := "The user filed is described in a.yaml: change it there."
	_, err := h.service.PutPolicy(ctx, new(Call), &PutPolicyRequest{Principal: Principal{Account: stranger, User: "filed"}, Name: "p", Policy: json.RawMessage(grantAll)})
	wantIdentityError(t, err, UnmodifiableEntity, inFile)
	_, err = h.service.DeleteUser(ctx, new(Call), &DeleteUserRequest{Account: stranger, Name: "filed"})
	wantIdentityError(t, err, UnmodifiableEntity, inFile)
	_, err = h.service.DisableAccessKey(ctx, new(Call), &AccessKeyRequest{ID: plain.ID})
	wantIdentityError(t, err, UnmodifiableEntity, "The access key "+plain.ID+" is described in a.yaml: change it there.")
	_, err = h.service.CreateUser(ctx, new(Call), &CreateUserRequest{Account: stranger, Name: "filed"})
	wantIdentityError(t, err, EntityAlreadyExists, "User with name filed already exists.")
	_, err = h.service.CreateRole(ctx, new(Call), &CreateRoleRequest{Account: stranger, Name: "app", Trust: json.RawMessage(trustsAccount)})
	wantIdentityError(t, err, EntityAlreadyExists, "Role with name app already exists.")
	_, err = h.service.DeleteRole(ctx, new(Call), &RoleRequest{Account: stranger, Name: "app"})
	wantIdentityError(t, err, UnmodifiableEntity, "The role app is described in b.yaml: change it there.")
	list := must(h.service.ListIdentities(ctx, new(Call), &ListIdentitiesRequest{}))(t)
	if len(list.Users) != 2 || len(list.Roles) != 1 || list.Users[1].File != "a.yaml" || len(list.Users[1].AccessKeys) != 2 {
		t.Errorf("the list is %+v", list)
	}

	// Sets with mistakes are refused as a whole.
	stored := user("stored")
	stored.Account = account
	badPolicy := user("x")
	badPolicy.Policies = map[string]json.RawMessage{"p": json.RawMessage(`{}`)}
	badRole := role
	badRole.Trust = json.RawMessage(grantAll)
	for name, c := range map[string]struct {
		set  IdentitySet
		text string
	}{
		"twice":               {IdentitySet{Users: []FileUser{user("x"), user("x")}}, "a.yaml: user x: it is there twice"},
		"in the keystore":     {IdentitySet{Users: []FileUser{stored}}, "a.yaml: user stored: the keystore has one of that name"},
		"key twice":           {IdentitySet{Users: []FileUser{user("x", plain, plain)}}, "a.yaml: user x: access key AKIAFILEFILEFILEFILE: it is there twice"},
		"another key's seal":  {IdentitySet{Users: []FileUser{user("x", FileAccessKey{ID: plain.ID, Sealed: sealed.Sealed})}}, "a.yaml: user x: access key AKIAFILEFILEFILEFILE: the sealed secret is not one that kms11 iam seal made for this key id"},
		"short secret":        {IdentitySet{Users: []FileUser{user("x", FileAccessKey{ID: plain.ID, Secret: "short"})}}, "a.yaml: user x: access key AKIAFILEFILEFILEFILE: its secret has fewer than 20 characters"},
		"temporary key":       {IdentitySet{Users: []FileUser{user("x", FileAccessKey{ID: "ASIAFILEFILEFILEFILE", Secret: plain.Secret})}}, "its id is not 16 to 128 letters and digits, or begins with ASIA"},
		"policy":              {IdentitySet{Users: []FileUser{badPolicy}}, "a.yaml: user x: MalformedPolicyDocument: Syntax errors in policy."},
		"trust policy":        {IdentitySet{Roles: []FileRole{badRole}}, "b.yaml: role app: MalformedPolicyDocument: Has prohibited field Resource"},
		"name":                {IdentitySet{Users: []FileUser{user("a b")}}, `a.yaml: user a b: ValidationError: The name "a b" is not 1 to 64 letters`},
		"role is there twice": {IdentitySet{Roles: []FileRole{role, role}}, "b.yaml: role app: it is there twice"},
	} {
		if err := h.service.UseIdentities(ctx, c.set); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	h.signedBy(AccessKey{plain.ID, plain.Secret})
	h.service.RefuseIdentities(errors.New("why"))
	h.signedBy(AccessKey{plain.ID, plain.Secret})
	status := must(h.service.Status(ctx))(t).Identities
	if status.Problem != "why" || status.Users != 1 || status.Roles != 1 {
		t.Errorf("the status is %+v", status)
	}

	// The next set counts at once; the session is of the same role as long as the file has it.
	changed := good
	changed.Users = []FileUser{user("filed", FileAccessKey{ID: plain.ID, Secret: plain.Secret, Disabled: true})}
	if err := h.service.UseIdentities(ctx, changed); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{plain.ID, sealed.ID} {
		if _, _, err := h.service.Credential(ctx, id); !errors.Is(err, ErrUnknownAccessKey) {
			t.Errorf("%s is still good: %v", id, err)
		}
	}
	h.within(session.Credentials)
	if err := h.service.UseIdentities(ctx, IdentitySet{}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := h.service.SessionCredential(ctx, "192.0.2.1", session.Credentials.ID, session.Credentials.Token); !errors.Is(err, ErrBadSessionToken) {
		t.Errorf("a session without a role is good: %v", err)
	}
}
