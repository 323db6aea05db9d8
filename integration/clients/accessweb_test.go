package clients_test

import (
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestWebIdentityProfiles: pods of a cluster, each with the token of its service account in a file, take on
// roles without any access key.
func TestWebIdentityProfiles(t *testing.T) {
	issuer, stranger := kms11test.NewIssuer(t), kms11test.NewIssuer(t)
	inEachClient(t, "oidc:\n  - {issuer: \""+issuer.URL+"\", audiences: [sts.amazonaws.com]}\n", func(s *scene) {
		name := strings.TrimPrefix(issuer.URL, "http://")
		provider := `"Principal":{"Federated":"arn:aws:iam::` + own + `:oidc-provider/` + name + `"}`
		s.role(own, "pod", trust("sts:AssumeRoleWithWebIdentity", provider,
			when("StringLike", name+":sub", "system:serviceaccount:prod:*", "StringEquals", name+":aud", "sts.amazonaws.com")),
			policy(allow("kms:Encrypt", "*")))
		s.role(own, "users", trust("sts:AssumeRole", to(own)), policy(allow("kms:*", "*")))
		pod := func(profile, role, token string) {
			file := kms11test.Write(s.t, s.t.TempDir(), "token", token)
			s.profile(profile, "role_arn = arn:aws:iam::"+own+":role/"+role+"\nweb_identity_token_file = "+file+"\nrole_session_name = "+profile+"\n")
		}
		const subject, audience = "system:serviceaccount:prod:app", "sts.amazonaws.com"
		good := issuer.Token(s.t, subject, audience, nil)
		pod("app", "pod", good)
		pod("test", "pod", issuer.Token(s.t, "system:serviceaccount:test:app", audience, nil))
		pod("none", "none", good)
		pod("direct", "users", good)
		pod("audience", "pod", issuer.Token(s.t, subject, "another", nil))
		pod("stranger", "pod", stranger.Token(s.t, subject, audience, nil))
		pod("forged", "pod", stranger.Token(s.t, subject, audience, func(_, claims map[string]any) { claims["iss"] = issuer.URL }))

		key := s.key("")
		s.allowed(encrypt("app", key))
		for _, profile := range []string{"test", "none", "direct"} {
			s.refused(encrypt(profile, key), "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
		}
		s.refused(encrypt("audience", key), "InvalidIdentityToken", "Incorrect token audience")
		s.refused(encrypt("stranger", key), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for "+stranger.URL)
		s.refused(encrypt("forged", key), "InvalidIdentityToken", "Token signature verification failed")

		// What the session may is for its role to say, and for key policies.
		session := "arn:aws:sts::" + own + ":assumed-role/pod/app"
		s.denied(ask{"app", "DescribeKey", parameters{"KeyId": key}}, lacks(session, "DescribeKey", key, "identity-based policy"))
		closed := s.key(policy(delegated("kms:PutKeyPolicy")))
		s.denied(encrypt("app", closed), lacks(session, "Encrypt", closed, "resource-based policy"))
		s.putKeyPolicy(closed, policy(delegated("kms:PutKeyPolicy"), allow("kms:Encrypt", "*", to("arn:aws:iam::"+own+":role/pod"))))
		s.allowed(encrypt("app", closed))
	})
}
