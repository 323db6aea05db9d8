package clients_test

import "testing"

// TestEncryptionContextConditions: a key for blue's data, and requests that differ in their contexts.
func TestEncryptionContextConditions(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		const uses = "kms:Encrypt kms:Decrypt kms:ReEncryptFrom kms:ReEncryptTo kms:GenerateDataKey kms:GenerateDataKeyWithoutPlaintext kms:GenerateDataKeyPair kms:CreateGrant"
		blue, green := map[string]string{"tenant": "blue"}, map[string]string{"tenant": "green"}
		both := map[string]string{"tenant": "blue", "more": "x"}
		alice := s.user(own, "alice", "")
		keyWith := func(condition string) string {
			return s.key(policy(delegated("kms:*"), allow(uses, "*", to(alice), condition)))
		}
		key := keyWith(when("StringEquals", "kms:EncryptionContext:Tenant", "blue"))
		because := func(action string) string { return lacks(alice, action, key, "identity-based policy") }

		for _, a := range []ask{
			encrypt("alice", key),
			{"alice", "Decrypt", parameters{"CiphertextBlob": s.blob(key, blue)}},
			{"alice", "GenerateDataKey", parameters{"KeyId": key, "KeySpec": "AES_256"}},
			{"alice", "GenerateDataKeyWithoutPlaintext", parameters{"KeyId": key, "KeySpec": "AES_256"}},
			{"alice", "GenerateDataKeyPair", parameters{"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}},
		} {
			s.allowed(a.with("EncryptionContext", blue))
			s.allowed(a.with("EncryptionContext", blue).with("KeyId", key))
			for _, other := range []any{green, map[string]string{"tenant": "Blue"}, map[string]string{"more": "x"}, nil} {
				s.denied(a.with("EncryptionContext", other), because(a.operation))
			}
		}

		// ReEncrypt has two contexts, each for its own side.
		other := s.key("")
		s.put(own, "user", "alice", policy(allow("kms:ReEncrypt*", other)))
		from := ask{"alice", "ReEncrypt", parameters{"CiphertextBlob": s.blob(key, blue), "SourceEncryptionContext": blue,
			"DestinationKeyId": other, "DestinationEncryptionContext": green}}
		s.allowed(from)
		s.denied(from.with("SourceEncryptionContext", green), because("ReEncryptFrom"))
		into := ask{"alice", "ReEncrypt", parameters{"CiphertextBlob": s.blob(other, green), "SourceEncryptionContext": green,
			"DestinationKeyId": key, "DestinationEncryptionContext": blue}}
		s.allowed(into)
		s.denied(into.with("DestinationEncryptionContext", green), because("ReEncryptTo"))

		// Of CreateGrant it is the context of the constraint.
		grant := ask{"alice", "CreateGrant", parameters{"KeyId": key, "GranteePrincipal": alice, "Operations": []string{"Decrypt"}}}
		for _, constraint := range []string{"EncryptionContextEquals", "EncryptionContextSubset"} {
			s.allowed(grant.with("Constraints", map[string]any{constraint: blue}))
			s.denied(grant.with("Constraints", map[string]any{constraint: green}), because("CreateGrant"))
		}
		s.denied(grant, because("CreateGrant"))

		// The keys of the context.
		key = keyWith(`"Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["tenant","stage"]},"Null":{"kms:EncryptionContextKeys":"false"}}`)
		asked := encrypt("alice", key).with("EncryptionContext", blue)
		s.allowed(asked)
		s.allowed(asked.with("EncryptionContext", map[string]string{"tenant": "any", "stage": "x"}))
		s.denied(asked.with("EncryptionContext", both), because("Encrypt"))
		s.denied(asked.with("EncryptionContext", map[string]string{"Tenant": "blue"}), because("Encrypt"))
		s.denied(asked.with("EncryptionContext", nil), because("Encrypt"))

		// A deny for whatever is not blue's, and a variable in an identity policy.
		key = s.key("")
		s.put(own, "user", "alice", policy(allow("kms:Encrypt", "*"), deny("kms:*", "*", when("StringNotEquals", "kms:EncryptionContext:tenant", "blue"))))
		asked = asked.with("KeyId", key)
		s.allowed(asked)
		s.denied(asked.with("EncryptionContext", green), forbids(alice, "Encrypt", key, "an identity-based policy"))
		s.denied(asked.with("EncryptionContext", nil), forbids(alice, "Encrypt", key, "an identity-based policy"))
		s.put(own, "user", "alice", policy(allow("kms:Encrypt", "*", when("StringEquals", "kms:EncryptionContext:user", "${aws:username}"))))
		s.allowed(asked.with("EncryptionContext", map[string]string{"user": "alice"}))
		s.denied(asked.with("EncryptionContext", map[string]string{"user": "bob"}), because("Encrypt"))
	})
}
