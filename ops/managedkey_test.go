package ops

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

const (
	s3Key, ec2Key = "S3SERVICEACCESSKEY", "EC2SERVICEACCESSKEY"
	bucketARN     = "arn:aws:s3:::a-bucket-of-the-account"
)

// served gives the harness a service that knows two of AWS's services, of which one serves one account
// only.
func (h *harness) served() {
	h.service = New(Config{Store: h.store, Domain: h.domain, Account: account, Region: testRegion, Serves: servesRegion,
		Now: h.clock.Now, Services: []ServiceIdentity{
			{Principal: "s3.amazonaws.com", Alias: "s3", AccessKeyID: s3Key, Secret: "s"},
			{Principal: "ec2.amazonaws.com", Alias: "ebs", AccessKeyID: ec2Key, Secret: "e", Accounts: []string{account}},
		}})
}

// serviceCall is a request that a service signed.
func (h *harness) serviceCall(accessKey string, claim ServiceClaim) (*Call, error) {
	h.t.Helper()
	_, caller, err := h.service.Credential(h.t.Context(), accessKey)
	if err != nil {
		h.t.Fatal(err)
	}
	call := &Call{RequestID: "test", Region: testRegion, Caller: caller}
	return call, h.service.ServiceCall(h.t.Context(), call, claim)
}

// via is a request of a service for a principal of an account.
func (h *harness) via(accessKey, account string) *Call {
	h.t.Helper()
	call, err := h.serviceCall(accessKey, ServiceClaim{Behalf: accountARN("aws", account), SourceARN: bucketARN, SourceAccount: account})
	if err != nil {
		h.t.Fatal(err)
	}
	return call
}

// itself is a request of a service for a resource of an account.
func (h *harness) itself(accessKey, account, source string) *Call {
	h.t.Helper()
	call, err := h.serviceCall(accessKey, ServiceClaim{SourceARN: source, SourceAccount: account})
	if err != nil {
		h.t.Fatal(err)
	}
	return call
}

// managedKey has S3 make its key for the account, and describes it.
func (h *harness) managedKey() *kms.KeyMetadata {
	h.t.Helper()
	out, err := h.invokeAs(h.via(s3Key, account), "DescribeKey", in{"KeyId": "alias/aws/s3"})
	if err != nil {
		h.t.Fatal(err)
	}
	return out.(*kms.DescribeKeyResponse).KeyMetadata
}

// TestManagedKeyIsMadeOnFirstUse: by the service that has the alias, for each account, once.
func TestManagedKeyIsMadeOnFirstUse(t *testing.T) {
	h := newHarness(t)
	h.served()
	missing := func(account string) string {
		return "Alias arn:aws:kms:us-east-1:" + account + ":alias/aws/s3 is not found."
	}
	for name, call := range map[string]*Call{
		"the account itself": h.call(account),
		"another service":    h.via(ec2Key, account),
		"S3 for itself":      h.itself(s3Key, account, bucketARN),
	} {
		_, err := h.invokeAs(call, "GenerateDataKey", in{"KeyId": "alias/aws/s3", "KeySpec": "AES_256"})
		wantError(t, err, kms.NotFoundException, missing(account))
		if n := len(h.must("ListKeys", in{}).(*kms.ListKeysResponse).Keys); n != 0 {
			t.Errorf("%s: there are %d keys", name, n)
		}
	}
	out, err := h.invokeAs(h.via(s3Key, account), "GenerateDataKey", in{"KeyId": "alias/aws/s3", "KeySpec": "AES_256"})
	if err != nil {
		t.Fatal(err)
	}
	made := out.(*kms.GenerateDataKeyResponse)
	key := h.managedKey()
	if key.Arn != made.KeyId || key.KeyManager != "AWS" || key.KeyState != "Enabled" || key.Origin != "AWS_KMS" ||
		key.KeySpec != symmetricDefault || key.MultiRegion || key.Description != "Default key that protects my s3 data when no other key is defined" {
		t.Errorf("the key is %+v", key)
	}
	opened, err := h.invokeAs(h.via(s3Key, account), "Decrypt", in{"CiphertextBlob": made.CiphertextBlob})
	if err != nil || !slices.Equal(opened.(*kms.DecryptResponse).Plaintext, made.Plaintext) {
		t.Errorf("the service decrypts: %v", err)
	}
	other, err := h.invokeAs(h.via(s3Key, stranger), "DescribeKey", in{"KeyId": "alias/aws/s3"})
	if err != nil || other.(*kms.DescribeKeyResponse).KeyMetadata.AWSAccountId != stranger {
		t.Errorf("the other account's key: %v %v", other, err)
	}
	h.restart()
	h.served()
	if again := h.managedKey(); again.Arn != key.Arn {
		t.Errorf("after a restart the key is %s", again.Arn)
	}
}

