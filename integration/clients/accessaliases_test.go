package clients_test

import (
	"strings"
	"testing"
)

// TestAliasConditions: access by the alias that a request names, and by the aliases that a key has.
func TestAliasConditions(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		alice := s.user(own, "alice", "")
		bob := s.user(own, "bob", "")
		called := when("StringLike", "kms:RequestAlias", "alias/app-*")
		key, other := s.key(policy(delegated("kms:*"), allow("kms:Encrypt kms:Decrypt kms:DescribeKey", "*", to(alice), called))), s.key("")
		name := func(alias, key string) ask {
			return ask{"admin", "CreateAlias", parameters{"AliasName": alias, "TargetKeyId": key}}
		}
		s.allowed(name("alias/app-1", key))
		s.allowed(name("alias/other", key))
		prefix, _, _ := strings.Cut(key, "key/")

		// In a key policy: the alias that the request names the key by.
		for _, a := range []ask{
			encrypt("alice", key),
			{"alice", "DescribeKey", parameters{"KeyId": key}},
			{"alice", "Decrypt", parameters{"CiphertextBlob": s.blob(key, nil)}},
		} {
			because := lacks(alice, a.operation, key, "identity-based policy")
			s.allowed(a.with("KeyId", "alias/app-1"))
			s.allowed(a.with("KeyId", prefix+"alias/app-1"))
			s.denied(a, because)
			s.denied(a.with("KeyId", "alias/other"), because)
		}

		// In an identity policy.
		s.put(own, "user", "bob", policy(allow("kms:Encrypt", "*", called)))
		s.allowed(encrypt("bob", "alias/app-1"))
		s.denied(encrypt("bob", key), lacks(bob, "Encrypt", key, "identity-based policy"))
		s.allowed(ask{"admin", "UpdateAlias", parameters{"AliasName": "alias/app-1", "TargetKeyId": other}})
		if used := text(s.t, s.allowed(encrypt("bob", "alias/app-1")), "KeyId"); used != other {
			s.t.Errorf("the alias stands for %s", used)
		}

		// The aliases of the key, however the request names it.
		s.put(own, "user", "bob", policy(allow("kms:Encrypt kms:DisableKey", "*", when("ForAnyValue:StringLike", "kms:ResourceAliases", "alias/app-*"))))
		s.allowed(encrypt("bob", other))
		s.denied(encrypt("bob", key), lacks(bob, "Encrypt", key, "identity-based policy"))
		s.denied(encrypt("bob", "alias/other"), lacks(bob, "Encrypt", key, "identity-based policy"))
		s.denied(ask{"bob", "DisableKey", parameters{"KeyId": key}}, lacks(bob, "DisableKey", key, "identity-based policy"))
		s.allowed(name("alias/app-2", key))
		s.allowed(encrypt("bob", key))
		s.allowed(ask{"bob", "DisableKey", parameters{"KeyId": key}})
		s.allowed(ask{"admin", "EnableKey", parameters{"KeyId": key}})
		s.allowed(ask{"admin", "DeleteAlias", parameters{"AliasName": "alias/app-2"}})
		s.denied(encrypt("bob", key), lacks(bob, "Encrypt", key, "identity-based policy"))

		// A key policy does not know the aliases of its key.
		known := func(condition string) string {
			return policy(delegated("kms:PutKeyPolicy kms:CreateAlias"), allow("kms:Encrypt", "*", to(alice), condition))
		}
		s.putKeyPolicy(other, known(when("StringLike", "kms:RequestAlias", "alias/app-*")))
		s.allowed(encrypt("alice", "alias/app-1"))
		s.putKeyPolicy(other, known(when("ForAnyValue:StringLike", "kms:ResourceAliases", "alias/app-*")))
		s.denied(encrypt("alice", "alias/app-1"), lacks(alice, "Encrypt", other, "resource-based policy"))
	})
}

// TestAliasPermissions: an alias needs the consent of the caller's policies, and of each key.
func TestAliasPermissions(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		one, two := s.key(""), s.key(policy(delegated("kms:PutKeyPolicy kms:DescribeKey")))
		prefix, _, _ := strings.Cut(one, "key/")
		alice := s.user(own, "alice", policy(
			allow("kms:CreateAlias kms:UpdateAlias kms:DeleteAlias", prefix+"alias/app-*"),
			allow("kms:CreateAlias kms:UpdateAlias kms:DeleteAlias", prefix+"key/*")))
		create := ask{"alice", "CreateAlias", parameters{"AliasName": "alias/app-1", "TargetKeyId": one}}

		s.denied(create.with("AliasName", "alias/other"), lacks(alice, "CreateAlias", prefix+"alias/other", "identity-based policy"))
		s.denied(create.with("TargetKeyId", two), lacks(alice, "CreateAlias", two, "resource-based policy"))
		s.allowed(create)
		update := create.to("UpdateAlias")
		s.denied(update.with("TargetKeyId", two), lacks(alice, "UpdateAlias", two, "resource-based policy"))
		s.putKeyPolicy(two, policy(delegated("kms:*")))
		s.allowed(update.with("TargetKeyId", two))
		remove := ask{"alice", "DeleteAlias", parameters{"AliasName": "alias/app-1"}}
		s.putKeyPolicy(two, policy(delegated("kms:*"), deny("kms:DeleteAlias", "*", to(alice))))
		s.denied(remove, forbids(alice, "DeleteAlias", two, "a resource-based policy"))
		s.putKeyPolicy(two, policy(delegated("kms:*")))
		s.allowed(remove)
	})
}
