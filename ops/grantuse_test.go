package ops

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func newKeyRecord(spec kms.KeySpec, usage kms.KeyUsageType) *keystore.KeyRecord {
	return &keystore.KeyRecord{Spec: spec, Usage: usage}
}

func grantOperations() []kms.GrantOperation {
	return []kms.GrantOperation{
		kms.GrantOperationDecrypt, kms.GrantOperationEncrypt, kms.GrantOperationGenerateDataKey, kms.GrantOperationGenerateDataKeyWithoutPlaintext,
		kms.GrantOperationReEncryptFrom, kms.GrantOperationReEncryptTo, kms.GrantOperationSign, kms.GrantOperationVerify,
		kms.GrantOperationGetPublicKey, kms.GrantOperationCreateGrant, kms.GrantOperationRetireGrant, kms.GrantOperationDescribeKey,
		kms.GrantOperationGenerateDataKeyPair, kms.GrantOperationGenerateDataKeyPairWithoutPlaintext, kms.GrantOperationGenerateMac,
		kms.GrantOperationVerifyMac, kms.GrantOperationDeriveSharedSecret, kms.GrantOperationEncapsulate, kms.GrantOperationDecapsulate,
	}
}

// wantAllowed and wantDenied send a request that is allowed or denied.
func (h *harness) wantAllowed(call *Call, op string, request in) any {
	h.t.Helper()
	out, err := h.invokeAs(call, op, request)
	if err != nil {
		h.t.Errorf("%s by %s: %v", op, call.Caller.Principal.ARN, err)
	}
	return out
}

func (h *harness) wantDenied(call *Call, op string, request in) {
	h.t.Helper()
	if _, err := h.invokeAs(call, op, request); err == nil || kms.AsError(err).Code != kms.AccessDeniedException {
		h.t.Errorf("%s by %s: %v, want AccessDeniedException", op, call.Caller.Principal.ARN, err)
	}
}

// TestGrantsAllow follows a grant through every operation on a symmetric key, for users of both
// accounts, without any policy that allows them anything.
func TestGrantsAllow(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice", "bob")
	h.users(stranger, "eve")
	key := h.createKey(nil)
	context := in{"tenant": "7"}
	sealed := h.must("Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x"), "EncryptionContext": context}).(*kms.EncryptResponse).CiphertextBlob
	requests := map[string]in{
		"Encrypt":                             {"KeyId": key.Arn, "Plaintext": []byte("x"), "EncryptionContext": context},
		"Decrypt":                             {"KeyId": key.Arn, "CiphertextBlob": sealed, "EncryptionContext": context},
		"GenerateDataKey":                     {"KeyId": key.Arn, "KeySpec": "AES_256", "EncryptionContext": context},
		"GenerateDataKeyWithoutPlaintext":     {"KeyId": key.Arn, "KeySpec": "AES_256", "EncryptionContext": context},
		"GenerateDataKeyPair":                 {"KeyId": key.Arn, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": context, "DryRun": true},
		"GenerateDataKeyPairWithoutPlaintext": {"KeyId": key.Arn, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": context, "DryRun": true},
		"DescribeKey":                         {"KeyId": key.Arn},
	}
	for _, caller := range []*Call{h.userCall(account, "alice"), h.userCall(stranger, "eve")} {
		who := caller.Caller.Principal.ARN
		for op, request := range requests {
			allowed := func(request in) error {
				_, err := h.invokeAs(caller, op, request)
				if kms.AsError(err).Code == kms.DryRunOperationException {
					return nil
				}
				return err
			}
			refused := func(what string, request in) {
				t.Helper()
				if err := allowed(request); err == nil || kms.AsError(err).Code != kms.AccessDeniedException {
					t.Errorf("%s by %s %s: %v", op, who, what, err)
				}
			}
			refused("without a grant", request)
			grant := h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": who, "Operations": []string{op},
				"Constraints": in{"EncryptionContextSubset": in{"Tenant": "7"}}})
			if err := allowed(request); err != nil {
				t.Errorf("%s by %s: %v", op, who, err)
			}
			if op != "DescribeKey" {
				other := in{}
				for name, value := range request {
					other[name] = value
				}
				other["EncryptionContext"] = in{"tenant": "8"}
				refused("in another context", other)
			}
			h.must("RevokeGrant", in{"KeyId": key.KeyId, "GrantId": grant.GrantId})
			refused("after the grant", request)
		}
	}
	// What a grant does not name it does not allow, and nobody else gets it.
	h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "Operations": []string{"Encrypt"}})
	h.wantAllowed(h.userCall(account, "alice"), "Encrypt", requests["Encrypt"])
	h.wantDenied(h.userCall(account, "alice"), "Decrypt", requests["Decrypt"])
	h.wantDenied(h.userCall(account, "alice"), "ListGrants", in{"KeyId": key.KeyId})
	h.wantDenied(h.userCall(account, "bob"), "Encrypt", requests["Encrypt"])
	h.wantDenied(h.userCall(account, "alicex"), "Encrypt", requests["Encrypt"])
	h.restart()
	h.wantAllowed(h.userCall(account, "alice"), "Encrypt", requests["Encrypt"])

	const denied = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:Encrypt","Resource":"*"}]}`
	_, err := h.invokeAs(h.userCall(account, "alice", denied), "Encrypt", requests["Encrypt"])
	wantError(t, err, kms.AccessDeniedException, "User: "+userARN(account, "alice")+" is not authorized to perform: kms:Encrypt on resource: "+key.Arn+" with an explicit deny in an identity-based policy")
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) {
		r.Policy = strings.Replace(r.Policy, `"Statement" : [ {`, `"Statement" : [ {"Effect":"Deny","Principal":{"AWS":"`+userARN(account, "alice")+`"},"Action":"kms:Encrypt","Resource":"*"}, {`, 1)
	})
	_, err = h.invokeAs(h.userCall(account, "alice"), "Encrypt", requests["Encrypt"])
	wantError(t, err, kms.AccessDeniedException, "User: "+userARN(account, "alice")+" is not authorized to perform: kms:Encrypt on resource: "+key.Arn+" with an explicit deny in a resource-based policy")
}