// TestManagedKeyIsMadeOnce: however many ask at the same time.
func TestManagedKeyIsMadeOnce(t *testing.T) {
	h := newHarness(t)
	h.served()
	before := len(newWitness(t, h.domain).objects())
	call := h.via(s3Key, account)
	arns := make([]string, 8)
	var all sync.WaitGroup
	for i := range arns {
		all.Go(func() {
			operation, _ := h.service.Operation("DescribeKey")
			own := *call
			out, err := operation.Invoke(t.Context(), h.service, &own, []byte(`{"KeyId":"alias/aws/s3"}`))
			if err != nil {
				t.Error(err)
				return
			}
			arns[i] = out.(*kms.DescribeKeyResponse).KeyMetadata.Arn
		})
	}
	all.Wait()
	if slices.Sort(arns); len(slices.Compact(arns)) != 1 {
		t.Errorf("there are several keys: %v", arns)
	}
	if n := len(h.must("ListKeys", in{}).(*kms.ListKeysResponse).Keys); n != 1 {
		t.Errorf("there are %d keys", n)
	}
	if after := len(newWitness(t, h.domain).objects()); after > before+1 {
		t.Errorf("%d objects were left in the token", after-before)
	}
}

// TestManagedKeyIsNotManageable: no operation that would change the key is let through, for the
// account's root user nor for the service; the account may look at it, and nobody but the service can
// use it.
func TestManagedKeyIsNotManageable(t *testing.T) {
	h := newHarness(t)
	h.served()
	key := h.managedKey()
	other := h.createKey(nil)
	root := "arn:aws:iam::" + account + ":root"
	denied := func(action string) string {
		return "User: " + root + " is not authorized to perform: kms:" + action + " on resource: " + key.Arn +
			" because no resource-based policy allows the kms:" + action + " action"
	}
	// The operations on a key that the policy of AWS managed keys does not have, by the table of
	// operations: a new operation has to be thought of here.
	requests := map[string]in{
		"CancelKeyDeletion": {}, "CreateAlias": {"AliasName": "alias/mine"}, "CreateGrant": {"GranteePrincipal": root, "Operations": []string{"DescribeKey"}},
		"DeleteImportedKeyMaterial": {}, "DisableKey": {}, "DisableKeyRotation": {}, "EnableKey": {}, "EnableKeyRotation": {},
		"Encrypt": {"Plaintext": []byte("x")}, "GenerateDataKey": {"KeySpec": "AES_256"}, "GenerateDataKeyWithoutPlaintext": {"KeySpec": "AES_256"},
		"GenerateDataKeyPair": {"KeyPairSpec": "ECC_NIST_P256"}, "GenerateDataKeyPairWithoutPlaintext": {"KeyPairSpec": "ECC_NIST_P256"},
		"ImportKeyMaterial": {"ImportToken": []byte("x"), "EncryptedKeyMaterial": []byte("x"), "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"},
		"PutKeyPolicy":      {"Policy": statement(everybody)}, "ReplicateKey": {"ReplicaRegion": ireland}, "RotateKeyOnDemand": {},
		"ScheduleKeyDeletion": {"PendingWindowInDays": 7}, "TagResource": {"Tags": tag("a=b")}, "UntagResource": {"TagKeys": []string{"a"}},
		"UpdateKeyDescription": {"Description": "mine"}, "UpdatePrimaryRegion": {"PrimaryRegion": ireland},
	}
	services := h.via(s3Key, account)
	throughService := []string{"CreateGrant", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"}
	for op, request := range requests {
		member := "KeyId"
		if op == "CreateAlias" {
			member = "TargetKeyId"
		}
		request[member] = key.KeyId
		_, err := h.invoke(op, request)
		wantError(t, err, kms.AccessDeniedException, denied(op))
		own := *services
		if _, err = h.invokeAs(&own, op, request); slices.Contains(throughService, op) {
			if err != nil {
				t.Errorf("%s through the service: %v", op, err)
			}
		} else if op == "CreateAlias" { // the alias counts first
			if kms.AsError(err).Code != kms.AccessDeniedException {
				t.Errorf("%s through the service: %v", op, err)
			}
		} else {
			wantError(t, err, kms.AccessDeniedException, denied(op))
		}
	}
	for _, op := range []string{"DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "GetKeyLastUsage", "ListGrants", "ListKeyPolicies",
		"ListKeyRotations", "ListResourceTags"} {
		h.must(op, in{"KeyId": key.KeyId})
		requests[op] = nil
	}
	// Those that concern no single key, or name it otherwise, or that a symmetric key made here cannot
	// have at all.
	others := []string{"Decrypt", "ReEncrypt", "DeleteAlias", "UpdateAlias", "ListAliases", "RetireGrant", "RevokeGrant", "Decapsulate", "Encapsulate",
		"DeriveSharedSecret", "GenerateMac", "GetParametersForImport", "GetPublicKey", "Sign", "Verify", "VerifyMac"}
	for _, operation := range kms.Operations() {
		_, walked := requests[operation.Name]
		if operation.KeyIDs != kms.KeyIDNone && !walked && !slices.Contains(others, operation.Name) {
			t.Errorf("%s was not tried", operation.Name)
		}
	}
	for op, request := range map[string]in{
		"CreateAlias": {"AliasName": "alias/aws/x", "TargetKeyId": other.KeyId},
		"UpdateAlias": {"AliasName": "alias/aws/s3", "TargetKeyId": other.KeyId},
		"DeleteAlias": {"AliasName": "alias/aws/s3"},
	} {
		_, err := h.invoke(op, request)
		wantError(t, err, kms.NotAuthorizedException, "")
	}
	if after := h.describe(key.KeyId); after.KeyState != "Enabled" || after.KeyManager != "AWS" || after.Description != key.Description {
		t.Errorf("the key is %+v now", after)
	}
	// What the service encrypted stays closed to the account, and to other services.
	own := *services
	blob, err := h.invokeAs(&own, "Encrypt", in{"KeyId": "alias/aws/s3", "Plaintext": []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]*Call{"the account": h.call(account), "another service": h.via(ec2Key, account), "S3 for another account": h.via(s3Key, stranger)} {
		if _, err := h.invokeAs(call, "Decrypt", in{"CiphertextBlob": blob.(*kms.EncryptResponse).CiphertextBlob}); kms.AsError(err).Code != kms.AccessDeniedException {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManagedKeyRotatesYearly: by itself, and old data stays readable.
func TestManagedKeyRotatesYearly(t *testing.T) {
	h := newHarness(t)
	h.served()
	key := h.managedKey()
	encrypted, err := h.invokeAs(h.via(s3Key, account), "Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	status := h.must("GetKeyRotationStatus", in{"KeyId": key.KeyId}).(*kms.GetKeyRotationStatusResponse)
	if want := kms.TimestampOf(h.clock.Now().Add(365 * day)); !status.KeyRotationEnabled || status.RotationPeriodInDays != 365 || status.NextRotationDate != want {
		t.Errorf("the status is %+v", status)
	}
	now := h.clock.Advance(365 * day)
	if _, err := h.service.RunDue(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	rotated := h.describe(key.KeyId)
	if rotated.CurrentKeyMaterialId == key.CurrentKeyMaterialId {
		t.Error("the key has its old material")
	}
	out, err := h.invokeAs(h.via(s3Key, account), "Decrypt", in{"CiphertextBlob": encrypted.(*kms.EncryptResponse).CiphertextBlob})
	if err != nil || string(out.(*kms.DecryptResponse).Plaintext) != "x" {
		t.Errorf("after the rotation: %v", err)
	}
}

// TestManagedKeyPolicy is the text that GetKeyPolicy gives, in AWS's form, and the order of Regions
// and accounts in it.
func TestManagedKeyPolicy(t *testing.T) {
	h := newHarness(t)
	h.served()
	key := h.managedKey()
	text := h.must("GetKeyPolicy", in{"KeyId": key.KeyId}).(*kms.GetKeyPolicyResponse).Policy
	if _, err := policy.Parse([]byte(text)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"Id" : "auto-s3-1"`, `"kms:ViaService" : "s3.us-east-1.amazonaws.com"`, `"kms:CallerAccount" : "` + account + `"`,
		`"AWS" : "arn:aws:iam::` + account + `:root"`, `[ "kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant" ]`} {
		if !strings.Contains(text, part) {
			t.Errorf("the policy lacks %s:\n%s", part, text)
		}
	}
}

// TestManagedAliasesAreListed: with their key if it has been made, in their place in the order, over
// any pages, and not as keys of the account's quota.
func TestManagedAliasesAreListed(t *testing.T) {
	h := newHarness(t)
	h.served()
	own := h.createKey(nil)
	var want []string
	for _, name := range []string{"a", "aw", "awsome", "aws-x", "b", "z/y"} {
		h.must("CreateAlias", in{"AliasName": "alias/" + name, "TargetKeyId": own.KeyId})
		want = append(want, "alias/"+name)
	}
	key := h.managedKey()
	want = append(want, "alias/aws/ebs", "alias/aws/s3")
	slices.SortFunc(want, compareAliases)
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		request := in{"Limit": limit}
		for {
			page := h.must("ListAliases", request).(*kms.ListAliasesResponse)
			if len(page.Aliases) > limit {
				t.Errorf("a page of %d aliases, want at most %d", len(page.Aliases), limit)
			}
			for _, alias := range page.Aliases {
				got = append(got, alias.AliasName)
				target := own.KeyId
				switch alias.AliasName {
				case "alias/aws/s3":
					target = key.KeyId
				case "alias/aws/ebs":
					target = ""
				}
				if alias.TargetKeyId != target || alias.CreationDate.IsZero() != (target == "") || alias.AliasArn != "arn:aws:kms:us-east-1:"+account+":"+alias.AliasName {
					t.Errorf("the list has %+v", alias)
				}
			}
			if !page.Truncated {
				break
			}
			request["Marker"] = page.NextMarker
		}
		if !slices.Equal(got, want) {
			t.Errorf("with pages of %d: %v\nwant %v", limit, got, want)
		}
	}
	of := h.must("ListAliases", in{"KeyId": key.KeyId}).(*kms.ListAliasesResponse).Aliases
	if len(of) != 1 || of[0].AliasName != "alias/aws/s3" {
		t.Errorf("the aliases of the key are %v", of)
	}
	listed := h.must("ListKeys", in{}).(*kms.ListKeysResponse).Keys
	if len(listed) != 2 {
		t.Errorf("ListKeys gives %v", listed)
	}
	h.limited(Quotas{Keys: 2})
	h.createKey(nil) // the managed one does not count
}

// TestServiceClaims: what a service may say, and what of others is not heard.
func TestServiceClaims(t *testing.T) {
	h := newHarness(t)
	h.served()
	for _, c := range []struct {
		name, key string
		claim     ServiceClaim
		want      string // of the refusal
	}{
		{"for nobody", s3Key, ServiceClaim{}, `s3.amazonaws.com may not act for the account "".`},
		{"for no account", s3Key, ServiceClaim{SourceAccount: "1234"}, `s3.amazonaws.com may not act for the account "1234".`},
		{"for an account that it does not serve", ec2Key, ServiceClaim{SourceAccount: stranger}, `ec2.amazonaws.com may not act for the account "` + stranger + `".`},
		{"for a principal of such an account", ec2Key, ServiceClaim{Behalf: accountARN("aws", stranger)}, "ec2.amazonaws.com may not act for " + accountARN("aws", stranger) + "."},
		{"with a source of such an account", ec2Key, ServiceClaim{Behalf: accountARN("aws", account), SourceAccount: stranger}, "ec2.amazonaws.com may not act for " + accountARN("aws", account) + "."},
		{"for what is no principal", s3Key, ServiceClaim{Behalf: bucketARN}, "s3.amazonaws.com may not act for " + bucketARN + "."},
		{"of another partition", s3Key, ServiceClaim{Behalf: accountARN("aws-cn", account)}, "s3.amazonaws.com may not act for " + accountARN("aws-cn", account) + "."},
		{"for a user who does not exist", s3Key, ServiceClaim{Behalf: "arn:aws:iam::" + account + ":user/nobody"}, "There is no principal arn:aws:iam::" + account + ":user/nobody."},
		{"for itself", ec2Key, ServiceClaim{SourceAccount: account}, ""},
		{"for a principal", ec2Key, ServiceClaim{Behalf: accountARN("aws", account)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			call, err := h.serviceCall(c.key, c.claim)
			if c.want != "" {
				wantError(t, err, kms.AccessDeniedException, c.want)
				return
			}
			if err != nil || call.Caller.Principal.Account != account || call.Via.OnBehalf != (c.claim.Behalf != "") {
				t.Errorf("%+v %v", call, err)
			}
		})
	}
	// A user's request stays the user's.
	call := h.userCall(account, alice)
	if err := h.service.ServiceCall(t.Context(), call, ServiceClaim{Behalf: accountARN("aws", account)}); err != nil || call.Via != (Via{}) ||
		call.Caller.Principal.ARN != "arn:aws:iam::"+account+":user/alice" {
		t.Errorf("a user's claim: %+v %v", call, err)
	}
	if _, _, err := h.service.Credential(t.Context(), "NOSUCHACCESSKEY00"); !errors.Is(err, ErrUnknownAccessKey) {
		t.Errorf("an unknown access key: %v", err)
	}
}

// TestServiceActsForAUser: with the user's own policies, denials included.
func TestServiceActsForAUser(t *testing.T) {
	h := newHarness(t)
	key, err := h.service.CreateAdministrator(t.Context())
	if err != nil || key.ID == "" {
		t.Fatal(err)
	}
	h.served()
	admin := "arn:aws:iam::" + account + ":user/admin"
	call, err := h.serviceCall(s3Key, ServiceClaim{Behalf: admin})
	if err != nil {
		t.Fatal(err)
	}
	if call.Caller.Principal.ARN != admin || call.Caller.AccessKeyID != s3Key || len(call.Caller.Policies) != 1 {
		t.Errorf("the caller is %+v", call.Caller)
	}
	if _, err := h.invokeAs(call, "Encrypt", in{"KeyId": "alias/aws/s3", "Plaintext": []byte("x")}); err != nil {
		t.Error(err)
	}
}

// TestServiceGrants: a grant to a service principal works for the resource that it names, and the
// service can list and retire what it is the retiring principal of.
func TestServiceGrants(t *testing.T) {
	h := newHarness(t)
	h.served()
	key := h.createKey(nil)
	blob := h.must("Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")}).(*kms.EncryptResponse).CiphertextBlob
	grant := in{"KeyId": key.KeyId, "GranteeServicePrincipal": "s3.amazonaws.com", "RetiringServicePrincipal": "s3.amazonaws.com",
		"Operations": []string{"Decrypt", "DescribeKey"}, "Constraints": in{"SourceArn": bucketARN}}
	made := h.must("CreateGrant", grant).(*kms.CreateGrantResponse)
	decrypt := in{"KeyId": key.Arn, "CiphertextBlob": blob}
	for name, c := range map[string]struct {
		call *Call
		may  bool
	}{
		"for the resource":               {h.itself(s3Key, account, bucketARN), true},
		"for another resource":           {h.itself(s3Key, account, bucketARN+"2"), false},
		"for none":                       {h.itself(s3Key, account, ""), false},
		"another service":                {h.itself(ec2Key, account, bucketARN), false},
		"for a principal of the account": {h.via(s3Key, stranger), false},
		"another account":                {h.call(stranger), false},
	} {
		for _, op := range []string{"Decrypt", "DescribeKey"} {
			request := decrypt
			if op == "DescribeKey" {
				request = in{"KeyId": key.Arn}
			}
			own := *c.call
			if _, err := h.invokeAs(&own, op, request); (err == nil) != c.may {
				t.Errorf("%s, %s: %v", name, op, err)
			} else if err != nil && kms.AsError(err).Code != kms.AccessDeniedException {
				t.Errorf("%s, %s: %v", name, op, err)
			}
		}
	}
	// Not what the grant does not have, and not what an account's policies are for.
	for op, request := range map[string]in{"Encrypt": {"KeyId": key.Arn, "Plaintext": []byte("x")}, "DisableKey": {"KeyId": key.Arn}, "ListKeys": {}, "CreateKey": {},
		"GenerateRandom": {"NumberOfBytes": 8}, "ListAliases": {}, "ListGrants": {"KeyId": key.Arn}, "ListRetirableGrants": {"RetiringServicePrincipal": "ec2.amazonaws.com"}} {
		if _, err := h.invokeAs(h.itself(s3Key, account, bucketARN), op, request); kms.AsError(err).Code != kms.AccessDeniedException {
			t.Errorf("%s: %v", op, err)
		}
	}
	listed, err := h.invokeAs(h.itself(s3Key, account, ""), "ListRetirableGrants", in{"RetiringServicePrincipal": "s3.amazonaws.com"})
	if err != nil || len(listed.(*kms.ListGrantsResponse).Grants) != 1 || listed.(*kms.ListGrantsResponse).Grants[0].GrantId != made.GrantId {
		t.Errorf("retirable are %v, %v", listed, err)
	}
	if _, err := h.invokeAs(h.itself(ec2Key, account, ""), "RetireGrant", in{"KeyId": key.Arn, "GrantId": made.GrantId}); kms.AsError(err).Code != kms.AccessDeniedException {
		t.Errorf("another service retires it: %v", err)
	}
	if _, err := h.invokeAs(h.itself(s3Key, account, ""), "RetireGrant", in{"KeyId": key.Arn, "GrantId": made.GrantId}); err != nil {
		t.Error(err)
	}
	if _, err := h.invokeAs(h.itself(s3Key, account, bucketARN), "Decrypt", decrypt); kms.AsError(err).Code != kms.AccessDeniedException {
		t.Errorf("after the grant was retired: %v", err)
	}
}

// TestServiceRatesCountForTheAccount: what a service does for an account counts as the account's.
func TestServiceRatesCountForTheAccount(t *testing.T) {
	h := newHarness(t)
	h.served()
	h.managedKey()
	identities := []ServiceIdentity{{Principal: "s3.amazonaws.com", Alias: "s3", AccessKeyID: s3Key, Secret: "s"}}
	h.service = New(Config{Store: h.store, Domain: h.domain, Account: account, Region: testRegion, Serves: servesRegion, Now: h.clock.Now,
		Services: identities, Quotas: Quotas{Account: map[string]float64{"DescribeKey": 2}}})
	h.wantLetThrough(func() *Call { return h.via(s3Key, account) }, "DescribeKey", in{"KeyId": "alias/aws/s3"}, 2)
	h.wantLetThrough(func() *Call { return h.call(account) }, "DescribeKey", in{"KeyId": "alias/aws/s3"}, 0)
	h.wantLetThrough(func() *Call { return h.via(s3Key, stranger) }, "DescribeKey", in{"KeyId": "alias/aws/s3"}, 2)
}

// TestViaService is the name that conditions know a service by (AWS KMS Developer Guide,
// "kms:ViaService").
func TestViaService(t *testing.T) {
	for _, c := range []struct {
		via  Via
		want string
	}{
		{Via{}, ""},
		{Via{Principal: "s3.amazonaws.com"}, ""},
		{Via{Principal: "s3.amazonaws.com", OnBehalf: true}, "s3.eu-west-1.amazonaws.com"},
		{Via{Principal: "ec2.example.org", OnBehalf: true}, "ec2.eu-west-1.example.org"},
	} {
		if got := c.via.Service(ireland); got != c.want {
			t.Errorf("%+v is %q, want %q", c.via, got, c.want)
		}
	}
}

func TestCompareAliases(t *testing.T) {
	names := []string{"a", "a/b", "a-b", "aB", "aa", "b"}
	for i, a := range names {
		for j, b := range names {
			if got := compareAliases(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s compare as %d", a, b, got)
			}
		}
	}
}
