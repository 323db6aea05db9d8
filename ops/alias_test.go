package ops

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

type in = map[string]any

const (
	prefixText = `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`
	ghostKey   = "12345678-1234-1234-1234-123456789012"
)

func aliasARN(account, name string) string {
	return "arn:aws:kms:" + testRegion + ":" + account + ":alias/" + name
}

// aliasNames lists the aliases of the account, or those of one key, in pages of a size.
func (h *harness) aliasNames(keyID string, limit int) []string {
	h.t.Helper()
	names := []string{}
	request := kms.ListAliasesRequest{KeyId: keyID, Limit: limit}
	for {
		out := h.must("ListAliases", request).(*kms.ListAliasesResponse)
		if limit > 0 && len(out.Aliases) > limit {
			h.t.Errorf("a page of %d aliases instead of %d", len(out.Aliases), limit)
		}
		for _, a := range out.Aliases {
			names = append(names, a.AliasName)
		}
		if out.Truncated != (out.NextMarker != "") {
			h.t.Errorf("Truncated is %t with the marker %q", out.Truncated, out.NextMarker)
		}
		if !out.Truncated {
			return names
		}
		request.Marker = out.NextMarker
	}
}

func TestAliasLifecycle(t *testing.T) {
	h := newHarness(t)
	first, second := h.createKey(nil), h.createKey(nil)
	created := h.clock.Now()
	if out := h.must("CreateAlias", in{"AliasName": "alias/app/a", "TargetKeyId": first.KeyId}); out != nil {
		t.Errorf("CreateAlias answers %v", out)
	}
	describe := func(keyID, want string) {
		t.Helper()
		if got := h.must("DescribeKey", in{"KeyId": keyID}).(*kms.DescribeKeyResponse).KeyMetadata.KeyId; got != want {
			t.Errorf("%s is the key %s, want %s", keyID, got, want)
		}
	}
	arn := aliasARN(account, "app/a")
	describe("alias/app/a", first.KeyId)
	describe(arn, first.KeyId)

	sealed := h.must("Encrypt", in{"KeyId": arn, "Plaintext": []byte("x")}).(*kms.EncryptResponse)
	if sealed.KeyId != first.Arn {
		t.Errorf("Encrypt names %s", sealed.KeyId)
	}
	h.must("Decrypt", in{"KeyId": "alias/app/a", "CiphertextBlob": sealed.CiphertextBlob})

	h.clock.Advance(time.Hour)
	h.must("UpdateAlias", in{"AliasName": "alias/app/a", "TargetKeyId": second.Arn})
	describe(arn, second.KeyId)
	_, err := h.invoke("Decrypt", in{"KeyId": "alias/app/a", "CiphertextBlob": sealed.CiphertextBlob})
	wantError(t, err, kms.IncorrectKeyException, "The key ID in the request does not identify a CMK that can perform this operation.")

	h.restart()
	want := kms.AliasListEntry{
		AliasName: "alias/app/a", AliasArn: arn, TargetKeyId: second.KeyId,
		CreationDate: kms.TimestampOf(created), LastUpdatedDate: kms.TimestampOf(h.clock.Now()),
	}
	for _, keyID := range []string{"", second.KeyId, second.Arn} {
		got := h.must("ListAliases", kms.ListAliasesRequest{KeyId: keyID}).(*kms.ListAliasesResponse)
		if len(got.Aliases) != 1 || got.Aliases[0] != want {
			t.Errorf("ListAliases of %q: %+v, want %+v", keyID, got.Aliases, want)
		}
	}
	if names := h.aliasNames(first.KeyId, 0); len(names) != 0 {
		t.Errorf("the key that the alias left still lists %v", names)
	}

	h.must("DeleteAlias", in{"AliasName": "alias/app/a"})
	_, err = h.invoke("DescribeKey", in{"KeyId": "alias/app/a"})
	wantError(t, err, kms.NotFoundException, "Alias "+arn+" is not found.")
	h.must("CreateAlias", in{"AliasName": "alias/app/a", "TargetKeyId": first.KeyId})
	describe("alias/app/a", first.KeyId)
}