// TestGrantsAllowReEncrypt: each side needs its own permission, in its own context.
func TestGrantsAllowReEncrypt(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice")
	from, to := h.createKey(nil), h.createKey(nil)
	sealed := h.must("Encrypt", in{"KeyId": from.KeyId, "Plaintext": []byte("x"), "EncryptionContext": in{"a": "1"}}).(*kms.EncryptResponse).CiphertextBlob
	alice := h.userCall(account, "alice")
	request := in{"CiphertextBlob": sealed, "SourceEncryptionContext": in{"a": "1"}, "DestinationKeyId": to.KeyId, "DestinationEncryptionContext": in{"a": "2"}}
	grant := func(key *kms.KeyMetadata, operation, value string) {
		h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "Operations": []string{operation},
			"Constraints": in{"EncryptionContextEquals": in{"a": value}}})
	}
	grant(from, "ReEncryptFrom", "1")
	h.wantDenied(alice, "ReEncrypt", request)
	grant(to, "ReEncryptTo", "1") // the source's context
	h.wantDenied(alice, "ReEncrypt", request)
	grant(to, "ReEncryptTo", "2")
	h.wantAllowed(alice, "ReEncrypt", request)
}

// TestGrantsAllowAsymmetric is for the operations without an encryption context.
func TestGrantsAllowAsymmetric(t *testing.T) {
	h := newHarness(t)
	h.users(stranger, "eve")
	signing := h.createKey(in{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"})
	mac := h.createKey(in{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"})
	eve := h.userCall(stranger, "eve")
	for op, request := range map[string]in{
		"Sign":         {"KeyId": signing.Arn, "Message": []byte("x"), "SigningAlgorithm": "ECDSA_SHA_256"},
		"GetPublicKey": {"KeyId": signing.Arn},
		"GenerateMac":  {"KeyId": mac.Arn, "Message": []byte("x"), "MacAlgorithm": "HMAC_SHA_256"},
	} {
		h.wantDenied(eve, op, request)
		h.grant(in{"KeyId": request["KeyId"], "GranteePrincipal": userARN(stranger, "eve"), "Operations": []string{op}})
		h.wantAllowed(eve, op, request)
	}
}

// TestGrantsToAccounts: a grant to an account is one to its root user and to those to whom the
// account's own policies give the action.
func TestGrantsToAccounts(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	request := in{"KeyId": key.Arn, "Plaintext": []byte("x")}
	eve := h.userCall(stranger, "eve", grantAll)
	h.wantDenied(eve, "Encrypt", request)
	h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": "arn:aws:iam::444455556666:root", "Operations": []string{"Encrypt"}})
	h.wantAllowed(eve, "Encrypt", request)
	h.wantAllowed(h.call(stranger), "Encrypt", request)
	h.wantDenied(h.userCall(stranger, "mallory"), "Encrypt", request)
	h.wantDenied(h.userCall("777788889999", "eve", grantAll), "Encrypt", request)
	h.wantDenied(eve, "DescribeKey", in{"KeyId": key.Arn})
}

// TestServicesAreNobody: no caller is a service, so nobody gets what a service is granted.
func TestServicesAreNobody(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice")
	key := h.createKey(nil)
	h.grant(in{"KeyId": key.KeyId, "GranteeServicePrincipal": "rds.amazonaws.com", "RetiringPrincipal": userARN(account, "alice"),
		"Operations": []string{"Encrypt", "DescribeKey"}, "Constraints": in{"SourceArn": "arn:aws:rds:us-east-1:111122223333:db:x"}})
	// A constraint on the source binds other grantees as well, and no request has a source.
	h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"),
		"Operations": []string{"Encrypt", "DescribeKey"}, "Constraints": in{"SourceArn": "arn:aws:rds:us-east-1:111122223333:db:x"}})
	h.wantDenied(h.userCall(account, "alice"), "Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
	h.wantDenied(h.userCall(account, "alice"), "DescribeKey", in{"KeyId": key.KeyId})
}

// TestGrantsThroughGrants: whom a grant lets create grants can hand on no more than it allows.
func TestGrantsThroughGrants(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice")
	h.users(stranger, "eve")
	key := h.createKey(nil)
	h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(stranger, "eve"), "Operations": []string{"CreateGrant", "Decrypt", "RetireGrant"},
		"Constraints": in{"EncryptionContextSubset": in{"tenant": "7"}}})
	eve := h.userCall(stranger, "eve")
	request := func(operations []string, constraints in) in {
		return in{"KeyId": key.Arn, "GranteePrincipal": userARN(account, "alice"), "Operations": operations, "Constraints": constraints}
	}
	for name, r := range map[string]in{
		"another operation":  request([]string{"Decrypt", "Encrypt"}, in{"EncryptionContextSubset": in{"tenant": "7"}}),
		"no constraint":      request([]string{"Decrypt"}, in{}),
		"another constraint": request([]string{"Decrypt"}, in{"EncryptionContextSubset": in{"tenant": "8"}}),
	} {
		_, err := h.invokeAs(eve, "CreateGrant", r)
		if kms.AsError(err).Code != kms.AccessDeniedException {
			t.Errorf("%s: %v", name, err)
		}
	}
	child := h.wantAllowed(eve, "CreateGrant", request([]string{"Decrypt", "RetireGrant"}, in{"EncryptionContextEquals": in{"tenant": "7", "app": "x"}})).(*kms.CreateGrantResponse)
	entries := h.grants(h.call(account), "ListGrants", 1, in{"KeyId": key.KeyId, "GrantId": child.GrantId})
	if len(entries) != 1 || entries[0].IssuingAccount != "arn:aws:iam::444455556666:root" {
		t.Errorf("%+v", entries)
	}
	sealed := h.must("Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x"), "EncryptionContext": in{"tenant": "7", "app": "x"}}).(*kms.EncryptResponse).CiphertextBlob
	alice := h.userCall(account, "alice")
	h.wantAllowed(alice, "Decrypt", in{"CiphertextBlob": sealed, "EncryptionContext": in{"tenant": "7", "app": "x"}})
	h.wantDenied(alice, "CreateGrant", request([]string{"Decrypt"}, in{"EncryptionContextEquals": in{"tenant": "7", "app": "x"}}))
	_, err := h.invokeAs(h.userCall(stranger, "mallory"), "RetireGrant", in{"KeyId": key.Arn, "GrantId": child.GrantId})
	wantError(t, err, kms.AccessDeniedException, "User: "+userARN(stranger, "mallory")+" is not authorized to perform: kms:RetireGrant on resource: "+key.Arn+
		" because no identity-based policy allows the kms:RetireGrant action")
	// The account that created it may retire it, the key's own account by that alone may not.
	h.wantAllowed(h.call(stranger), "RetireGrant", in{"KeyId": key.Arn, "GrantId": child.GrantId})
	h.wantDenied(alice, "Decrypt", in{"CiphertextBlob": sealed, "EncryptionContext": in{"tenant": "7", "app": "x"}})
}

