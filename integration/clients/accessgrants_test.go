package clients_test

import (
	"strings"
	"testing"
)

const noToken = "The grant token is not valid."

func grant(key, grantee string, operations ...string) ask {
	return ask{"admin", "CreateGrant", parameters{"KeyId": key, "GranteePrincipal": grantee, "Operations": operations}}
}

// TestGrants: what a grant allows, to whom, with which context, and until when.
func TestGrants(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		alice, bob := s.user(own, "alice", ""), s.user(own, "bob", "")
		carol, dave := s.user(second, "carol", ""), s.user(second, "dave", "")
		key := s.key("")
		asked := encrypt("alice", key)
		denied := func(a ask, who string) {
			s.t.Helper()
			s.denied(a, lacks(who, a.operation, key, "identity-based policy"))
		}

		denied(asked, alice)
		made := s.allowed(grant(key, alice, "Encrypt", "DescribeKey"))
		s.allowed(asked)
		denied(asked.as("bob"), bob)
		describe := ask{"alice", "DescribeKey", parameters{"KeyId": key}}
		s.allowed(describe)
		denied(describe.to("GetKeyPolicy"), alice)
		other := s.key("")
		s.denied(asked.with("KeyId", other), lacks(alice, "Encrypt", other, "identity-based policy"))

		// A deny of the policies wins over it.
		s.put(own, "user", "alice", policy(deny("kms:Encrypt", "*")))
		s.denied(asked, forbids(alice, "Encrypt", key, "an identity-based policy"))
		s.put(own, "user", "alice", policy(deny("kms:Encrypt", other)))
		s.allowed(asked)

		// Another account needs no policy of its own.
		s.allowed(grant(key, carol, "Encrypt"))
		s.allowed(asked.as("carol"))
		s.denied(asked.as("dave"), unseen(dave, "Encrypt"))
		s.denied(asked.to("Decrypt").with("Plaintext", nil).with("CiphertextBlob", s.blob(key, nil)).as("carol"), unseen(carol, "Decrypt"))

		// To a role it is for its sessions, within their policies.
		s.put(own, "user", "bob", policy(allow("sts:AssumeRole", "*")))
		app := s.role(own, "app", trust("sts:AssumeRole", to(own)), "")
		session := s.session("bob", app, "session", nil)
		narrow := s.session("bob", app, "narrow", parameters{"Policy": policy(allow("kms:DescribeKey", "*"))})
		denied(asked.as("session"), session)
		s.allowed(grant(key, app, "Encrypt"))
		s.allowed(asked.as("session"))
		denied(asked.as("narrow"), narrow)

		// The encryption context decides.
		blue, green := map[string]string{"tenant": "blue"}, map[string]string{"tenant": "green"}
		more := map[string]string{"tenant": "blue", "more": "x"}
		s.allowed(grant(key, bob, "Encrypt").with("Constraints", map[string]any{"EncryptionContextSubset": blue}))
		s.allowed(grant(key, bob, "GenerateDataKey").with("Constraints", map[string]any{"EncryptionContextEquals": blue}))
		subset := asked.as("bob")
		equals := ask{"bob", "GenerateDataKey", parameters{"KeyId": key, "KeySpec": "AES_256"}}
		for _, a := range []ask{subset, equals} {
			s.allowed(a.with("EncryptionContext", blue))
			denied(a.with("EncryptionContext", green), bob)
			denied(a, bob)
		}
		s.allowed(subset.with("EncryptionContext", more))
		denied(equals.with("EncryptionContext", more), bob)

		// Whoever may revoke it ends it.
		revoke := ask{"bob", "RevokeGrant", parameters{"KeyId": key, "GrantId": text(s.t, made, "GrantId")}}
		denied(revoke, bob)
		s.allowed(asked)
		s.put(own, "user", "bob", policy(allow("kms:RevokeGrant", key)))
		s.allowed(revoke)
		denied(asked, alice)
		s.refused(revoke, "NotFoundException", "Grant ID "+text(s.t, made, "GrantId")+" not found")
	})
}

