package clients_test

import "testing"

// TestRoles: who may take on a role, and what its sessions may.
func TestRoles(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		alice := s.user(own, "alice", policy(allow("sts:AssumeRole", "*")))
		bob := s.user(second, "bob", policy(allow("sts:*", "*")))
		carol := s.user(third, "carol", policy(allow("sts:*", "*")))
		dave := s.user(own, "dave", "")
		notToAssume := func(who, action, role string) string {
			return "User: " + who + " is not authorized to perform: sts:" + action + " on resource: " + role
		}

		// Within the account the trust policy is enough for whom it names; what it leaves to an account
		// needs an identity policy, and so does another account's user.
		named := s.role(own, "named", trust("sts:AssumeRole", to(dave)), policy(allow("kms:DescribeKey", "*")))
		open := s.role(own, "open", trust("sts:AssumeRole", to(own, second)), policy(allow("kms:*", "*")))
		take := func(role string) ask { return assume("dave", role, "s1") }
		s.allowed(take(named))
		s.refused(take(named).as("alice"), "AccessDenied", notToAssume(alice, "AssumeRole", named))
		s.allowed(take(open).as("alice"))
		s.refused(take(open), "AccessDenied", notToAssume(dave, "AssumeRole", open))
		s.allowed(take(open).as("bob"))
		s.refused(take(open).as("carol"), "AccessDenied", notToAssume(carol, "AssumeRole", open))
		s.refused(take(open+"-not").as("bob"), "AccessDenied", notToAssume(bob, "AssumeRole", open+"-not"))

		// The client takes the role on by itself, with the external id that the role wants.
		s.role(own, "app", trust("sts:AssumeRole sts:TagSession", to(second), when("StringEquals", "sts:ExternalId", "a-ticket")), policy(allow("kms:Encrypt", "*")))
		profile := func(name, id string) {
			s.profile(name, "role_arn = arn:aws:iam::"+own+":role/app\nsource_profile = bob\nrole_session_name = "+name+"\nexternal_id = "+id+"\n")
		}
		profile("ticket", "a-ticket")
		profile("other", "another-ticket")
		key := s.key("")
		s.allowed(encrypt("ticket", key))
		s.refused(encrypt("other", key), "AccessDenied", notToAssume(bob, "AssumeRole", "arn:aws:iam::"+own+":role/app"))

		// A session may what its role may, and less by its own policy or the role's boundary.
		whole := s.session("bob", open, "whole", nil)
		part := s.session("bob", open, "part", parameters{"Policy": policy(allow("kms:Encrypt", key))})
		barred := s.session("bob", open, "barred", parameters{"Policy": policy(allow("kms:*", "*"), deny("kms:DescribeKey", "*"))})
		describe := ask{"whole", "DescribeKey", parameters{"KeyId": key}}
		s.allowed(describe)
		s.allowed(encrypt("part", key))
		s.denied(describe.as("part"), lacks(part, "DescribeKey", key, "session policy"))
		s.denied(describe.as("barred"), forbids(barred, "DescribeKey", key, "a session policy"))
		s.denied(describe.as("ticket"), lacks("arn:aws:sts::"+own+":assumed-role/app/ticket", "DescribeKey", key, "identity-based policy"))
		s.server.MustIAM(s.t, policy(allow("kms:Encrypt", "*")), "put-boundary", "--account", own, "--role", "open", "--policy", "-")
		s.denied(describe, lacks(whole, "DescribeKey", key, "permissions boundary"))
		s.allowed(encrypt("whole", key))

		// A key policy can name a role or one of its sessions.
		ofRole := s.key(policy(delegated("kms:PutKeyPolicy"), allow("kms:Encrypt", "*", to(open))))
		s.allowed(encrypt("whole", ofRole))
		s.denied(encrypt("ticket", ofRole), lacks("arn:aws:sts::"+own+":assumed-role/app/ticket", "Encrypt", ofRole, "resource-based policy"))
		ofSession := s.key(policy(delegated("kms:PutKeyPolicy"), allow("kms:Encrypt", "*", to(whole))))
		s.allowed(encrypt("whole", ofSession))
		s.denied(encrypt("barred", ofSession), lacks(barred, "Encrypt", ofSession, "resource-based policy"))

		// Sessions that have begun can be ended.
		s.server.MustIAM(s.t, "", "revoke-sessions", "--account", own, "--role", "open")
		s.refused(encrypt("whole", key), "UnrecognizedClientException", "The security token included in the request is invalid.")
	})
}

// TestSessionsThatAreGivenMore: tags and a source identity need permissions of their own, and are conditions.
func TestSessionsThatAreGivenMore(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		alice := s.user(own, "alice", policy(allow("sts:*", "*")))
		tags := func(project string) []map[string]string {
			return []map[string]string{{"Key": "project", "Value": project}}
		}
		refused := func(a ask, action, role string) {
			s.t.Helper()
			s.refused(a, "AccessDenied", "User: "+alice+" is not authorized to perform: sts:"+action+" on resource: "+role)
		}
		plain := s.role(own, "plain", trust("sts:AssumeRole", to(alice)), "")
		s.allowed(assume("alice", plain, "s1"))
		// What the trust policy does not name the identity policy does not make up for.
		refused(assume("alice", plain, "s1").with("Tags", tags("x")), "TagSession", plain)
		refused(assume("alice", plain, "s1").with("SourceIdentity", "somebody"), "SetSourceIdentity", plain)

		tagged := s.role(own, "tagged", trust("sts:AssumeRole sts:TagSession sts:SetSourceIdentity", to(alice),
			`"Condition":{"StringEquals":{"aws:RequestTag/project":"x","sts:SourceIdentity":"somebody"},"ForAllValues:StringEquals":{"aws:TagKeys":"project"}}`), "")
		take := assume("alice", tagged, "s1").with("Tags", tags("x")).with("SourceIdentity", "somebody")
		s.allowed(take)
		refused(take.with("Tags", tags("y")), "AssumeRole", tagged)
		refused(take.with("Tags", append(tags("x"), map[string]string{"Key": "more", "Value": "x"})), "AssumeRole", tagged)
		refused(take.with("Tags", nil), "AssumeRole", tagged)
		refused(take.with("SourceIdentity", "nobody"), "AssumeRole", tagged)

		// Transitive tags go on into the next role's sessions, others do not.
		first := s.role(own, "first", trust("sts:AssumeRole sts:TagSession", to(alice)), policy(allow("sts:*", "*")))
		next := s.role(own, "next", trust("sts:AssumeRole sts:TagSession", to(first)), policy(allow("kms:Encrypt", "*", when("StringEquals", "aws:PrincipalTag/project", "x"))))
		s.session("alice", first, "handing", parameters{"Tags": tags("x"), "TransitiveTagKeys": []string{"project"}})
		s.session("alice", first, "keeping", parameters{"Tags": tags("x")})
		s.session("handing", next, "handed", nil)
		kept := s.session("keeping", next, "kept", nil)
		key := s.key("")
		s.allowed(encrypt("handed", key))
		s.denied(encrypt("kept", key), lacks(kept, "Encrypt", key, "identity-based policy"))
	})
}
