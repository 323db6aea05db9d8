package ops

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
)

func TestGrantErrors(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice")
	h.users(stranger, "eve")
	symmetric := h.createKey(nil)
	signing := h.createKey(in{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"})
	mac := h.createKey(in{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"})
	alice := userARN(account, "alice")
	grant := func(change in) in {
		r := in{"KeyId": symmetric.KeyId, "GranteePrincipal": alice, "Operations": []string{"Decrypt"}}
		for name, value := range change {
			if r[name] = value; value == nil {
				delete(r, name)
			}
		}
		return r
	}
	service := func(change in) in {
		r := grant(in{"GranteePrincipal": nil, "GranteeServicePrincipal": "rds.amazonaws.com", "RetiringPrincipal": alice,
			"Constraints": in{"SourceArn": "arn:aws:rds:us-east-1:111122223333:db:x"}})
		for name, value := range change {
			if r[name] = value; value == nil {
				delete(r, name)
			}
		}
		return r
	}
	pairs := in{}
	for i := range 9 {
		pairs[fmt.Sprint(i)] = "x"
	}
	long := strings.Repeat("é", 385)
	missing := strings.Repeat("0", 64)
	noPrincipal := func(arn string) string { return "ARN does not refer to a valid principal: " + arn }
	notValid := func(op string, key *kms.KeyMetadata) string {
		return fmt.Sprintf("The grant operation %s is not valid for %s, whose key spec is %s and whose key usage is %s.", op, key.Arn, key.KeySpec, key.KeyUsage)
	}
	const either = "Specify either GranteePrincipal or GranteeServicePrincipal."
	for _, c := range []struct {
		name, op string
		in       in
		code     kms.ErrorCode
		text     string
	}{
		{"no key", "CreateGrant", grant(in{"KeyId": ghostKey}), kms.NotFoundException, "Key 'arn:aws:kms:us-east-1:111122223333:key/" + ghostKey + "' does not exist"},
		{"an alias", "CreateGrant", grant(in{"KeyId": "alias/x"}), kms.NotFoundException, "Invalid keyId alias/x"},
		{"no operations", "CreateGrant", grant(in{"Operations": nil}), kms.ValidationException, "1 validation error detected: Value null at 'operations' failed to satisfy constraint: Member must not be null"},
		{"empty operations", "CreateGrant", grant(in{"Operations": []string{}}), kms.ValidationException, "1 validation error detected: Value '[]' at 'operations' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"CreateGrant alone", "CreateGrant", grant(in{"Operations": []string{"CreateGrant", "CreateGrant"}}), kms.ValidationException, "Grants must not contain only the CreateGrant operation."},
		{"Sign, symmetric", "CreateGrant", grant(in{"Operations": []string{"Decrypt", "Sign"}}), kms.ValidationException, notValid("Sign", symmetric)},
		{"GetPublicKey, symmetric", "CreateGrant", grant(in{"Operations": []string{"GetPublicKey"}}), kms.ValidationException, notValid("GetPublicKey", symmetric)},
		{"ReEncryptTo, signing", "CreateGrant", grant(in{"KeyId": signing.KeyId, "Operations": []string{"ReEncryptTo"}}), kms.ValidationException, notValid("ReEncryptTo", signing)},
		{"Verify, HMAC", "CreateGrant", grant(in{"KeyId": mac.KeyId, "Operations": []string{"Verify"}}), kms.ValidationException, notValid("Verify", mac)},
		{"no grantee", "CreateGrant", grant(in{"GranteePrincipal": nil}), kms.ValidationException, either},
		{"two grantees", "CreateGrant", grant(in{"GranteeServicePrincipal": "rds.amazonaws.com"}), kms.ValidationException, either},
		{"two that retire", "CreateGrant", grant(in{"RetiringPrincipal": alice, "RetiringServicePrincipal": "rds.amazonaws.com"}), kms.ValidationException, "RetiringPrincipal and RetiringServicePrincipal cannot both be specified."},
		{"a service without a source", "CreateGrant", service(in{"Constraints": nil}), kms.ValidationException, "A grant for a service principal requires the SourceArn constraint."},
		{"a service that nobody retires", "CreateGrant", service(in{"RetiringPrincipal": nil}), kms.ValidationException, "A grant for a service principal requires RetiringPrincipal or RetiringServicePrincipal."},
		{"no service", "CreateGrant", service(in{"GranteeServicePrincipal": "RDS"}), kms.ValidationException, "RDS is not the name of a service principal."},
		{"an unknown user", "CreateGrant", grant(in{"GranteePrincipal": userARN(account, "nobody")}), kms.InvalidArnException, noPrincipal(userARN(account, "nobody"))},
		{"an unknown user of another account", "CreateGrant", grant(in{"RetiringPrincipal": userARN(stranger, "nobody")}), kms.InvalidArnException, noPrincipal(userARN(stranger, "nobody"))},
		{"no ARN", "CreateGrant", grant(in{"GranteePrincipal": "alice"}), kms.InvalidArnException, noPrincipal("alice")},
		{"a service as principal", "CreateGrant", grant(in{"GranteePrincipal": "rds.amazonaws.com"}), kms.InvalidArnException, noPrincipal("rds.amazonaws.com")},
		{"a group", "CreateGrant", grant(in{"GranteePrincipal": "arn:aws:iam::111122223333:group/g"}), kms.InvalidArnException, noPrincipal("arn:aws:iam::111122223333:group/g")},
		{"another partition", "CreateGrant", grant(in{"GranteePrincipal": "arn:aws-cn:iam::111122223333:root"}), kms.InvalidArnException, noPrincipal("arn:aws-cn:iam::111122223333:root")},
		{"both contexts", "CreateGrant", grant(in{"Constraints": in{"EncryptionContextEquals": in{"a": "b"}, "EncryptionContextSubset": in{"a": "b"}}}), kms.ValidationException, "Specify either EncryptionContextEquals or EncryptionContextSubset."},
		{"nine pairs", "CreateGrant", grant(in{"Constraints": in{"EncryptionContextSubset": pairs}}), kms.ValidationException, "An encryption context constraint can have at most 8 pairs."},
		{"a long value", "CreateGrant", grant(in{"Constraints": in{"EncryptionContextEquals": in{"a": long}}}), kms.ValidationException, "A value in an encryption context constraint can have at most 384 characters."},
		{"a context, signing", "CreateGrant", grant(in{"KeyId": signing.KeyId, "Operations": []string{"Sign"}, "Constraints": in{"EncryptionContextEquals": in{"a": "b"}}}), kms.ValidationException,
			"Encryption context constraints are not valid for " + signing.Arn + ", whose key spec is ECC_NIST_P256."},
		{"a bad name", "CreateGrant", grant(in{"Name": "a b"}), kms.ValidationException, "1 validation error detected: Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
		{"a bad token", "CreateGrant", grant(in{"GrantTokens": []string{"AAAA"}}), kms.InvalidGrantTokenException, "The grant token is not valid."},

		{"no key", "ListGrants", in{"KeyId": ghostKey}, kms.NotFoundException, "Key 'arn:aws:kms:us-east-1:111122223333:key/" + ghostKey + "' does not exist"},
		{"a bad grant id", "ListGrants", in{"KeyId": symmetric.KeyId, "GrantId": "x"}, kms.InvalidGrantIdException, "The grant ID is not valid."},
		{"a bad marker", "ListGrants", in{"KeyId": symmetric.KeyId, "Marker": "x"}, kms.InvalidMarkerException, "The marker is not valid."},
		{"two filters", "ListGrants", in{"KeyId": symmetric.KeyId, "GranteePrincipal": alice, "GranteeServicePrincipal": "rds.amazonaws.com"}, kms.ValidationException, "GranteePrincipal and GranteeServicePrincipal cannot both be specified."},
		{"too many", "ListGrants", in{"KeyId": symmetric.KeyId, "Limit": 101}, kms.ValidationException, "1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100"},
		{"nobody", "ListRetirableGrants", in{}, kms.ValidationException, "Specify either RetiringPrincipal or RetiringServicePrincipal."},
		{"two", "ListRetirableGrants", in{"RetiringPrincipal": alice, "RetiringServicePrincipal": "rds.amazonaws.com"}, kms.ValidationException, "RetiringPrincipal and RetiringServicePrincipal cannot both be specified."},
		{"no ARN", "ListRetirableGrants", in{"RetiringPrincipal": "alice"}, kms.InvalidArnException, noPrincipal("alice")},
		{"of another account", "ListRetirableGrants", in{"RetiringPrincipal": userARN(stranger, "eve")}, kms.AccessDeniedException,
			"User: arn:aws:iam::111122223333:root is not authorized to perform: kms:ListRetirableGrants on resource: " + userARN(stranger, "eve") + " because no identity-based policy allows the kms:ListRetirableGrants action"},
		{"a bad marker", "ListRetirableGrants", in{"RetiringPrincipal": alice, "Marker": marker("ListRetirableGrants", "a,b")}, kms.InvalidMarkerException, "The marker is not valid."},

		{"nothing", "RetireGrant", in{}, kms.ValidationException, "Specify either GrantToken, or KeyId and GrantId."},
		{"half", "RetireGrant", in{"KeyId": symmetric.KeyId}, kms.ValidationException, "Specify either GrantToken, or KeyId and GrantId."},
		{"too much", "RetireGrant", in{"GrantToken": "x", "KeyId": symmetric.KeyId, "GrantId": missing}, kms.ValidationException, "Specify either GrantToken, or KeyId and GrantId."},
		{"a bad token", "RetireGrant", in{"GrantToken": "AAAA"}, kms.InvalidGrantTokenException, "The grant token is not valid."},
		{"a bad grant id", "RetireGrant", in{"KeyId": symmetric.KeyId, "GrantId": strings.ToUpper("ab" + missing[2:])}, kms.InvalidGrantIdException, "The grant ID is not valid."},
		{"missing", "RetireGrant", in{"KeyId": symmetric.KeyId, "GrantId": missing}, kms.NotFoundException, "Grant ID " + missing + " not found"},
		{"no key", "RetireGrant", in{"KeyId": ghostKey, "GrantId": missing}, kms.NotFoundException, "Key 'arn:aws:kms:us-east-1:111122223333:key/" + ghostKey + "' does not exist"},
		{"no grant id", "RevokeGrant", in{"KeyId": symmetric.KeyId}, kms.ValidationException, "1 validation error detected: Value null at 'grantId' failed to satisfy constraint: Member must not be null"},
		{"a bad grant id", "RevokeGrant", in{"KeyId": symmetric.KeyId, "GrantId": "x"}, kms.InvalidGrantIdException, "The grant ID is not valid."},
		{"missing", "RevokeGrant", in{"KeyId": symmetric.KeyId, "GrantId": missing}, kms.NotFoundException, "Grant ID " + missing + " not found"},
		{"a dry run", "RevokeGrant", in{"KeyId": symmetric.KeyId, "GrantId": missing, "DryRun": true}, kms.NotFoundException, "Grant ID " + missing + " not found"},
		{"a dry run", "CreateGrant", grant(in{"DryRun": true}), kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set."},
	} {
		t.Run(c.op+" "+c.name, func(t *testing.T) {
			_, err := h.invoke(c.op, c.in)
			wantError(t, err, c.code, c.text)
		})
	}
	if entries := h.grants(h.call(account), "ListGrants", 10, in{"KeyId": symmetric.KeyId}); len(entries) != 0 {
		t.Errorf("grants were made: %+v", entries)
	}
}

// TestGrantPrincipals: who exists as far as can be known.
func TestGrantPrincipals(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice", "team/bob")
	for name, path := range map[string]string{"r": "/path/", "plain": "/"} {
		if _, err := h.service.CreateRole(t.Context(), new(Call), &CreateRoleRequest{Name: name, Path: path, Trust: json.RawMessage(trustsAccount)}); err != nil {
			t.Fatal(err)
		}
	}
	key := h.createKey(nil)
	for _, arn := range []string{
		userARN(account, "alice"), userARN(account, "team/bob"), "arn:aws:iam::111122223333:root", "arn:aws:iam::777788889999:root",
		userARN("777788889999", "anybody"), // an account whose users are not kept here
		"arn:aws:iam::111122223333:role/path/r", "arn:aws:sts::111122223333:assumed-role/r/session", "arn:aws:sts::111122223333:federated-user/f",
	} {
		h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": arn, "RetiringPrincipal": arn, "Operations": []string{"Decrypt"}})
	}
	for _, arn := range []string{
		userARN(account, "mallory"), userARN(account, "bob"), userARN(account, "team/alice"), "arn:aws:iam::111122223333:role/r",
		"arn:aws:iam::111122223333:role/other", "arn:aws:sts::111122223333:assumed-role/other/session", "arn:aws-cn:iam::111122223333:role/plain",
	} {
		_, err := h.invoke("CreateGrant", in{"KeyId": key.KeyId, "GranteePrincipal": arn, "Operations": []string{"Decrypt"}})
		wantError(t, err, kms.InvalidArnException, "ARN does not refer to a valid principal: "+arn)
	}
}

// TestGrantOperationsByKey takes every grant operation to every kind of key (API reference,
// CreateGrant, "Operations").
func TestGrantOperationsByKey(t *testing.T) {
	always := "CreateGrant RetireGrant DescribeKey"
	for _, c := range []struct {
		spec  kms.KeySpec
		usage kms.KeyUsageType
		want  string
	}{
		{kms.KeySpecSymmetricDefault, kms.KeyUsageTypeEncryptDecrypt, "Decrypt Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext ReEncryptFrom ReEncryptTo GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext"},
		{kms.KeySpecRsa2048, kms.KeyUsageTypeEncryptDecrypt, "Decrypt Encrypt ReEncryptFrom ReEncryptTo GetPublicKey"},
		{kms.KeySpecRsa2048, kms.KeyUsageTypeSignVerify, "Sign Verify GetPublicKey"},
		{kms.KeySpecEccNistP256, kms.KeyUsageTypeSignVerify, "Sign Verify GetPublicKey"},
		{kms.KeySpecEccNistP256, kms.KeyUsageTypeKeyAgreement, "DeriveSharedSecret GetPublicKey"},
		{kms.KeySpecHmac256, kms.KeyUsageTypeGenerateVerifyMac, "GenerateMac VerifyMac"},
		{kms.KeySpecMlKem768, kms.KeyUsageTypeEncapsulateDecapsulate, "Encapsulate Decapsulate GetPublicKey"},
	} {
		k := key{KeyRecord: newKeyRecord(c.spec, c.usage), arn: "arn"}
		want := strings.Fields(always + " " + c.want)
		for _, operation := range grantOperations() {
			expected := false
			for _, w := range want {
				expected = expected || w == string(operation)
			}
			if got := grantable(k, operation); got != expected {
				t.Errorf("%s for %s keys of %s: %v", operation, c.usage, c.spec, got)
			}
		}
	}
}