// TestGrantStates: the key's state comes after the grant.
func TestGrantStates(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice")
	key := h.createKey(nil)
	grant := h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "Operations": []string{"Encrypt", "RetireGrant"}})
	h.must("DisableKey", in{"KeyId": key.KeyId})
	alice := h.userCall(account, "alice")
	_, err := h.invokeAs(alice, "Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
	wantError(t, err, kms.DisabledException, key.Arn+" is disabled.")
	_, err = h.invoke("CreateGrant", in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "Operations": []string{"Encrypt"}})
	wantError(t, err, kms.DisabledException, key.Arn+" is disabled.")
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId})
	_, err = h.invoke("CreateGrant", in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "Operations": []string{"Encrypt"}})
	wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is pending deletion.")
	if entries := h.grants(h.call(account), "ListGrants", 1, in{"KeyId": key.KeyId}); len(entries) != 1 {
		t.Errorf("%+v", entries)
	}
	h.wantAllowed(alice, "RetireGrant", in{"GrantToken": grant.GrantToken})
}

// TestGrantsGoWithTheKey deletes a key with more grants than one batch, and another that has its id
// again as a new replica would.
func TestGrantsGoWithTheKey(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice", "bob")
	key, other := h.createKey(nil), h.createKey(nil)
	record, err := h.store.Key(t.Context(), keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: key.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	const grants = 2*sweepBatch + 1
	for i := range grants {
		h.grant(in{"KeyId": key.KeyId, "Name": fmt.Sprint("g", i), "GranteePrincipal": userARN(account, "alice"), "RetiringPrincipal": userARN(account, "bob"), "Operations": []string{"Encrypt"}})
	}
	kept := h.grant(in{"KeyId": other.KeyId, "GranteePrincipal": userARN(account, "alice"), "RetiringPrincipal": userARN(account, "bob"), "Operations": []string{"Encrypt"}})
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	now := h.clock.Advance(7 * day)
	entry := &keystore.DueRecord{Due: now.Truncate(1e6), Action: keystore.DueDeleteKey, Partition: "aws", Account: account, Region: testRegion, KeyID: key.KeyId}
	if err := h.service.eraseKey(t.Context(), entry, now); err != nil {
		t.Fatal(err)
	}
	h.wantNoKey(key.KeyId)
	root := h.call(account)
	if got := idsOf(h.grants(root, "ListRetirableGrants", 100, in{"RetiringPrincipal": userARN(account, "bob")})); !slices.Equal(got, []string{kept.GrantId}) {
		t.Errorf("grants of a deleted key are listed: %v", got)
	}

	again := record.Clone()
	again.Created = now
	if err := h.store.Update(t.Context(), func(tx *keystore.Tx) error { return tx.CreateKey(again) }); err != nil {
		t.Fatal(err)
	}
	h.wantDenied(h.userCall(account, "alice"), "Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
	if got := h.grants(root, "ListGrants", 100, in{"KeyId": key.KeyId}); len(got) != 0 {
		t.Errorf("the new key has %d grants", len(got))
	}
	// The same name again is a new grant, which the removal of the old ones leaves alone.
	young := h.grant(in{"KeyId": key.KeyId, "Name": "g1", "GranteePrincipal": userARN(account, "alice"), "RetiringPrincipal": userARN(account, "bob"), "Operations": []string{"Encrypt"}})
	h.runDue(1)
	if repeated := h.grant(in{"KeyId": key.KeyId, "Name": "g1", "GranteePrincipal": userARN(account, "alice"), "RetiringPrincipal": userARN(account, "bob"), "Operations": []string{"Encrypt"}}); repeated.GrantId != young.GrantId {
		t.Error("the new grant's name is gone")
	}
	h.wantAllowed(h.userCall(account, "alice"), "Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
	ids, _, err := h.store.ScanGrants(t.Context(), record.KeyID(), "", "", 1_000)
	if err != nil || !slices.Equal(ids, []string{young.GrantId}) {
		t.Errorf("what is left: %d grants, %v", len(ids), err)
	}
	h.runDue(0)
}