func TestAliasErrors(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/taken", "TargetKeyId": key.KeyId})
	foreignKey := "arn:aws:kms:" + testRegion + ":" + stranger + ":key/" + ghostKey
	long := "alias/" + strings.Repeat("x", 251)
	pattern := "1 validation error detected: Value '%s' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"
	for _, c := range []struct {
		name, op string
		in       in
		code     kms.ErrorCode
		text     string
	}{
		{"no name", "CreateAlias", in{"TargetKeyId": key.KeyId}, kms.ValidationException,
			"1 validation error detected: Value null at 'aliasName' failed to satisfy constraint: Member must not be null"},
		{"no target", "CreateAlias", in{"AliasName": "alias/x"}, kms.ValidationException,
			"1 validation error detected: Value null at 'targetKeyId' failed to satisfy constraint: Member must not be null"},
		{"too long", "CreateAlias", in{"AliasName": long, "TargetKeyId": key.KeyId}, kms.ValidationException,
			"1 validation error detected: Value '" + long + "' at 'aliasName' failed to satisfy constraint: Member must have length less than or equal to 256"},
		{"a space", "CreateAlias", in{"AliasName": "alias/a b", "TargetKeyId": key.KeyId}, kms.ValidationException, fmt.Sprintf(pattern, "alias/a b")},
		{"a dot", "DeleteAlias", in{"AliasName": "alias/a.b"}, kms.ValidationException, fmt.Sprintf(pattern, "alias/a.b")},
		{"no prefix", "CreateAlias", in{"AliasName": "x", "TargetKeyId": key.KeyId}, kms.ValidationException, prefixText},
		{"prefix only", "CreateAlias", in{"AliasName": "alias/", "TargetKeyId": key.KeyId}, kms.ValidationException, prefixText},
		{"an ARN", "CreateAlias", in{"AliasName": aliasARN(account, "x"), "TargetKeyId": key.KeyId}, kms.ValidationException, prefixText},
		{"no prefix", "UpdateAlias", in{"AliasName": "x", "TargetKeyId": key.KeyId}, kms.ValidationException, prefixText},
		{"no prefix", "DeleteAlias", in{"AliasName": "x"}, kms.ValidationException, prefixText},
		{"reserved", "CreateAlias", in{"AliasName": "alias/aws/s3", "TargetKeyId": key.KeyId}, kms.NotAuthorizedException, ""},
		{"reserved", "UpdateAlias", in{"AliasName": "alias/aws/s3", "TargetKeyId": key.KeyId}, kms.NotAuthorizedException, ""},
		{"reserved", "DeleteAlias", in{"AliasName": "alias/aws/s3"}, kms.NotAuthorizedException, ""},
		{"a colon", "CreateAlias", in{"AliasName": "alias/my:alias", "TargetKeyId": key.KeyId}, kms.ValidationException, "alias/my:alias contains invalid characters for an alias"},
		{"exists", "CreateAlias", in{"AliasName": "alias/taken", "TargetKeyId": key.KeyId}, kms.AlreadyExistsException, "An alias with the name " + aliasARN(account, "taken") + " already exists"},
		{"alias as target", "CreateAlias", in{"AliasName": "alias/x", "TargetKeyId": "alias/taken"}, kms.ValidationException, "Aliases must refer to keys. Not aliases"},
		{"alias ARN as target", "UpdateAlias", in{"AliasName": "alias/taken", "TargetKeyId": aliasARN(account, "taken")}, kms.ValidationException, "Aliases must refer to keys. Not aliases"},
		{"no such target", "CreateAlias", in{"AliasName": "alias/x", "TargetKeyId": ghostKey}, kms.NotFoundException, "Key 'arn:aws:kms:us-east-1:111122223333:key/" + ghostKey + "' does not exist"},
		{"no key id", "CreateAlias", in{"AliasName": "alias/x", "TargetKeyId": "nonsense"}, kms.NotFoundException, "Invalid keyId 'nonsense'"},
		{"another account", "CreateAlias", in{"AliasName": "alias/x", "TargetKeyId": foreignKey}, kms.AccessDeniedException,
			"User: arn:aws:iam::111122223333:root is not authorized to perform: kms:CreateAlias on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"},
		{"another Region", "CreateAlias", in{"AliasName": "alias/x", "TargetKeyId": "arn:aws:kms:us-west-2:111122223333:key/" + ghostKey}, kms.NotFoundException, "Invalid arn us-west-2"},
		{"missing", "UpdateAlias", in{"AliasName": "alias/x", "TargetKeyId": key.KeyId}, kms.NotFoundException, "Alias " + aliasARN(account, "x") + " is not found."},
		{"missing", "DeleteAlias", in{"AliasName": "alias/x"}, kms.NotFoundException, "Alias " + aliasARN(account, "x") + " is not found."},
		{"missing", "Encrypt", in{"KeyId": "alias/x", "Plaintext": []byte("x")}, kms.NotFoundException, "Alias " + aliasARN(account, "x") + " is not found."},
		{"case counts", "DescribeKey", in{"KeyId": "alias/Taken"}, kms.NotFoundException, "Alias " + aliasARN(account, "Taken") + " is not found."},
		{"foreign alias", "DescribeKey", in{"KeyId": aliasARN(stranger, "x")}, kms.AccessDeniedException,
			"User: arn:aws:iam::111122223333:root is not authorized to perform: kms:DescribeKey on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"},
		{"alias where only keys are taken", "DisableKey", in{"KeyId": "alias/taken"}, kms.NotFoundException, "Invalid keyId alias/taken"},
		{"alias as filter", "ListAliases", in{"KeyId": "alias/taken"}, kms.NotFoundException, "Invalid keyId alias/taken"},
		{"no such key as filter", "ListAliases", in{"KeyId": ghostKey}, kms.NotFoundException, "Key 'arn:aws:kms:us-east-1:111122223333:key/" + ghostKey + "' does not exist"},
		{"limit", "ListAliases", in{"Limit": 101}, kms.ValidationException,
			"1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100"},
		{"marker", "ListAliases", in{"Marker": "nonsense"}, kms.InvalidMarkerException, "The marker is not valid."},
		{"marker of another list", "ListAliases", in{"Marker": marker("ListKeys", "x")}, kms.InvalidMarkerException, "The marker is not valid."},
		{"marker of nothing", "ListAliases", in{"Marker": marker("ListAliases", "")}, kms.InvalidMarkerException, "The marker is not valid."},
	} {
		t.Run(c.op+" "+c.name, func(t *testing.T) {
			_, err := h.invoke(c.op, c.in)
			wantError(t, err, c.code, c.text)
		})
	}
	if names := h.aliasNames("", 0); !slices.Equal(names, []string{"alias/taken"}) {
		t.Errorf("errors left the aliases %v", names)
	}
}

