package clients_test

import "testing"

// TestTagConditions: access by the tags of keys and principals.
func TestTagConditions(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		const byTeam = "${aws:PrincipalTag/team}"
		ofTheTeam := policy(allow("kms:Encrypt kms:DisableKey", "*", when("StringEquals", "aws:ResourceTag/team", byTeam)))
		alice := s.user(own, "alice", ofTheTeam, "team=red")
		bob := s.user(own, "bob", ofTheTeam, "team=blue")
		carol := s.user(own, "carol", ofTheTeam)
		red, blue, untagged := s.key("", tag("team", "red")), s.key("", tag("Team", "blue")), s.key("")
		asked := encrypt("alice", red)

		s.allowed(asked)
		s.denied(asked.as("bob"), lacks(bob, "Encrypt", red, "identity-based policy"))
		s.denied(asked.as("carol"), lacks(carol, "Encrypt", red, "identity-based policy"))
		s.denied(asked.with("KeyId", blue), lacks(alice, "Encrypt", blue, "identity-based policy"))
		s.denied(asked.with("KeyId", untagged), lacks(alice, "Encrypt", untagged, "identity-based policy"))
		s.allowed(asked.with("KeyId", blue).as("bob")) // the key of a tag in any case
		disable := ask{"alice", "DisableKey", parameters{"KeyId": red}}
		s.denied(disable.as("bob"), lacks(bob, "DisableKey", red, "identity-based policy"))
		s.allowed(disable)
		s.allowed(disable.to("EnableKey").as("admin"))

		// Another tag counts at once, on either side.
		s.allowed(ask{"admin", "TagResource", parameters{"KeyId": red, "Tags": []map[string]string{tag("team", "blue")}}})
		s.denied(asked, lacks(alice, "Encrypt", red, "identity-based policy"))
		s.allowed(asked.as("bob"))
		s.server.MustIAM(s.t, "", "tag", "--account", own, "--user", "alice", "--tag", "team=blue")
		s.allowed(asked)
		s.server.MustIAM(s.t, "", "untag", "--account", own, "--user", "alice", "--key", "team")
		s.denied(asked, lacks(alice, "Encrypt", red, "identity-based policy"))
		s.allowed(ask{"admin", "UntagResource", parameters{"KeyId": red, "TagKeys": []string{"team"}}})
		s.denied(asked.as("bob"), lacks(bob, "Encrypt", red, "identity-based policy"))

		// In a key policy, for everybody who has the tag.
		key := s.key(policy(delegated("kms:PutKeyPolicy"), allow("kms:Encrypt", "*", `"Principal":"*"`,
			when("StringEquals", "aws:PrincipalTag/team", "blue", "StringLike", "aws:PrincipalArn", "arn:aws:iam::"+own+":*"))))
		s.allowed(asked.with("KeyId", key).as("bob"))
		s.denied(asked.with("KeyId", key).as("carol"), lacks(carol, "Encrypt", key, "resource-based policy"))
	})
}

// TestSessionTags: the tags that a session was given come before those of its role.
func TestSessionTags(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		s.user(own, "alice", policy(allow("sts:*", "*")))
		role := s.role(own, "app", trust("sts:AssumeRole sts:TagSession", to("arn:aws:iam::"+own+":root")),
			policy(allow("kms:Encrypt", "*", when("StringEquals", "aws:ResourceTag/team", "${aws:PrincipalTag/team}"))))
		s.server.MustIAM(s.t, "", "tag", "--account", own, "--role", "app", "--tag", "team=red")
		red, blue := s.key("", tag("team", "red")), s.key("", tag("team", "blue"))
		plain := s.session("alice", role, "plain", nil)
		tagged := s.session("alice", role, "tagged", parameters{"Tags": []map[string]string{{"Key": "Team", "Value": "blue"}}})

		s.allowed(encrypt("plain", red))
		s.denied(encrypt("plain", blue), lacks(plain, "Encrypt", blue, "identity-based policy"))
		s.allowed(encrypt("tagged", blue))
		s.denied(encrypt("tagged", red), lacks(tagged, "Encrypt", red, "identity-based policy"))
	})
}

// TestTaggingConditions: who may set which tags.
func TestTaggingConditions(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		alice := s.user(own, "alice", policy(
			allow("kms:CreateKey", "*", when("StringEquals", "aws:RequestTag/team", "red")),
			allow("kms:TagResource", "*", `"Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["team","note"]},"StringLikeIfExists":{"aws:RequestTag/team":"r*"}}`),
			allow("kms:UntagResource", "*"),
			deny("kms:UntagResource", "*", `"Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":"owner"}}`)))
		bob := s.user(own, "bob", policy(allow("kms:CreateKey", "*")))
		tags := func(list ...map[string]string) []map[string]string { return list }

		create := ask{"alice", "CreateKey", parameters{"Tags": tags(tag("team", "red"))}}
		key := text(s.t, s.allowed(create), "KeyMetadata", "Arn")
		s.allowed(create.with("Tags", tags(tag("team", "red"), tag("note", "any"))))
		s.denied(create.with("Tags", tags(tag("team", "blue"))), lacks(alice, "CreateKey", "*", "identity-based policy"))
		s.denied(create.with("Tags", nil), lacks(alice, "CreateKey", "*", "identity-based policy"))
		// Tags need a permission of their own. There is no key yet that the text could name.
		s.allowed(create.as("bob").with("Tags", nil))
		s.denied(create.as("bob"), "User: "+bob+" is not authorized to perform: kms:TagResource because no identity-based policy allows the kms:TagResource action")
		s.denied(create.with("Tags", tags(tag("team", "red"), tag("cost", "1"))),
			"User: "+alice+" is not authorized to perform: kms:TagResource because no identity-based policy allows the kms:TagResource action")

		add := ask{"alice", "TagResource", parameters{"KeyId": key, "Tags": tags(tag("note", "x"))}}
		s.allowed(add)
		s.denied(add.with("Tags", tags(tag("owner", "x"))), lacks(alice, "TagResource", key, "identity-based policy"))
		s.denied(add.with("Tags", tags(tag("note", "x"), tag("team", "blue"))), lacks(alice, "TagResource", key, "identity-based policy"))
		s.allowed(add.with("Tags", tags(tag("note", "x"), tag("team", "rose"))))
		s.denied(add.as("bob"), lacks(bob, "TagResource", key, "identity-based policy"))

		remove := ask{"alice", "UntagResource", parameters{"KeyId": key, "TagKeys": []string{"note"}}}
		s.allowed(remove)
		s.denied(remove.with("TagKeys", []string{"note", "owner"}), forbids(alice, "UntagResource", key, "an identity-based policy"))
	})
}