// TestGrantTokens: a token gives nothing to anybody but the grantee, and nothing when the grant is gone.
func TestGrantTokens(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		alice, bob, carol := s.user(own, "alice", ""), s.user(own, "bob", ""), s.user(second, "carol", "")
		key := s.key("")
		made := s.allowed(grant(key, alice, "Encrypt").with("RetiringPrincipal", bob))
		token := text(s.t, made, "GrantToken")
		tokens := func(list ...string) []string { return list }
		asked := encrypt("alice", key).with("GrantTokens", tokens(token))

		s.allowed(asked)
		s.denied(asked.as("bob"), lacks(bob, "Encrypt", key, "identity-based policy"))
		s.denied(asked.as("carol"), unseen(carol, "Encrypt"))
		s.denied(asked.to("DescribeKey").with("Plaintext", nil), lacks(alice, "DescribeKey", key, "identity-based policy"))
		for _, bad := range []string{"bm8gdG9rZW4=", token[:len(token)-8] + strings.Repeat("A", 8)} {
			s.refused(asked.with("GrantTokens", tokens(bad)), "InvalidGrantTokenException", noToken)
			s.refused(asked.with("GrantTokens", tokens(token, bad)), "InvalidGrantTokenException", noToken)
		}

		// The same request under a name gives the same grant with another token, which is as good.
		again := grant(key, alice, "GenerateDataKey").with("Name", "again")
		first, second := s.allowed(again), s.allowed(again)
		if text(s.t, first, "GrantId") != text(s.t, second, "GrantId") || text(s.t, first, "GrantToken") == text(s.t, second, "GrantToken") {
			s.t.Error("the grant of a name was made twice, or its token is the same one")
		}
		dataKey := ask{"alice", "GenerateDataKey", parameters{"KeyId": key, "KeySpec": "AES_256"}}
		s.allowed(dataKey.with("GrantTokens", tokens(text(s.t, first, "GrantToken"), text(s.t, second, "GrantToken"))))

		// Retired by its token, by the retiring principal.
		retire := ask{"bob", "RetireGrant", parameters{"GrantToken": token}}
		s.denied(retire.as("alice"), lacks(alice, "RetireGrant", key, "identity-based policy"))
		s.denied(retire.as("carol"), unseen(carol, "RetireGrant"))
		s.allowed(retire)
		s.refused(asked, "InvalidGrantTokenException", noToken)
		s.denied(asked.with("GrantTokens", nil), lacks(alice, "Encrypt", key, "identity-based policy"))
	})
}

// TestRetiringGrants: who may retire a grant beside its retiring principal, and see that it can be.
func TestRetiringGrants(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		alice := s.user(own, "alice", "")
		bob := s.user(second, "bob", policy(allow("kms:*", "*")))
		carol := s.user(own, "carol", "")
		key := s.key("")
		retire := func(by string, made map[string]any) ask {
			return ask{by, "RetireGrant", parameters{"KeyId": key, "GrantId": text(s.t, made, "GrantId")}}
		}

		// The grantee, if the grant says so.
		with, without := s.allowed(grant(key, alice, "Encrypt", "RetireGrant")), s.allowed(grant(key, alice, "Encrypt"))
		s.allowed(retire("alice", with))
		s.denied(retire("alice", without), lacks(alice, "RetireGrant", key, "identity-based policy"))
		// The account that made it, by its identity policies; a key policy lets nobody.
		s.putKeyPolicy(key, policy(delegated("kms:*"), allow("kms:RetireGrant", "*", to(carol))))
		s.denied(retire("carol", without), lacks(carol, "RetireGrant", key, "identity-based policy"))
		s.put(own, "user", "carol", policy(allow("kms:RetireGrant", key)))
		s.allowed(retire("carol", without))

		// A principal of another account, which finds the grants that it can retire.
		made := s.allowed(grant(key, alice, "Encrypt").with("RetiringPrincipal", bob))
		list := ask{"bob", "ListRetirableGrants", parameters{"RetiringPrincipal": bob}}
		if found := grantIDs(s.t, s.allowed(list)); len(found) != 1 || found[0] != text(s.t, made, "GrantId") {
			s.t.Errorf("bob can retire %q", found)
		}
		s.denied(list.as("carol"), lacks(carol, "ListRetirableGrants", "*", "identity-based policy"))
		s.put(second, "user", "bob", policy(allow("kms:*", "*"), deny("kms:RetireGrant", "*")))
		s.denied(retire("bob", made), unseen(bob, "RetireGrant"))
		s.put(second, "user", "bob", policy(allow("kms:*", "*")))
		s.allowed(retire("bob", made))
		if found := grantIDs(s.t, s.allowed(list)); len(found) != 0 {
			s.t.Errorf("bob can retire %q", found)
		}
	})
}

