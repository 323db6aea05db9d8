package clients_test

import "testing"

// TestAccessWithinAnAccount: who may what on the keys of one account, and which of the policies is told.
func TestAccessWithinAnAccount(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		alice := s.user(own, "alice", policy(allow("kms:*", "*")))
		bob := s.user(own, "bob", "")
		open, other := s.key(""), s.key("")
		closed := s.key(policy(delegated("kms:PutKeyPolicy kms:DescribeKey"), allow("kms:Encrypt", "*", to(bob))))
		asked := encrypt("alice", open)

		// The account's policies decide where the key policy lets them.
		s.allowed(asked)
		s.denied(asked.as("bob"), lacks(bob, "Encrypt", open, "identity-based policy"))
		s.denied(asked.with("KeyId", closed), lacks(alice, "Encrypt", closed, "resource-based policy"))
		s.allowed(asked.with("KeyId", closed).as("bob"))

		// An identity policy can be for one key and for one operation.
		s.put(own, "user", "bob", policy(allow("kms:Encrypt", open)))
		s.allowed(asked.as("bob"))
		s.denied(asked.as("bob").with("KeyId", other), lacks(bob, "Encrypt", other, "identity-based policy"))
		s.denied(ask{"bob", "DescribeKey", parameters{"KeyId": open}}, lacks(bob, "DescribeKey", open, "identity-based policy"))

		// Operations without a key are for identity policies alone.
		for _, operation := range []string{"CreateKey", "ListKeys", "ListAliases"} {
			s.allowed(ask{"alice", operation, nil})
			s.denied(ask{"bob", operation, nil}, lacks(bob, operation, "*", "identity-based policy"))
		}

		// A deny wins wherever it stands, and a boundary bounds.
		s.putKeyPolicy(open, policy(delegated("kms:*"), deny("kms:Encrypt", "*", to(alice))))
		s.denied(asked, forbids(alice, "Encrypt", open, "a resource-based policy"))
		s.allowed(asked.as("bob"))
		s.put(own, "user", "bob", policy(allow("kms:*", "*"), deny("kms:Encrypt", open)))
		s.denied(asked.as("bob"), forbids(bob, "Encrypt", open, "an identity-based policy"))
		s.allowed(asked.as("bob").with("KeyId", other))
		bound := func(text string) {
			s.server.MustIAM(s.t, text, "put-boundary", "--account", own, "--user", "alice", "--policy", "-")
		}
		asked = asked.with("KeyId", other)
		bound(policy(allow("kms:DescribeKey", "*")))
		s.denied(asked, lacks(alice, "Encrypt", other, "permissions boundary"))
		bound(policy(allow("kms:*", "*"), deny("kms:Encrypt", "*")))
		s.denied(asked, forbids(alice, "Encrypt", other, "a permissions boundary"))
		bound(policy(allow("kms:Encrypt", "*")))
		s.allowed(asked)
	})
}
