package ops

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/oidc"
)

// told are the records of all sources, newest last.
func (h *auditedHarness) told() (all []record) {
	h.t.Helper()
	for line, err := range audit.Lines(h.dir, 1) {
		if err != nil {
			h.t.Fatal(err)
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			h.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func (h *auditedHarness) newest() record {
	h.t.Helper()
	all := h.told()
	return all[len(all)-1]
}

// text is all of the trail.
func (h *auditedHarness) text() string {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "*.jsonl"))
	if err != nil || len(files) == 0 {
		h.t.Fatalf("%d files, %v", len(files), err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			h.t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// administer does what the admin socket's handler does.
func (h *auditedHarness) administer(action, request string) (any, error) {
	return h.service.Administer(h.t.Context(), Origin{SourceIP: "admin socket", Peer: "uid:1000"}, action, []byte(request))
}

// jsonOf is a value as compact JSON with its members in the order of their names.
func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAdministrationEvents takes every action of the administrator's to the trail.
func TestAdministrationEvents(t *testing.T) {
	h := newAudited(t)
	const allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`
	quoted := jsonOf(t, allow)
	quotedTrust := jsonOf(t, trustsAccount)
	var secrets []string
	var keyID string
	done := make(map[string]bool)
	for _, step := range []struct {
		action, request, source, event, parameters, code string
	}{
		{"create-user", `{"name":"alice","path":"/x/","tags":{"team":"red"}}`, audit.SourceIAM, "CreateUser", `{"path":"/x/","tags":[{"key":"team","value":"red"}],"userName":"alice"}`, ""},
		{"create-user", `{"name":"alice"}`, audit.SourceIAM, "CreateUser", `{"userName":"alice"}`, "EntityAlreadyExists"},
		{"create-user", `{"nonsense":"alice"}`, audit.SourceIAM, "CreateUser", `null`, "ValidationError"},
		{"create-role", `{"name":"app","trust":` + trustsAccount + `}`, audit.SourceIAM, "CreateRole", `{"assumeRolePolicyDocument":` + quotedTrust + `,"roleName":"app"}`, ""},
		{"put-trust", `{"name":"app","trust":` + trustsAccount + `,"maxSessionSeconds":7200}`, audit.SourceIAM, "UpdateAssumeRolePolicy", `{"maxSessionDuration":7200,"policyDocument":` + quotedTrust + `,"roleName":"app"}`, ""},
		{"revoke-sessions", `{"name":"app"}`, audit.SourceAdmin, "RevokeSessions", `{"roleName":"app"}`, ""},
		{"put-policy", `{"user":"alice","name":"p","policy":` + allow + `}`, audit.SourceIAM, "PutUserPolicy", `{"policyDocument":` + quoted + `,"policyName":"p","userName":"alice"}`, ""},
		{"put-policy", `{"role":"app","name":"p","policy":` + allow + `}`, audit.SourceIAM, "PutRolePolicy", `{"policyDocument":` + quoted + `,"policyName":"p","roleName":"app"}`, ""},
		{"delete-policy", `{"role":"app","name":"p"}`, audit.SourceIAM, "DeleteRolePolicy", `{"policyName":"p","roleName":"app"}`, ""},
		{"put-boundary", `{"user":"alice","policy":` + allow + `}`, audit.SourceIAM, "PutUserPermissionsBoundary", `{"permissionsBoundary":` + quoted + `,"userName":"alice"}`, ""},
		{"delete-boundary", `{"user":"alice"}`, audit.SourceIAM, "DeleteUserPermissionsBoundary", `{"userName":"alice"}`, ""},
		{"tag", `{"role":"app","tags":{"a":"b"}}`, audit.SourceIAM, "TagRole", `{"roleName":"app","tags":[{"key":"a","value":"b"}]}`, ""},
		{"untag", `{"role":"app","keys":["a"]}`, audit.SourceIAM, "UntagRole", `{"roleName":"app","tagKeys":["a"]}`, ""},
		{"create-access-key", `{"user":"alice"}`, audit.SourceIAM, "CreateAccessKey", `{"userName":"alice"}`, ""},
		{"disable-access-key", `{"accessKeyId":"KEY"}`, audit.SourceIAM, "UpdateAccessKey", `{"accessKeyId":"KEY","status":"Inactive","userName":"alice"}`, ""},
		{"enable-access-key", `{"accessKeyId":"KEY"}`, audit.SourceIAM, "UpdateAccessKey", `{"accessKeyId":"KEY","status":"Active","userName":"alice"}`, ""},
		{"rotate-access-key", `{"accessKeyId":"KEY"}`, audit.SourceAdmin, "RotateAccessKey", `{"accessKeyId":"KEY","userName":"alice"}`, ""},
		{"delete-access-key", `{"accessKeyId":"KEY"}`, audit.SourceIAM, "DeleteAccessKey", `{"accessKeyId":"KEY","userName":"alice"}`, ""},
		{"delete-access-key", `{"accessKeyId":"AKIANOBODY"}`, audit.SourceIAM, "DeleteAccessKey", `{"accessKeyId":"AKIANOBODY"}`, "NoSuchEntity"},
		{"seal", `{"secretAccessKey":"a-secret-of-the-administrator"}`, audit.SourceAdmin, "SealAccessKey", `{}`, ""},
		{"list", `{}`, audit.SourceAdmin, "ListIdentities", `{}`, ""},
		{"delete-role", `{"name":"app"}`, audit.SourceIAM, "DeleteRole", `{"roleName":"app"}`, ""},
		{"delete-user", `{"name":"alice","force":true}`, audit.SourceIAM, "DeleteUser", `{"force":true,"userName":"alice"}`, ""},
	} {
		first := keyID
		before, waiting := len(h.told()), len(h.outboxIDs())
		answer, err := h.administer(step.action, strings.ReplaceAll(step.request, "KEY", first))
		if (err != nil) != (step.code != "") {
			t.Fatalf("%s: %v", step.action, err)
		}
		if key, ok := answer.(AccessKey); ok {
			secrets = append(secrets, key.Secret)
			if step.action == "create-access-key" {
				keyID = key.ID
			}
			if got := h.newest().ResponseElements["accessKey"].(map[string]any); got["accessKeyId"] != key.ID || len(got) != 2 {
				t.Errorf("%s: %v", step.action, got)
			}
		}
		if sealed, ok := answer.(SealedAccessKey); ok && sealed.Secret != "" {
			t.Error("a given secret is told back")
		}
		r := h.newest()
		parameters := strings.ReplaceAll(jsonOf(t, r.RequestParameters), first, "KEY")
		if first == "" {
			parameters = jsonOf(t, r.RequestParameters)
		}
		mutates := !strings.HasPrefix(step.event, "List")
		if len(h.told()) != before+1 || r.EventSource != step.source || r.EventName != step.event || r.ErrorCode != step.code || parameters != step.parameters || r.ReadOnly == mutates ||
			r.UserIdentity["type"] != "Administrator" || r.UserIdentity["principalId"] != "uid:1000" || r.EventType != "AwsApiCall" || r.RequestID == "" {
			t.Errorf("%s: %+v\nparameters %s\nwant       %s", step.action, r, parameters, step.parameters)
		}
		stored := mutates && step.code == "" && step.action != "seal"
		if ids := h.outboxIDs(); len(ids) != waiting && !stored || len(ids) != waiting+1 && stored {
			t.Errorf("%s: %d events are in the store, then %d", step.action, waiting, len(ids))
		}
		done[step.action] = true
	}
	for _, row := range iamActions() {
		if !done[row.name] {
			t.Errorf("the action %s was not tried", row.name)
		}
	}
	secrets = append(secrets, "a-secret-of-the-administrator")
	if len(secrets) != 3 {
		t.Fatalf("%d secrets", len(secrets))
	}
	for _, secret := range secrets {
		if strings.Contains(h.text(), secret) {
			t.Error("the trail holds a secret")
		}
	}
}

// TestAdministrationOutbox: an administrator's change is told of once, whatever a crash leaves, and is
// not done where there could be no record of it.
func TestAdministrationOutbox(t *testing.T) {
	h := newAudited(t)
	call := h.service.Begin("r", Origin{})
	call.Operation, call.other = "CreateUser", &other{source: audit.SourceIAM, identity: &audit.Identity{Type: administratorType}}
	in := &CreateUserRequest{Name: "lost", Account: stranger}
	call.tell(in.told())
	must(h.service.CreateUser(t.Context(), call, in))(t) // and a crash before it is recorded
	h.closeTrail()
	h.openTrail()
	for range 2 {
		if err := h.service.RecoverAudit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r := h.newest()
	if r.EventName != "CreateUser" || r.RequestParameters["userName"] != "lost" || r.AdditionalEventData["copiedFromKeystore"] != true || r.RecipientAccountID != stranger || r.EventID != call.EventID {
		t.Errorf("%+v", r)
	}
	h.eachOnce(h.told())
	h.closeTrail()
	if _, err := h.administer("create-user", `{"name":"late"}`); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := h.store.User(t.Context(), h.service.userID("", "late")); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("the user was made: %v", err)
	}
}

// TestIdentityFilesEvent: a directory of identities that is taken is told of, and not taken without.
func TestIdentityFilesEvent(t *testing.T) {
	h := newAudited(t)
	set := IdentitySet{Users: []FileUser{{File: "f", UserRecord: keystore.UserRecord{Account: account, Name: "filed"}}}}
	if err := h.service.UseIdentities(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	if r := h.newest(); r.EventName != "LoadIdentities" || r.EventType != "AwsServiceEvent" || r.ServiceEventDetails["users"] != 1.0 {
		t.Errorf("%+v", r)
	}
	h.closeTrail()
	if err := h.service.UseIdentities(t.Context(), IdentitySet{}); !errors.Is(err, audit.ErrClosed) || len(h.service.files.Load().users) != 1 {
		t.Errorf("it was taken without a record: %v", err)
	}
}

// TestSTSEvents: what sessions are made, for whom, and what was refused, without their secrets.
func TestSTSEvents(t *testing.T) {
	h := newAudited(t)
	const issuer = "https://oidc.example.com/id/1"
	h.service.web = issuers{"good": func() (*oidc.Token, error) {
		return &oidc.Token{Provider: &oidc.Provider{Account: account, Issuer: issuer}, Subject: "sub", Audience: "sts"}, nil
	}}
	provider := "arn:aws:iam::" + account + ":oidc-provider/oidc.example.com/id/1"
	role := h.role(account, "app", trust(`{"Effect":"Allow","Principal":{"AWS":"`+account+`","Federated":"`+provider+`"},"Action":"sts:*"}`))
	alice := h.user(account, "alice", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"}]}`)
	begin := func(operation string) *Call {
		call := h.service.BeginSTS("request-of-"+operation, Origin{SourceIP: "192.0.2.1"})
		call.Operation, call.Region, call.Caller = operation, testRegion, alice.Caller
		return call
	}
	conclude := func(call *Call, err error) record {
		t.Helper()
		code, message := "", ""
		if err != nil {
			code, message = administrationError(err)
		}
		if err := h.service.ConcludeSTS(call, code, message); err != nil {
			t.Fatal(err)
		}
		r := h.newest()
		if r.EventSource != "sts.amazonaws.com" || r.EventName != call.Operation || r.EventID != call.EventID || !r.ReadOnly || r.EventType != "AwsApiCall" {
			t.Errorf("%+v", r)
		}
		return r
	}

	call := begin("GetCallerIdentity")
	h.service.GetCallerIdentity(call)
	if r := conclude(call, nil); r.UserIdentity["type"] != "IAMUser" || r.UserIdentity["userName"] != "alice" || r.RequestParameters != nil || r.ResponseElements != nil {
		t.Errorf("%+v", r)
	}

	call = begin("AssumeRole")
	made, err := h.service.AssumeRole(t.Context(), call, &AssumeRoleRequest{
		RoleARN: role.ARN, RoleSessionName: "s1", DurationSeconds: 900, ExternalID: "external", Tags: []SessionTag{{"team", "red"}},
	})
	r := conclude(call, err)
	if want := `{"durationSeconds":900,"externalId":"external","roleArn":"` + role.ARN + `","roleSessionName":"s1","tags":[{"key":"team","value":"red"}]}`; jsonOf(t, r.RequestParameters) != want {
		t.Errorf("got %s", jsonOf(t, r.RequestParameters))
	}
	if want := fmt.Sprintf(`{"assumedRoleUser":{"arn":"%s","assumedRoleId":"%s"},"credentials":{"accessKeyId":"%s","expiration":"%s"},"packedPolicySize":%d}`,
		made.ARN, made.ID, made.Credentials.ID, made.Credentials.Expires.Format(time.RFC3339), made.PackedPolicySize); jsonOf(t, r.ResponseElements) != want {
		t.Errorf("got  %s\nwant %s", jsonOf(t, r.ResponseElements), want)
	}
	if len(r.Resources) != 1 || r.Resources[0].ARN != role.ARN || r.Resources[0].AccountID != account || r.Resources[0].Type != "AWS::IAM::Role" {
		t.Errorf("%+v", r.Resources)
	}

	call = begin("AssumeRole")
	_, err = h.service.AssumeRole(t.Context(), call, &AssumeRoleRequest{RoleARN: roleARN(account, "none"), RoleSessionName: "s1"})
	if r := conclude(call, err); r.ErrorCode != "AccessDenied" || r.ResponseElements != nil || r.UserIdentity["userName"] != "alice" || r.RequestParameters["roleSessionName"] != "s1" {
		t.Errorf("%+v", r)
	}

	call = begin("AssumeRoleWithWebIdentity")
	call.Caller = nil
	borne, err := h.service.AssumeRoleWithWebIdentity(t.Context(), call, &WebIdentityRequest{RoleARN: role.ARN, RoleSessionName: "s2", WebIdentityToken: "good"})
	r = conclude(call, err)
	if want := `{"identityProvider":"` + provider + `","principalId":"` + provider + `:sts:sub","type":"WebIdentityUser","userName":"sub"}`; jsonOf(t, r.UserIdentity) != want {
		t.Errorf("got %s", jsonOf(t, r.UserIdentity))
	}
	if r.ResponseElements["subjectFromWebIdentityToken"] != "sub" || r.ResponseElements["audience"] != "sts" || r.ResponseElements["provider"] != issuer ||
		r.ResponseElements["credentials"].(map[string]any)["accessKeyId"] != borne.Credentials.ID {
		t.Errorf("%+v", r)
	}

	call = begin("AssumeRoleWithWebIdentity")
	call.Caller = nil
	_, err = h.service.AssumeRoleWithWebIdentity(t.Context(), call, &WebIdentityRequest{RoleARN: role.ARN, RoleSessionName: "s3", WebIdentityToken: "forged-token"})
	if r := conclude(call, err); r.UserIdentity["type"] != "Unknown" || r.ErrorCode != "InvalidIdentityToken" || r.RequestParameters["roleSessionName"] != "s3" {
		t.Errorf("%+v", r)
	}
	text := h.text()
	for _, secret := range []string{made.Credentials.Secret, made.Credentials.Token, borne.Credentials.Secret, borne.Credentials.Token, "forged-token"} {
		if strings.Contains(text, secret) {
			t.Error("the trail holds a secret")
		}
	}
}

// TestProxyEvents: a use of a key through the proxy is a use of a key.
func TestProxyEvents(t *testing.T) {
	h := newAudited(t)
	proxy := NewProxy(h.service, nil)
	made := h.createKeyAudited()
	do := func(event string, what func(*Call) (any, error)) {
		t.Helper()
		if _, err := proxy.Administer(Origin{Peer: "uid:0"}, event, [][2]string{{"uriPathPrefix", "/t"}, {"id", ""}}, what); err != nil {
			t.Fatal(err)
		}
		r := h.newest()
		if r.EventName != event || r.EventSource != audit.SourceAdmin || jsonOf(t, r.RequestParameters) != `{"uriPathPrefix":"/t"}` || r.UserIdentity["principalId"] != "uid:0" {
			t.Errorf("%+v", r)
		}
	}
	waiting := len(h.outboxIDs())
	do("CreateXksTenant", func(call *Call) (any, error) {
		return nil, proxy.CreateTenant(t.Context(), call, "/t", XksTenantSettings{})
	})
	do("CreateXksKey", func(call *Call) (any, error) {
		return proxy.CreateKey(t.Context(), call, XksKeyRequest{ID: "k", Prefix: "/t", KeyID: made})
	})
	var credential AccessKey
	do("CreateXksCredential", func(call *Call) (any, error) {
		var err error
		credential, err = proxy.CreateCredential(t.Context(), call, "/t")
		return credential, err
	})
	if ids := h.outboxIDs(); len(ids) != waiting+3 {
		t.Errorf("%d events are in the store, then %d", waiting, len(ids))
	}
	if strings.Contains(h.text(), credential.Secret) {
		t.Error("the trail holds a secret")
	}
	if _, err := proxy.Administer(Origin{}, "CreateXksTenant", nil, func(call *Call) (any, error) {
		return nil, proxy.CreateTenant(t.Context(), call, "/t", XksTenantSettings{})
	}); !errors.Is(err, ErrProxyConflict) {
		t.Fatal(err)
	}
	if r := h.newest(); r.ErrorCode != "Conflict" {
		t.Errorf("%+v", r)
	}

	key, err := proxy.Key(t.Context(), "/t", "k")
	if err != nil {
		t.Fatal(err)
	}
	call := proxy.Begin(Origin{SourceIP: "192.0.2.9"})
	if _, err := key.Encrypt(t.Context(), ProxyUse{RequestID: "at-aws", EventID: call.EventID}, bindTo("a"), []byte("text")); err != nil {
		t.Fatal(err)
	}
	event := ProxyEvent{
		Operation: "Encrypt", Prefix: "/t", AccessKeyID: credential.ID, Authenticated: true, Region: "eu-west-3", KMSRequestID: "at-aws", Key: key,
		Request: ProxyRequest{Key: "k", PrincipalARN: "arn:aws:iam::999999999999:user/who", Operation: "GenerateDataKey"},
	}
	before := len(h.told())
	if err := proxy.Conclude(call, &event, "", ""); err != nil {
		t.Fatal(err)
	}
	r := h.newest()
	arn := kms.KeyARN(testRegion, account, made).String()
	if len(h.told()) != before+1 || r.EventSource != audit.SourceKMS || r.EventName != "Encrypt" || r.EventID != call.EventID || len(r.Resources) != 1 || r.Resources[0].ARN != arn || !r.ReadOnly ||
		r.AWSRegion != testRegion || jsonOf(t, r.UserIdentity) != `{"accessKeyId":"`+credential.ID+`","accountId":"`+account+`","principalId":"/t","type":"XksTenant"}` {
		t.Errorf("%+v", r)
	}
	if want := `{"awsPrincipalArn":"arn:aws:iam::999999999999:user/who","callerRegion":"eu-west-3","externalKeyId":"k","kmsOperation":"GenerateDataKey","kmsRequestId":"at-aws","uriPathPrefix":"/t"}`; jsonOf(t, r.RequestParameters) != want {
		t.Errorf("got %s", jsonOf(t, r.RequestParameters))
	}
	if used := h.lastUsage(made).KeyLastUsage; used == nil || used.CloudTrailEventId != call.EventID || used.KmsRequestId != "at-aws" {
		t.Errorf("GetKeyLastUsage says %+v", used)
	}

	// Nobody was authenticated, and no key was found.
	call = proxy.Begin(Origin{SourceIP: "192.0.2.9"})
	if err := proxy.Conclude(call, &ProxyEvent{Operation: "Decrypt", Prefix: "/t", AccessKeyID: "claimed"}, "AuthenticationFailedException", "no"); err != nil {
		t.Fatal(err)
	}
	if r := h.newest(); r.EventSource != audit.SourceXKS || r.UserIdentity["type"] != "Unknown" || r.ErrorCode != "AuthenticationFailedException" || r.AdditionalEventData["claimedAccessKeyId"] != "claimed" || r.Resources != nil {
		t.Errorf("%+v", r)
	}
}

// TestRotationCommandEvent: the keys of a domain are not rotated without a record of who wanted it.
func TestRotationCommandEvent(t *testing.T) {
	h := newAudited(t)
	r := RotationRequest{Region: "eu-west-3", Tokens: []string{"pkcs11:token=a?pin-value=123456"}, Fingerprints: []string{"f"}}
	done := 0
	do := func() (any, error) { done++; return nil, nil }
	if _, err := h.service.RecordRotation(Origin{Peer: "uid:7"}, "RotateDomain", r, do); err != nil || done != 1 {
		t.Fatal(err)
	}
	got := h.newest()
	if got.EventName != "RotateDomain" || got.EventSource != audit.SourceAdmin || got.ReadOnly || got.UserIdentity["principalId"] != "uid:7" ||
		jsonOf(t, got.RequestParameters) != `{"fingerprints":["f"],"region":"eu-west-3","tokens":["pkcs11:token=a"]}` {
		t.Errorf("%+v", got)
	}
	h.closeTrail()
	if _, err := h.service.RecordRotation(Origin{}, "RotateDomain", r, do); !errors.Is(err, audit.ErrClosed) || done != 1 {
		t.Errorf("done %d times: %v", done, err)
	}
}

func TestShownObject(t *testing.T) {
	if got := ShownObject("pkcs11:token=t;object=o?module-path=/x/y.so&pin-value=1234"); got != "pkcs11:token=t;object=o" {
		t.Errorf("got %s", got)
	}
	if got := ShownObject("pin-value=1234"); got != "" {
		t.Errorf("got %s", got)
	}
}