func TestAliasPermissions(t *testing.T) {
	h := newHarness(t)
	h.addUser(account, "nobody")
	open := h.createKey(nil)
	closed := h.createKey(kms.CreateKeyRequest{BypassPolicyLockoutSafetyCheck: true,
		Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/nobody"},"Action":"kms:*","Resource":"*"}}`})
	h.must("CreateAlias", in{"AliasName": "alias/open", "TargetKeyId": open.KeyId})
	allow := func(resources ...string) string {
		list, _ := json.Marshal(resources)
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":` + string(list) + `}}`
	}
	keys, aliases := "arn:aws:kms:*:*:key/*", "arn:aws:kms:*:*:alias/*"
	const user = "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: "
	for _, c := range []struct {
		name, policy, op string
		in               in
		text             string // of AccessDeniedException, "" for success
	}{
		{"keys only", allow(keys), "CreateAlias", in{"AliasName": "alias/n", "TargetKeyId": open.KeyId},
			user + "kms:CreateAlias on resource: " + aliasARN(account, "n") + " because no identity-based policy allows the kms:CreateAlias action"},
		{"aliases only", allow(aliases), "CreateAlias", in{"AliasName": "alias/n", "TargetKeyId": open.KeyId},
			user + "kms:CreateAlias on resource: " + open.Arn + " because no identity-based policy allows the kms:CreateAlias action"},
		{"a key that allows nobody", allow(keys, aliases), "CreateAlias", in{"AliasName": "alias/n", "TargetKeyId": closed.KeyId},
			user + "kms:CreateAlias on resource: " + closed.Arn + " because no resource-based policy allows the kms:CreateAlias action"},
		{"new target forbidden", allow(keys, aliases), "UpdateAlias", in{"AliasName": "alias/open", "TargetKeyId": closed.KeyId},
			user + "kms:UpdateAlias on resource: " + closed.Arn + " because no resource-based policy allows the kms:UpdateAlias action"},
		{"another alias", allow(keys, aliasARN(account, "other")), "DeleteAlias", in{"AliasName": "alias/open"},
			user + "kms:DeleteAlias on resource: " + aliasARN(account, "open") + " because no identity-based policy allows the kms:DeleteAlias action"},
		{"list", allow(keys, aliases), "ListAliases", in{},
			user + "kms:ListAliases on resource: * because no identity-based policy allows the kms:ListAliases action"},
		{"both", allow(keys, aliases), "CreateAlias", in{"AliasName": "alias/n", "TargetKeyId": open.KeyId}, ""},
		{"both", allow(keys, aliases), "UpdateAlias", in{"AliasName": "alias/n", "TargetKeyId": open.KeyId}, ""},
		{"both", allow(keys, aliases), "DeleteAlias", in{"AliasName": "alias/n"}, ""},
	} {
		t.Run(c.op+" "+c.name, func(t *testing.T) {
			_, err := h.invokeAs(h.userCall(account, "alice", c.policy), c.op, c.in)
			if c.text != "" {
				wantError(t, err, kms.AccessDeniedException, c.text)
			} else if err != nil {
				t.Error(err)
			}
		})
	}

	// Leaving a key needs its permission as well.
	h.editRecord(open.KeyId, setPolicy(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"kms:UpdateAlias","Resource":"*"}}`))
	other := h.createKey(nil)
	_, err := h.invoke("UpdateAlias", in{"AliasName": "alias/open", "TargetKeyId": other.KeyId})
	wantError(t, err, kms.AccessDeniedException, "User: arn:aws:iam::111122223333:root is not authorized to perform: kms:UpdateAlias on resource: "+open.Arn+" with an explicit deny in a resource-based policy")
}

// TestAliasAcrossAccounts: an alias ARN of another account is a name of its key, for the operations
// that AWS lets cross accounts and for nothing else.
func TestAliasAcrossAccounts(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(kms.CreateKeyRequest{
		Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":["111122223333","444455556666"]},"Action":"kms:*","Resource":"*"}}`})
	h.must("CreateAlias", in{"AliasName": "alias/shared", "TargetKeyId": key.KeyId})
	other := h.call(stranger)
	out, err := h.invokeAs(other, "Encrypt", in{"KeyId": aliasARN(account, "shared"), "Plaintext": []byte("x")})
	if err != nil || out.(*kms.EncryptResponse).KeyId != key.Arn {
		t.Errorf("Encrypt with a foreign alias: %v", err)
	}
	_, err = h.invokeAs(other, "Encrypt", in{"KeyId": "alias/shared", "Plaintext": []byte("x")})
	wantError(t, err, kms.NotFoundException, "Alias "+aliasARN(stranger, "shared")+" is not found.")
	for _, op := range []string{"DisableKey", "GetKeyPolicy", "ScheduleKeyDeletion", "ListResourceTags", "CancelKeyDeletion"} {
		_, err = h.invokeAs(other, op, in{"KeyId": key.Arn})
		wantError(t, err, kms.AccessDeniedException, "User: arn:aws:iam::444455556666:root is not authorized to perform: kms:"+op+
			" on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access")
	}
	// The same name is another alias in another account.
	own, err := h.invokeAs(other, "CreateKey", in{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.invokeAs(other, "CreateAlias", in{"AliasName": "alias/shared", "TargetKeyId": own.(*kms.CreateKeyResponse).KeyMetadata.KeyId}); err != nil {
		t.Error(err)
	}
	if names := h.aliasNames("", 0); len(names) != 1 {
		t.Errorf("the account lists %v", names)
	}
}

func TestAliasMove(t *testing.T) {
	h := newHarness(t)
	from := h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/a", "TargetKeyId": from.KeyId})
	for _, c := range []struct {
		spec  kms.KeySpec
		usage kms.KeyUsageType
		from  kms.KeySpec
		used  kms.KeyUsageType
		ok    bool
	}{
		{"SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", true},
		{"RSA_2048", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", false},
		{"HMAC_256", "GENERATE_VERIFY_MAC", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", false},
		{"HMAC_512", "GENERATE_VERIFY_MAC", "HMAC_224", "GENERATE_VERIFY_MAC", true},
		{"ECC_NIST_P256", "SIGN_VERIFY", "RSA_2048", "SIGN_VERIFY", true},
		{"RSA_2048", "SIGN_VERIFY", "RSA_2048", "ENCRYPT_DECRYPT", false},
		{"ECC_NIST_P256", "KEY_AGREEMENT", "ECC_NIST_P256", "SIGN_VERIFY", false},
	} {
		to := h.createKey(nil)
		h.editRecord(from.KeyId, setSpec(c.from, c.used))
		h.editRecord(to.KeyId, setSpec(c.spec, c.usage))
		_, err := h.invoke("UpdateAlias", in{"AliasName": "alias/a", "TargetKeyId": to.KeyId})
		if c.ok {
			if err != nil {
				t.Errorf("%s to %s: %v", c.from, c.spec, err)
			}
			h.must("UpdateAlias", in{"AliasName": "alias/a", "TargetKeyId": from.KeyId})
			continue
		}
		wantError(t, err, kms.ValidationException,
			"The alias cannot be moved from "+from.Arn+" to "+to.Arn+": the key type and the key usage of both must be the same.")
	}
}

func TestAliasQuotaAndPaging(t *testing.T) {
	h := newHarness(t)
	key, other := h.createKey(nil), h.createKey(nil)
	var want []string
	for i := range maxAliases {
		name := fmt.Sprintf("alias/%02d", i)
		h.must("CreateAlias", in{"AliasName": name, "TargetKeyId": key.KeyId})
		want = append(want, name)
	}
	const full = "Aliases per key quota for this account in this region is 50, current usage is 50."
	_, err := h.invoke("CreateAlias", in{"AliasName": "alias/more", "TargetKeyId": key.KeyId})
	wantError(t, err, kms.LimitExceededException, full)
	h.must("CreateAlias", in{"AliasName": "alias/more", "TargetKeyId": other.KeyId})
	_, err = h.invoke("UpdateAlias", in{"AliasName": "alias/more", "TargetKeyId": key.KeyId})
	wantError(t, err, kms.LimitExceededException, full)
	h.must("UpdateAlias", in{"AliasName": "alias/00", "TargetKeyId": key.KeyId}) // is there already

	for _, limit := range []int{1, 7, 50, 100} {
		if got := h.aliasNames(key.KeyId, limit); !slices.Equal(got, want) {
			t.Errorf("in pages of %d the key has %v", limit, got)
		}
		if got := h.aliasNames("", limit); !slices.Equal(got, append(slices.Clone(want), "alias/more")) {
			t.Errorf("in pages of %d the account has %v", limit, got)
		}
	}
	if out := h.must("ListAliases", in{}).(*kms.ListAliasesResponse); len(out.Aliases) != defaultListAliases || !out.Truncated {
		t.Errorf("without a limit a page has %d aliases", len(out.Aliases))
	}
}
