package clients_test

import (
	"strings"
	"testing"
)

// TestAccessAcrossAccounts: a key that three accounts want to use. Both sides have to allow it, and to
// whom the key's policy is closed the key does not seem to exist.
func TestAccessAcrossAccounts(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		everything := policy(allow("kms:*", "*"))
		s.user(own, "alice", everything)
		bob := s.user(second, "bob", everything)
		carol := s.user(third, "carol", everything)
		dave := s.user(second, "dave", "")
		erin := s.user(second, "erin", everything)
		shared := s.key(policy(delegated("kms:*"),
			allow("kms:Encrypt kms:Decrypt kms:DescribeKey kms:ListResourceTags", "*", to("arn:aws:iam::"+second+":root")),
			allow("kms:Encrypt", "*", to(dave)),
			deny("kms:Encrypt", "*", to(erin))))
		asked := encrypt("bob", shared)

		// Both accounts allow; then the one, then the other does not.
		blob := decode(t, text(t, s.allowed(asked), "CiphertextBlob"))
		s.denied(asked.as("carol"), unseen(carol, "Encrypt"))
		s.denied(asked.as("dave"), lacks(dave, "Encrypt", shared, "identity-based policy"))
		s.allowed(asked.as("alice"))
		s.denied(asked.as("erin"), unseen(erin, "Encrypt"))
		dataKey := ask{"alice", "GenerateDataKey", parameters{"KeyId": shared, "KeySpec": "AES_256"}}
		s.allowed(dataKey)
		s.denied(dataKey.as("bob"), unseen(bob, "GenerateDataKey"))

		// A ciphertext says which key it needs, but does not tell another account.
		open := ask{"bob", "Decrypt", parameters{"CiphertextBlob": blob}}
		const ofCiphertext = "the resource associated with this ciphertext"
		s.allowed(open)
		s.denied(open.as("carol"), strings.Replace(unseen(carol, "Decrypt"), "this resource", ofCiphertext, 1))
		s.denied(open.as("dave"), strings.Replace(lacks(dave, "Decrypt", "", "identity-based policy"), "resource: ", ofCiphertext, 1))
		open = open.with("KeyId", shared)
		s.allowed(open)
		s.denied(open.as("carol"), unseen(carol, "Decrypt"))
		s.denied(open.as("dave"), lacks(dave, "Decrypt", shared, "identity-based policy"))

		// By the ARN of an alias, which does not tell whether it is there either.
		s.allowed(ask{"admin", "CreateAlias", parameters{"AliasName": "alias/shared", "TargetKeyId": shared}})
		alias := strings.Split(shared, ":key/")[0] + ":alias/shared"
		s.allowed(asked.with("KeyId", alias))
		s.denied(asked.with("KeyId", alias).as("carol"), unseen(carol, "Encrypt"))
		s.denied(asked.with("KeyId", alias+"-not"), unseen(bob, "Encrypt"))
		s.denied(asked.with("KeyId", shared[:len(shared)-12]+"000000000000"), unseen(bob, "Encrypt"))

		// Some operations stay within the account, whatever policies say.
		described := ask{"bob", "DescribeKey", parameters{"KeyId": shared}}
		s.allowed(described)
		s.allowed(described.to("ListResourceTags").as("alice"))
		s.denied(described.to("ListResourceTags"), unseen(bob, "ListResourceTags"))

		// A deny of the own side is told, of a key that is open to the account.
		s.put(second, "user", "bob", policy(allow("kms:*", "*"), deny("kms:Encrypt", shared)))
		s.allowed(described)
		s.denied(asked, forbids(bob, "Encrypt", shared, "an identity-based policy"))
		s.denied(dataKey.as("bob"), unseen(bob, "GenerateDataKey"))
	})
}
