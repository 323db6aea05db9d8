package api

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/ops"
)

const stsTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:*"}]}`

type in = map[string]any

// newUser makes a user with a policy and gives its credentials.
func (s *site) newUser(name, policy string) credentials {
	s.t.Helper()
	s.administer("create-user", in{"name": name}, nil)
	if policy != "" {
		s.administer("put-policy", map[string]any{"user": name, "name": "p", "policy": raw(policy)}, nil)
	}
	var key struct{ AccessKeyID, SecretAccessKey string }
	s.administer("create-access-key", in{"user": name}, &key)
	return credentials{id: key.AccessKeyID, secret: key.SecretAccessKey}
}

// raw is JSON as it is.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// assumedAnswer is what a client reads of an answer to AssumeRole.
type assumedAnswer struct {
	XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
	Result  struct {
		SourceIdentity  string
		AssumedRoleUser struct{ Arn, AssumedRoleId string }
		Credentials     struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
		Packed          string `xml:"PackedPolicySize"`
	} `xml:"AssumeRoleResult"`
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

func (s *site) assume(c credentials, form string) (assumedAnswer, credentials) {
	s.t.Helper()
	w := s.sts(c, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fapp&RoleSessionName=s1"+form)
	var answer assumedAnswer
	if err := xml.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
		s.t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	made := answer.Result.Credentials
	return answer, credentials{made.AccessKeyId, made.SecretAccessKey, made.SessionToken}
}

// TestSTS has a session made, used and run out, over HTTP.
func TestSTS(t *testing.T) {
	s := newSite(t)
	alice := s.newUser("alice", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}`)
	s.administer("create-role", map[string]any{"name": "app", "trust": raw(stsTrust)}, nil)
	s.administer("put-policy", map[string]any{"role": "app", "name": "p", "policy": raw(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`)}, nil)

	const identity = "Action=GetCallerIdentity&Version=2011-06-15"
	w := s.sts(alice, identity)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "<GetCallerIdentityResult>") || !strings.Contains(w.Body.String(), "<Arn>arn:aws:iam::111122223333:user/alice</Arn>") ||
		!strings.Contains(w.Body.String(), "<Account>111122223333</Account>") || !strings.Contains(w.Body.String(), "<UserId>AIDA") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// By GET, and signed for the global endpoint's Region.
	got := s.ask(alice, "sts", "us-east-1", httptest.NewRequest(http.MethodGet, "/?"+identity, nil), "")
	if got.Code != 200 || !strings.Contains(got.Body.String(), "user/alice") {
		t.Errorf("%d %s", got.Code, got.Body)
	}

	answer, session := s.assume(alice, "&DurationSeconds=900&Policy="+url.QueryEscape(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:CreateKey","Resource":"*"}]}`))
	r := answer.Result
	if r.AssumedRoleUser.Arn != "arn:aws:sts::111122223333:assumed-role/app/s1" || !strings.HasSuffix(r.AssumedRoleUser.AssumedRoleId, ":s1") ||
		r.Credentials.Expiration != "2026-03-01T12:15:00Z" || r.Packed == "" || answer.RequestID == "" {
		t.Errorf("got %+v", answer)
	}
	if w := s.sts(session, identity); w.Code != 200 || !strings.Contains(w.Body.String(), "assumed-role/app/s1") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.kms(session, "CreateKey", "{}"); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.kms(session, "ListKeys", "{}"); !strings.Contains(w.Body.String(), "because no session policy allows the kms:ListKeys action") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// Without the token, with another session's token, with a wrong secret, for another service.
	_, other := s.assume(alice, "")
	invalid := "The security token included in the request is invalid."
	for name, c := range map[string]credentials{
		"no token": {session.id, session.secret, ""}, "another token": {session.id, session.secret, other.token},
		"another key": {other.id, session.secret, session.token}, "nobody": {"ASIANOBODYNOBODYNOBO", session.secret, session.token},
	} {
		if w := s.kms(c, "ListKeys", "{}"); w.Code != 400 || w.Header().Get("X-Amzn-Errortype") != "UnrecognizedClientException" || !strings.Contains(w.Body.String(), invalid) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		wantXML(t, s.sts(c, identity), 403, "InvalidClientTokenId", invalid)
	}
	mismatch := "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	wantXML(t, s.sts(credentials{session.id, other.secret, session.token}, identity), 403, "SignatureDoesNotMatch", mismatch)
	form := httptest.NewRequest(http.MethodPost, "/", nil)
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	wantXML(t, s.ask(alice, "kms", testRegion, form, identity), 403, "SignatureDoesNotMatch", "Credential should be scoped to correct service: 'sts'. ")

	s.advance(15*time.Minute - time.Second)
	if w := s.sts(session, identity); w.Code != 200 {
		t.Errorf("a second before its end: %d %s", w.Code, w.Body)
	}
	s.advance(time.Second)
	wantXML(t, s.sts(session, identity), 403, "ExpiredToken", "The security token included in the request is expired")
	if w := s.kms(session, "ListKeys", "{}"); w.Code != 400 || w.Body.String() != `{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}

	for _, secret := range []string{alice.secret, session.secret, session.token, other.token} {
		if strings.Contains(s.log.String(), secret) {
			t.Error("the log holds a secret or a token")
		}
	}
	if !strings.Contains(s.log.String(), "request to STS refused") {
		t.Error("the log tells of nothing: the search proves nothing")
	}
}

// TestSTSErrors has AWS's codes, texts and statuses for what is wrong with a request.
func TestSTSErrors(t *testing.T) {
	s := newSite(t)
	alice := s.newUser("alice", "")
	s.administer("create-role", map[string]any{"name": "app", "trust": raw(stsTrust)}, nil)
	const role = "&RoleArn=arn:aws:iam::111122223333:role/app&RoleSessionName=s1"
	for _, c := range []struct {
		by            credentials
		form          string
		status        int
		code, message string
	}{
		{alice, "", 400, "MissingAction", "The request is missing an action."},
		{alice, "Action=AssumeRole", 400, "InvalidAction", "Could not find operation AssumeRole for version NO_VERSION_SPECIFIED"},
		{alice, "Action=AssumeRoleWithWebIdentity&Version=2010-05-08", 400, "InvalidAction", "Could not find operation AssumeRoleWithWebIdentity for version 2010-05-08"},
		{alice, "Action=GetSessionToken&Version=2011-06-15", 400, "InvalidAction", "Could not find operation GetSessionToken for version 2011-06-15"},
		{alice, "Action=%zz", 400, "MalformedQueryString", "The query string contains a syntax error."},
		{alice, "Action=AssumeRole&Action=GetCallerIdentity&Version=2011-06-15", 400, "MalformedQueryString", "The query string has the parameter Action more than once."},
		{alice, "Action=AssumeRole" + strings.Repeat("&x", 1000), 400, "MalformedQueryString", "The query string has too many parameters."},
		{credentials{}, "Action=GetCallerIdentity&Version=2011-06-15", 403, "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{alice, "Action=AssumeRole&Version=2011-06-15" + role, 403, "AccessDenied",
			"User: arn:aws:iam::111122223333:user/alice is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/app"},
		{alice, "Action=AssumeRole&Version=2011-06-15", 400, "ValidationError", "2 validation errors detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null"},
		{alice, "Action=AssumeRole&Version=2011-06-15&DurationSeconds=soon" + role, 400, "ValidationError",
			"1 validation error detected: Value '-1' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		{alice, "Action=AssumeRole&Version=2011-06-15&Tags.member.x.Key=a" + role, 400, "MalformedInput", "Key Tags.member.x.Key is not the key of a member of a list."},
		{alice, "Action=AssumeRole&Version=2011-06-15&Tags.member.99999.Key=a" + role, 400, "MalformedInput", "Key Tags.member.99999.Key is not the key of a member of a list."},
		{alice, "Action=AssumeRole&Version=2011-06-15&PolicyArns.member.1.arn=arn:aws:iam::aws:policy/X" + role, 400, "ValidationError",
			"There are no managed policies here: give the session policy as Policy."},
		{credentials{}, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&WebIdentityToken=a.b.c" + role, 400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for "},
		{credentials{}, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&WebIdentityToken=a%1Fbc.d.e" + role, 400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for "},
	} {
		wantXML(t, s.sts(c.by, c.form), c.status, c.code, c.message)
	}
	wantXML(t, s.sts(alice, "Action="+strings.Repeat("x", maxSTSBody)), 413, "RequestEntityTooLarge", "The request body is too large.")
	broken := httptest.NewRequest(http.MethodPost, "/", nil)
	broken.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	broken.Header.Set("Authorization", "AWS4-HMAC-SHA256 x")
	w := s.ask(credentials{}, "", "", broken, "Action=GetCallerIdentity&Version=2011-06-15")
	if w.Code != 403 || !strings.Contains(w.Body.String(), "<Code>IncompleteSignature</Code>") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// A panic is an internal failure.
	h := NewSTS(s.service, panicking{}, s.handlerLog())
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?Action=GetCallerIdentity&Version=2011-06-15", nil))
	wantXML(t, w, 500, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure.")
}

// panicking is an authenticator with a fault.
type panicking struct{}

func (panicking) Screen(*http.Request) error { panic("a fault") }

func (panicking) Authenticate(*http.Request, []byte, *ops.Call) error { panic("a fault") }

// TestWhichServiceIsAsked sends requests to the endpoint that could be for either service.
func TestWhichServiceIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		method, target, form, header, authorization string
		sts                                         bool
	}{
		"KMS":              {"POST", "/", "", "TrentService.Encrypt", "", false},
		"KMS with a form":  {"POST", "/", formType, "TrentService.Encrypt", "", false},
		"form":             {"POST", "/", formType, "", "", true},
		"GET":              {"GET", "/?Action=GetCallerIdentity", "", "", "", true},
		"signed for STS":   {"POST", "/", "", "", "AWS4-HMAC-SHA256 Credential=x/20260301/r/sts/aws4_request", true},
		"nothing":          {"POST", "/", "", "", "", false},
		"a page":           {"GET", "/", "", "", "", false},
		"health":           {"GET", "/healthz?Action=x", "", "", "", false},
		"a form elsewhere": {"POST", "/x", formType, "", "", false},
	} {
		r := httptest.NewRequest(c.method, c.target, nil)
		for header, value := range map[string]string{"Content-Type": c.form, "X-Amz-Target": c.header, "Authorization": c.authorization} {
			if value != "" {
				r.Header.Set(header, value)
			}
		}
		if got := forSTS(r); got != c.sts {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestQuery reads lists and numbers.
func TestQuery(t *testing.T) {
	q, err := parseQuery(httptest.NewRequest(http.MethodPost, "/?Version=1", nil), []byte("Tags.member.2.Key=b&Tags.member.2.Value=2&Tags.member.1.Key=a&TransitiveTagKeys.member.7=x&DurationSeconds=900"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := q.assumeRole()
	if err != nil || len(r.Tags) != 2 || r.Tags[0] != (ops.SessionTag{Key: "a"}) || r.Tags[1] != (ops.SessionTag{Key: "b", Value: "2"}) ||
		len(r.TransitiveTagKeys) != 1 || r.TransitiveTagKeys[0] != "x" || r.DurationSeconds != 900 || r.PolicyARNs || q.get("Version") != "1" {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, bad := range []string{"a=1&a=2", "%", "a=%g0", "a;b=1"} {
		if _, err := parseQuery(httptest.NewRequest(http.MethodPost, "/", nil), []byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
