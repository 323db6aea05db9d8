package ops

import (
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func TestExplain(t *testing.T) {
	h := newHarness(t)
	const alice = "arn:aws:iam::111122223333:user/alice"
	h.addUser(account, "alice",
		`{"Version":"2012-10-17","Statement":[{"Sid":"Use","Effect":"Allow","Action":["kms:Encrypt","kms:ListKeys"],"Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:GenerateDataKey","Resource":"*"},{"Sid":"NoSecrets","Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:secret":"yes"}}}]}`)
	key := h.createKey(in{"Tags": []in{{"TagKey": "team", "TagValue": "red"}}})
	bare := h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/app", "TargetKeyId": key.KeyId})
	grant := h.must("CreateGrant", in{"KeyId": bare.KeyId, "GranteePrincipal": alice, "Operations": []string{"Decrypt"},
		"Constraints": in{"EncryptionContextSubset": in{"app": "x"}}}).(*kms.CreateGrantResponse)
	const delegation, use = "key policy, statement 1 (Enable IAM User Permissions)", "identity-based policy policy-1, statement 1 (Use)"
	denied := func(action, on, why string) string {
		return "User: " + alice + " is not authorized to perform: " + action + " on resource: " + on + " " + why
	}
	for _, c := range []struct {
		name    string
		ask     ExplainRequest
		allowed bool
		reason  string
		decided []string
	}{
		{"by identity policy", ExplainRequest{Principal: alice, Action: "kms:Encrypt", Key: key.KeyId}, true, "the policies allow it", []string{delegation, use}},
		{"by an alias, in another spelling", ExplainRequest{Principal: alice, Action: "KMS:encrypt", Key: "alias/app"}, true, "the policies allow it", []string{delegation, use}},
		{"a key without the tag", ExplainRequest{Principal: alice, Action: "kms:Encrypt", Key: bare.Arn}, false,
			denied("kms:Encrypt", bare.Arn, "because no identity-based policy allows the kms:Encrypt action"), []string{delegation}},
		{"the tag made up", ExplainRequest{Principal: alice, Action: "kms:Encrypt", Key: bare.Arn, Conditions: map[string][]string{"AWS:ResourceTag/team": {"red"}}}, true, "the policies allow it", []string{delegation, use}},
		{"denied by the context", ExplainRequest{Principal: alice, Action: "kms:Encrypt", Key: key.KeyId, Context: map[string]string{"Secret": "yes"}}, false,
			denied("kms:Encrypt", key.Arn, "with an explicit deny in an identity-based policy"), []string{"identity-based policy policy-2, statement 2 (NoSecrets)"}},
		{"by a grant", ExplainRequest{Principal: alice, Action: "kms:Decrypt", Key: bare.KeyId, Context: map[string]string{"app": "x"}}, true, "a grant on the key allows it", []string{"grant " + grant.GrantId}},
		{"outside a grant", ExplainRequest{Principal: alice, Action: "kms:Decrypt", Key: bare.KeyId}, false,
			denied("kms:Decrypt", bare.Arn, "because no identity-based policy allows the kms:Decrypt action"), []string{delegation}},
		{"no key", ExplainRequest{Principal: alice, Action: "kms:ListKeys"}, false, denied("kms:ListKeys", "*", "because no identity-based policy allows the kms:ListKeys action"), []string{}},
		{"the root user", ExplainRequest{Principal: "arn:aws:iam::111122223333:root", Action: "kms:Decrypt", Key: key.KeyId}, true, "the policies allow it", []string{delegation}},
		{"the root user without a key", ExplainRequest{Principal: "arn:aws:iam::111122223333:root", Action: "kms:CreateKey"}, true, "the root user of an account needs no identity-based policy", []string{}},
		{"another account", ExplainRequest{Principal: "arn:aws:iam::444455556666:root", Action: "kms:Decrypt", Key: key.Arn}, false,
			"User: arn:aws:iam::444455556666:root is not authorized to perform: kms:Decrypt on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access", []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := h.service.Explain(t.Context(), c.ask)
			if err != nil {
				t.Fatal(err)
			}
			if out.Allowed != c.allowed || out.Reason != c.reason || !slices.Equal(out.Decided, c.decided) {
				t.Errorf("got  %v: %s %q\nwant %v: %s %q", out.Allowed, out.Reason, out.Decided, c.allowed, c.reason, c.decided)
			}
		})
	}
	out, err := h.service.Explain(t.Context(), ExplainRequest{Principal: alice, Action: "kms:Encrypt", Key: bare.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range out.Statements {
		found = found || s.Name == use && !s.Applies && s.Effect == "Allow" && s.Why == "the condition StringEquals on aws:ResourceTag/team is not met: the request has no such key"
	}
	if !found || len(out.Statements) != 4 {
		t.Errorf("the statements are %+v", out.Statements)
	}
}

// TestExplainAgrees: what Explain says of a request without parameters is what becomes of it.
func TestExplainAgrees(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	const alice = "arn:aws:iam::111122223333:user/alice"
	seen := map[bool]int{}
	for _, keyPolicy := range []string{defaultKeyPolicy("aws", account), statement(everybody), statement(strings.Replace(everybody, "Allow", "Deny", 1)),
		statement(everybody + `,"Condition":{"StringEquals":{"kms:KeySpec":"RSA_2048"}}`), statement(delegated + `,"Condition":{"StringLike":{"aws:username":"a*"}}`)} {
		for _, identity := range []string{statement(`"Effect":"Allow","Action":"kms:*","Resource":"*"`), statement(`"Effect":"Deny","Action":"kms:DescribeKey","Resource":"*"`),
			statement(`"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceAccount":"111122223333"}}`)} {
			h.editRecord(key.KeyId, setPolicy(keyPolicy))
			if err := h.store.Update(t.Context(), func(tx *keystore.Tx) error {
				return tx.PutUser(&keystore.UserRecord{Partition: "aws", Account: account, Name: "alice", ARN: alice, Created: h.clock.Now(), Policies: rawPolicies(identity)})
			}); err != nil {
				t.Fatal(err)
			}
			out, err := h.service.Explain(t.Context(), ExplainRequest{Principal: alice, Action: "kms:DescribeKey", Key: key.KeyId})
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.invokeAs(h.userCall(account, "alice", identity), "DescribeKey", in{"KeyId": key.KeyId})
			seen[err == nil]++
			if (err == nil) != out.Allowed || err != nil && kms.AsError(err).Message != out.Reason {
				t.Errorf("%s\n%s\nexplained as %v: %s\nbecame %v", keyPolicy, identity, out.Allowed, out.Reason, err)
			}
		}
	}
	if seen[true] < 3 || seen[false] < 3 {
		t.Errorf("%v", seen)
	}
}

func TestExplainRefuses(t *testing.T) {
	h := newHarness(t)
	const root = "arn:aws:iam::111122223333:root"
	for _, c := range []struct {
		ask     ExplainRequest
		code    kms.ErrorCode
		message string
	}{
		{ExplainRequest{Principal: "alice", Action: "kms:Encrypt"}, kms.ValidationException, "alice is not the ARN of a principal."},
		{ExplainRequest{Principal: "arn:aws:iam::111122223333:user/nobody", Action: "kms:Encrypt"}, kms.NotFoundException, "The user arn:aws:iam::111122223333:user/nobody is not found."},
		{ExplainRequest{Principal: "arn:aws:iam::111122223333:role/r", Action: "kms:Encrypt"}, kms.ValidationException, "arn:aws:iam::111122223333:role/r is neither a user nor the root user of an account."},
		{ExplainRequest{Principal: root, Action: "Encrypt"}, kms.ValidationException, "Encrypt is no action of KMS, such as kms:Encrypt."},
		{ExplainRequest{Principal: root, Action: "kms:ReEncrypt"}, kms.ValidationException, "kms:ReEncrypt is no action of KMS, such as kms:Encrypt."},
		{ExplainRequest{Principal: root, Action: "kms:Encrypt", Key: "alias/none"}, kms.NotFoundException, "Alias arn:aws:kms:us-east-1:111122223333:alias/none is not found."},
		{ExplainRequest{Principal: root, Action: "kms:Encrypt", Key: "00000000-0000-4000-8000-000000000000"}, kms.NotFoundException, "Key 'arn:aws:kms:us-east-1:111122223333:key/00000000-0000-4000-8000-000000000000' does not exist"},
	} {
		_, err := h.service.Explain(t.Context(), c.ask)
		wantError(t, err, c.code, c.message)
	}
}