// TestGrantConditions: what a policy may say of the grants that somebody makes, and a grant of the grants
// that its grantee makes.
func TestGrantConditions(t *testing.T) {
	inEachClient(t, "", func(s *scene) {
		alice, bob := s.user(own, "alice", ""), s.user(own, "bob", "")
		key := s.key("")
		blue := map[string]any{"EncryptionContextSubset": map[string]string{"tenant": "blue"}}
		within := grant(key, bob, "Encrypt", "Decrypt").with("RetiringPrincipal", alice).with("Constraints", blue).as("alice")
		denied := lacks(alice, "CreateGrant", key, "identity-based policy")
		s.put(own, "user", "alice", policy(allow("kms:CreateGrant", key, `"Condition":{"ForAllValues:StringEquals":{"kms:GrantOperations":["Encrypt","Decrypt"]},`+
			`"StringEquals":{"kms:GranteePrincipal":"`+bob+`","kms:RetiringPrincipal":"`+alice+`","kms:GrantConstraintType":"EncryptionContextSubset"}}`)))
		s.allowed(within)
		s.denied(within.with("Operations", []string{"Encrypt", "DescribeKey"}), denied)
		s.denied(within.with("GranteePrincipal", alice), denied)
		s.denied(within.with("RetiringPrincipal", bob), denied)
		s.denied(within.with("RetiringPrincipal", nil), denied)
		s.denied(within.with("Constraints", nil), denied)
		s.denied(within.with("Constraints", map[string]any{"EncryptionContextEquals": map[string]string{"tenant": "blue"}}), denied)

		// Through a grant: its operations or fewer, its constraint or a stricter one.
		s.put(own, "user", "alice", policy(allow("sts:*", "*")))
		s.denied(within, denied)
		parent := grant(key, alice, "CreateGrant", "Encrypt", "Decrypt").with("Constraints", blue)
		s.allowed(parent)
		s.allowed(within)
		s.allowed(within.with("Operations", []string{"Encrypt"}))
		s.denied(within.with("Operations", []string{"Encrypt", "GenerateDataKey"}), denied)
		s.allowed(within.with("Constraints", map[string]any{"EncryptionContextSubset": map[string]string{"tenant": "blue", "more": "x"}}))
		s.denied(within.with("Constraints", map[string]any{"EncryptionContextSubset": map[string]string{"tenant": "green"}}), denied)
		s.denied(within.with("Constraints", nil), denied)
	})
}

// grantIDs are the ids of a list of grants.
func grantIDs(t *testing.T, list map[string]any) (ids []string) {
	t.Helper()
	grants, ok := list["Grants"].([]any)
	if !ok {
		t.Fatal("the answer has no Grants")
	}
	for _, entry := range grants {
		members, _ := entry.(map[string]any)
		ids = append(ids, text(t, members, "GrantId"))
	}
	return ids
}
