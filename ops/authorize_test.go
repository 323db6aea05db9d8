package ops

import (
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// encryptInput is a request with an encryption context. Nothing writes to it.
var encryptInput = kms.EncryptRequest{EncryptionContext: map[string]string{"tenant": "green"}}

// usersCall is a call of a user with an identity policy, on a key with a policy; nil policies are the
// default ones.
func usersCall(tb testing.TB, keyPolicy, identity string) (*Service, *Call, key) {
	tb.Helper()
	h := newHarness(tb)
	id := h.createKey(in{"Tags": []in{{"TagKey": "team", "TagValue": "red"}}}).KeyId
	if keyPolicy != "" {
		h.editRecord(id, setPolicy(keyPolicy))
	}
	document, err := policy.Parse([]byte(identity))
	if err != nil {
		tb.Fatal(err)
	}
	caller := &Caller{
		Principal: policy.Principal{ARN: "arn:aws:iam::" + account + ":user/alice", Account: account, Tags: map[string]string{"team": "red"}},
		Policies:  []*policy.Document{document},
	}
	call := &Call{Region: testRegion, Caller: caller, Origin: Origin{SourceIP: "10.1.2.3", Secure: true}}
	call.begin(tb.Context(), "Encrypt", &encryptInput)
	k, err := h.service.resolve(tb.Context(), call, id)
	if err != nil {
		tb.Fatal(err)
	}
	return h.service, call, k
}

const (
	plainIdentity    = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"arn:aws:kms:*:*:key/*"}}`
	demandingKey     = `{"Version":"2012-10-17","Statement":[{` + delegated + `},{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}`
	demandingSubject = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"arn:aws:kms:*:*:key/*","Condition":{` +
		`"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}","kms:EncryptionContext:tenant":["blue","green"]}}},` +
		`{"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`
)

// TestCostlyPolicy: a request whose values would keep a policy's wildcards busy for minutes is denied, to
// whom a grant would allow it too. Others are decided as ever.
func TestCostlyPolicy(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice")
	key := h.createKey(nil)
	costly := `{"Version":"2012-10-17","Statement":[{` + delegated + `},{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*","Condition":{"StringLike":{"kms:EncryptionContext:a":["` +
		strings.Repeat(`*a?b*","`, 3000) + `*a?b*"]}}}]}`
	h.must("PutKeyPolicy", kms.PutKeyPolicyRequest{KeyId: key.KeyId, Policy: costly})
	alice := h.userCall(account, "alice")
	h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": alice.Caller.Principal.ARN, "Operations": []string{"Encrypt"}})
	request := func(value string) in {
		return in{"KeyId": key.Arn, "Plaintext": []byte("x"), "EncryptionContext": in{"a": value}}
	}
	for _, call := range []*Call{h.call(account), alice} {
		h.wantAllowed(call, "Encrypt", request(strings.Repeat("a", 200)))
		h.wantDenied(call, "Encrypt", request("acb"))
		_, err := h.invokeAs(call, "Encrypt", request(strings.Repeat("a", 500_000)))
		wantError(t, err, kms.AccessDeniedException, "User: "+call.Caller.Principal.ARN+" is not authorized to perform: kms:Encrypt on resource: "+key.Arn+
			" because the policies that apply take too much work to evaluate for this request")
	}
}

// TestAuthorisingAllocatesNothing: neither by the default policy nor by one with typical conditions.
func TestAuthorisingAllocatesNothing(t *testing.T) {
	for name, c := range map[string][2]string{"default": {"", plainIdentity}, "conditions": {demandingKey, demandingSubject}} {
		s, call, k := usersCall(t, c[0], c[1])
		by := byGrant{context: encryptInput.EncryptionContext}
		if n := testing.AllocsPerRun(100, func() {
			if err := s.authorizeUse(t.Context(), call, "Encrypt", k, by); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: authorising allocates %v times", name, n)
		}
	}
}

// BenchmarkAuthorize is what a request pays for its authorisation.
func BenchmarkAuthorize(b *testing.B) {
	for _, c := range []struct{ name, key, identity string }{{"default", "", plainIdentity}, {"conditions", demandingKey, demandingSubject}} {
		b.Run(c.name, func(b *testing.B) {
			s, call, k := usersCall(b, c.key, c.identity)
			by := byGrant{context: encryptInput.EncryptionContext}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.authorizeUse(b.Context(), call, "Encrypt", k, by); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
