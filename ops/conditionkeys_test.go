package ops

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/attest/attesttest"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// conditionCase is a request and the values that it has for a condition key.
type conditionCase struct {
	key    string
	op     string
	action string // the operation if empty
	in     any
	want   []string // none: the key is absent
	as     func(*Call)
}

// identityPolicy allows everything, but an action only under conditions.
func identityPolicy(action, conditions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"kms:` + action + `","Resource":"*"},` +
		`{"Effect":"Allow","Action":"kms:` + action + `","Resource":"*","Condition":{` + conditions + `}}]}`
}

// run sends the request under a condition that its values meet, and under those that they do not: the
// first is authorised, whatever becomes of it then, the others are not.
func (c conditionCase) run(t *testing.T, h *harness) {
	t.Helper()
	action := c.action
	if action == "" {
		action = c.op
	}
	authorised := func(conditions string) bool {
		t.Helper()
		call := h.userCall(account, "alice", identityPolicy(action, conditions))
		if c.as != nil {
			c.as(call)
		}
		_, err := h.invokeAs(call, c.op, c.in)
		denied := kms.AsError(err).Code == kms.AccessDeniedException
		if denied && !strings.Contains(kms.AsError(err).Message, "because no identity-based policy allows the kms:"+action+" action") {
			t.Errorf("%s: %v", conditions, err)
		}
		return err == nil || !denied
	}
	if len(c.want) == 0 {
		if authorised(`"Null":{"`+c.key+`":"false"}`) || !authorised(`"Null":{"`+c.key+`":"true"}`) {
			t.Errorf("%s of %s is not absent", c.key, c.op)
		}
		return
	}
	list, err := json.Marshal(c.want)
	if err != nil {
		t.Fatal(err)
	}
	unmet := []string{`"Null":{"` + c.key + `":"true"}`, `"ForAnyValue:StringNotEquals":{"` + c.key + `":` + string(list) + `}`}
	for _, value := range c.want {
		one, _ := json.Marshal(value)
		unmet = append(unmet, `"ForAllValues:StringNotEquals":{"`+c.key+`":`+string(one)+`}`)
	}
	for _, conditions := range unmet {
		if authorised(conditions) {
			t.Errorf("%s of %s: authorised under %s", c.key, c.op, conditions)
		}
	}
	if met := `"ForAllValues:StringEquals":{"` + c.key + `":` + string(list) + `}`; !authorised(met) {
		t.Errorf("%s of %s: not authorised under %s", c.key, c.op, met)
	}
}

// TestConditionKeys: every key of the table has the value that AWS gives it, with the defaults of
// absent parameters, and is absent where it does not belong.
func TestConditionKeys(t *testing.T) {
	h := newHarness(t)
	h.clock.Advance(h.store.Created().Sub(h.clock.Now())) // uses are noted from that day on
	aliased := func(spec any, aliases ...string) string {
		id := h.createKey(spec).KeyId
		for _, name := range aliases {
			h.must("CreateAlias", in{"AliasName": name, "TargetKeyId": id})
		}
		return id
	}
	symmetric := aliased(in{"Tags": []in{{"TagKey": "Team", "TagValue": "red"}}}, "alias/app-1", "alias/app-2")
	other := aliased(nil)
	multi := aliased(in{"MultiRegion": true})
	signer := aliased(in{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}, "alias/signer")
	agreement := aliased(in{"KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"})
	mac := aliased(in{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"})
	decrypting := aliased(in{"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"})
	imported := aliased(in{"Origin": "EXTERNAL"})
	blob := get[kms.EncryptResponse](t, h, "Encrypt", in{"KeyId": symmetric, "Plaintext": []byte("x"), "EncryptionContext": in{"from": "here"}}).CiphertextBlob
	idle, used := aliased(nil), aliased(nil)
	h.clock.Advance(40*24*time.Hour + 23*time.Hour)
	h.must("Encrypt", in{"KeyId": used, "Plaintext": []byte("x")})
	h.clock.Advance(5 * 24 * time.Hour)
	now := h.clock.Now()

	text := []byte("text")
	grant := in{"KeyId": symmetric, "GranteePrincipal": "arn:aws:iam::444455556666:user/bob", "RetiringPrincipal": "arn:aws:iam::444455556666:role/r",
		"Operations": []string{"Decrypt", "Encrypt"}, "Constraints": in{"EncryptionContextSubset": in{"app": "x"}}, "DryRun": true}
	serviceGrant := in{"KeyId": symmetric, "GranteeServicePrincipal": "rds.amazonaws.com", "RetiringServicePrincipal": "ebs.amazonaws.com",
		"Operations": []string{"Decrypt"}, "Constraints": in{"SourceArn": "arn:aws:rds:us-east-1:111122223333:db:d"}, "DryRun": true}
	encrypt := func(more in) in {
		all := in{"KeyId": symmetric, "Plaintext": text}
		maps.Copy(all, more)
		return all
	}
	reencrypt := in{"CiphertextBlob": blob, "SourceEncryptionContext": in{"from": "here"}, "DestinationKeyId": other, "DestinationEncryptionContext": in{"to": "there"}}
	sameKey := in{"CiphertextBlob": blob, "SourceEncryptionContext": in{"from": "here"}, "DestinationKeyId": "alias/app-1"}
	tags := []in{{"TagKey": "team", "TagValue": "blue"}, {"TagKey": "cost", "TagValue": "1"}}
	importing := in{"KeyId": imported, "ImportToken": text, "EncryptedKeyMaterial": text, "ValidTo": now.Add(24 * time.Hour).Unix()}
	session := func(call *Call) {
		call.Caller.Principal.ARN = "arn:aws:sts::111122223333:assumed-role/dev/s1"
		call.Caller.Principal.Role = "arn:aws:iam::111122223333:role/dev"
		call.Caller.Principal.ID = "AROAEXAMPLE:s1"
	}
	tagged := func(call *Call) { call.Caller.Principal.Tags = map[string]string{"Team": "red"} }
	from := func(call *Call) { call.Origin = Origin{SourceIP: "203.0.113.9", UserAgent: "test/1", Secure: true} }
	pretending := func(call *Call) {
		call.Origin = Origin{SourceARN: "arn:aws:s3:::b", SourceAccount: "444455556666"}
	}

	cases := []conditionCase{
		{"kms:BypassPolicyLockoutSafetyCheck", "PutKeyPolicy", "", in{"KeyId": other, "Policy": defaultKeyPolicy("aws", account)}, []string{"false"}, nil},
		{"kms:BypassPolicyLockoutSafetyCheck", "PutKeyPolicy", "", in{"KeyId": other, "Policy": defaultKeyPolicy("aws", account), "BypassPolicyLockoutSafetyCheck": true}, []string{"true"}, nil},
		{"kms:BypassPolicyLockoutSafetyCheck", "CreateKey", "", in{}, []string{"false"}, nil},
		{"kms:BypassPolicyLockoutSafetyCheck", "DescribeKey", "", in{"KeyId": other}, nil, nil},
		{"kms:CallerAccount", "DescribeKey", "", in{"KeyId": symmetric}, []string{account}, nil},
		{"kms:CallerAccount", "ListKeys", "", in{}, nil, nil},
		{"kms:CustomerMasterKeySpec", "DescribeKey", "", in{"KeyId": mac}, []string{"HMAC_256"}, nil},
		{"kms:CustomerMasterKeyUsage", "CreateKey", "", in{}, []string{"ENCRYPT_DECRYPT"}, nil},
		{"kms:DataKeyPairSpec", "GenerateDataKeyPair", "", in{"KeyId": symmetric, "KeyPairSpec": "ECC_NIST_P256", "DryRun": true}, []string{"ECC_NIST_P256"}, nil},
		{"kms:DataKeyPairSpec", "GenerateDataKeyPairWithoutPlaintext", "", in{"KeyId": symmetric, "KeyPairSpec": "RSA_2048", "DryRun": true}, []string{"RSA_2048"}, nil},
		{"kms:EncryptionAlgorithm", "Encrypt", "", encrypt(nil), []string{"SYMMETRIC_DEFAULT"}, nil},
		{"kms:EncryptionAlgorithm", "Encrypt", "", in{"KeyId": decrypting, "Plaintext": text, "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, []string{"RSAES_OAEP_SHA_1"}, nil},
		{"kms:EncryptionAlgorithm", "GenerateDataKey", "", in{"KeyId": symmetric, "KeySpec": "AES_256"}, []string{"SYMMETRIC_DEFAULT"}, nil},
		{"kms:EncryptionAlgorithm", "ReEncrypt", "ReEncryptTo", reencrypt, []string{"SYMMETRIC_DEFAULT"}, nil},
		{"kms:EncryptionAlgorithm", "Sign", "", in{"KeyId": signer, "Message": text, "SigningAlgorithm": "ECDSA_SHA_256"}, nil, nil},
		{"kms:EncryptionContext:App", "Encrypt", "", encrypt(in{"EncryptionContext": in{"app": "x", "b": "y"}}), []string{"x"}, nil},
		{"KMS:encryptioncontext:APP", "Encrypt", "", encrypt(in{"EncryptionContext": in{"app": "x", "aPP": "y"}}), []string{"x", "y"}, nil},
		{"kms:EncryptionContext:App", "Encrypt", "", encrypt(in{"EncryptionContext": in{"b": "y"}}), nil, nil},
		{"kms:EncryptionContext:App", "Encrypt", "", encrypt(nil), nil, nil},
		{"kms:EncryptionContext:from", "Decrypt", "", in{"CiphertextBlob": blob, "EncryptionContext": in{"from": "here"}}, []string{"here"}, nil},
		{"kms:EncryptionContext:a", "GenerateDataKeyWithoutPlaintext", "", in{"KeyId": symmetric, "KeySpec": "AES_256", "EncryptionContext": in{"a": "b"}}, []string{"b"}, nil},
		{"kms:EncryptionContext:from", "ReEncrypt", "ReEncryptFrom", reencrypt, []string{"here"}, nil},
		{"kms:EncryptionContext:to", "ReEncrypt", "ReEncryptFrom", reencrypt, nil, nil},
		{"kms:EncryptionContext:to", "ReEncrypt", "ReEncryptTo", reencrypt, []string{"there"}, nil},
		{"kms:EncryptionContext:app", "CreateGrant", "", grant, []string{"x"}, nil},
		{"kms:EncryptionContextKeys", "Encrypt", "", encrypt(in{"EncryptionContext": in{"App": "x", "b": "y"}}), []string{"App", "b"}, nil},
		{"kms:EncryptionContextKeys", "Encrypt", "", encrypt(nil), nil, nil},
		{"kms:ExpirationModel", "ImportKeyMaterial", "", importing, []string{"KEY_MATERIAL_EXPIRES"}, nil},
		{"kms:ValidTo", "ImportKeyMaterial", "", importing, []string{now.Add(24 * time.Hour).Format(time.RFC3339)}, nil},
		{"kms:ValidTo", "ImportKeyMaterial", "", in{"KeyId": imported, "ImportToken": text, "EncryptedKeyMaterial": text, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}, nil, nil},
		{"kms:GrantConstraintType", "CreateGrant", "", grant, []string{"EncryptionContextSubset"}, nil},
		{"kms:GrantConstraintType", "CreateGrant", "", serviceGrant, []string{"SourceArn"}, nil},
		{"kms:GrantConstraintSourceArn", "CreateGrant", "", serviceGrant, []string{"arn:aws:rds:us-east-1:111122223333:db:d"}, nil},
		{"kms:GrantConstraintSourceArn", "CreateGrant", "", grant, nil, nil},
		{"kms:GranteePrincipal", "CreateGrant", "", grant, []string{"arn:aws:iam::444455556666:user/bob"}, nil},
		{"kms:GranteeServicePrincipal", "CreateGrant", "", serviceGrant, []string{"rds.amazonaws.com"}, nil},
		{"kms:GranteePrincipal", "CreateGrant", "", serviceGrant, nil, nil},
		{"kms:RetiringPrincipal", "CreateGrant", "", grant, []string{"arn:aws:iam::444455556666:role/r"}, nil},
		{"kms:RetiringServicePrincipal", "CreateGrant", "", serviceGrant, []string{"ebs.amazonaws.com"}, nil},
		{"kms:GrantOperations", "CreateGrant", "", grant, []string{"Decrypt", "Encrypt"}, nil},
		{"kms:GrantIsForAWSResource", "CreateGrant", "", grant, []string{"false"}, nil},
		{"kms:GrantIsForAWSResource", "ListGrants", "", in{"KeyId": symmetric}, []string{"false"}, nil},
		{"kms:GrantIsForAWSResource", "DescribeKey", "", in{"KeyId": symmetric}, nil, nil},
		{"kms:KeyAgreementAlgorithm", "DeriveSharedSecret", "", in{"KeyId": agreement, "KeyAgreementAlgorithm": "ECDH", "PublicKey": text}, []string{"ECDH"}, nil},
		{"kms:KeyOrigin", "CreateKey", "", in{}, []string{"AWS_KMS"}, nil},
		{"kms:KeyOrigin", "DescribeKey", "", in{"KeyId": imported}, []string{"EXTERNAL"}, nil},
		{"kms:KeySpec", "CreateKey", "", in{}, []string{"SYMMETRIC_DEFAULT"}, nil},
		{"kms:KeySpec", "CreateKey", "", in{"CustomerMasterKeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, []string{"HMAC_256"}, nil},
		{"kms:KeySpec", "Sign", "", in{"KeyId": signer, "Message": text, "SigningAlgorithm": "ECDSA_SHA_256"}, []string{"ECC_NIST_P256"}, nil},
		{"kms:KeySpec", "ListKeys", "", in{}, nil, nil},
		{"kms:KeyUsage", "CreateKey", "", in{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, []string{"GENERATE_VERIFY_MAC"}, nil},
		{"kms:KeyUsage", "GetPublicKey", "", in{"KeyId": agreement}, []string{"KEY_AGREEMENT"}, nil},
		{"kms:MacAlgorithm", "GenerateMac", "", in{"KeyId": mac, "Message": text, "MacAlgorithm": "HMAC_SHA_256"}, []string{"HMAC_SHA_256"}, nil},
		{"kms:MacAlgorithm", "VerifyMac", "", in{"KeyId": mac, "Message": text, "MacAlgorithm": "HMAC_SHA_256", "Mac": text}, []string{"HMAC_SHA_256"}, nil},
		{"kms:MessageType", "Sign", "", in{"KeyId": signer, "Message": text, "SigningAlgorithm": "ECDSA_SHA_256"}, []string{"RAW"}, nil},
		{"kms:MessageType", "Verify", "", in{"KeyId": signer, "Message": text, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256", "Signature": text}, []string{"DIGEST"}, nil},
		{"kms:MultiRegion", "CreateKey", "", in{}, []string{"false"}, nil},
		{"kms:MultiRegion", "DescribeKey", "", in{"KeyId": multi}, []string{"true"}, nil},
		{"kms:MultiRegionKeyType", "DescribeKey", "", in{"KeyId": multi}, []string{"PRIMARY"}, nil},
		{"kms:MultiRegionKeyType", "DescribeKey", "", in{"KeyId": symmetric}, nil, nil},
		{"kms:MultiRegionKeyType", "CreateKey", "", in{"MultiRegion": true}, []string{"PRIMARY"}, nil},
		{"kms:MultiRegionKeyType", "ReplicateKey", "CreateKey", in{"KeyId": multi, "ReplicaRegion": "ap-south-1"}, []string{"REPLICA"}, nil},
		{"kms:PrimaryRegion", "UpdatePrimaryRegion", "", in{"KeyId": multi, "PrimaryRegion": "eu-west-1"}, []string{"eu-west-1"}, nil},
		{"kms:ReplicaRegion", "ReplicateKey", "", in{"KeyId": multi, "ReplicaRegion": "ap-south-1"}, []string{"ap-south-1"}, nil},
		{"kms:ReEncryptOnSameKey", "ReEncrypt", "ReEncryptFrom", reencrypt, []string{"false"}, nil},
		{"kms:ReEncryptOnSameKey", "ReEncrypt", "ReEncryptTo", reencrypt, []string{"false"}, nil},
		{"kms:ReEncryptOnSameKey", "ReEncrypt", "ReEncryptFrom", sameKey, []string{"true"}, nil},
		{"kms:ReEncryptOnSameKey", "ReEncrypt", "ReEncryptTo", sameKey, []string{"true"}, nil},
		{"kms:RequestAlias", "Encrypt", "", in{"KeyId": "alias/app-1", "Plaintext": text}, []string{"alias/app-1"}, nil},
		{"kms:RequestAlias", "DescribeKey", "", in{"KeyId": kms.AliasARN(testRegion, account, "alias/app-2").String()}, []string{"alias/app-2"}, nil},
		{"kms:RequestAlias", "GetPublicKey", "", in{"KeyId": "alias/signer"}, []string{"alias/signer"}, nil},
		{"kms:RequestAlias", "Encrypt", "", encrypt(nil), nil, nil},
		{"kms:RequestAlias", "ReEncrypt", "ReEncryptTo", sameKey, []string{"alias/app-1"}, nil},
		{"kms:RequestAlias", "ReEncrypt", "ReEncryptFrom", sameKey, nil, nil},
		{"kms:ResourceAliases", "Encrypt", "", encrypt(nil), []string{"alias/app-1", "alias/app-2"}, nil},
		{"kms:ResourceAliases", "Encrypt", "", in{"KeyId": other, "Plaintext": text}, nil, nil},
		{"kms:RotationPeriodInDays", "EnableKeyRotation", "", in{"KeyId": symmetric}, []string{"365"}, nil},
		{"kms:RotationPeriodInDays", "EnableKeyRotation", "", in{"KeyId": symmetric, "RotationPeriodInDays": 90}, []string{"90"}, nil},
		{"kms:TrailingDaysWithoutKeyUsage", "DisableKey", "", in{"KeyId": idle}, []string{"45"}, nil},
		{"kms:TrailingDaysWithoutKeyUsage", "DisableKey", "", in{"KeyId": used}, []string{"5"}, nil},
		{"kms:TrailingDaysWithoutKeyUsage", "EnableKey", "", in{"KeyId": other}, nil, nil},
		{"kms:ScheduleKeyDeletionPendingWindowInDays", "ScheduleKeyDeletion", "", in{"KeyId": idle}, []string{"30"}, nil},
		{"kms:SigningAlgorithm", "Sign", "", in{"KeyId": signer, "Message": text, "SigningAlgorithm": "ECDSA_SHA_256"}, []string{"ECDSA_SHA_256"}, nil},
		{"kms:WrappingAlgorithm", "GetParametersForImport", "", in{"KeyId": imported, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}, []string{"RSAES_OAEP_SHA_256"}, nil},
		{"kms:WrappingKeySpec", "GetParametersForImport", "", in{"KeyId": imported, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}, []string{"RSA_2048"}, nil},

		{"aws:ResourceAccount", "DescribeKey", "", in{"KeyId": symmetric}, []string{account}, nil},
		{"aws:ResourceTag/team", "Encrypt", "", encrypt(nil), []string{"red"}, nil},
		{"aws:ResourceTag/team", "Encrypt", "", in{"KeyId": other, "Plaintext": text}, nil, nil},
		{"aws:RequestTag/Team", "TagResource", "", in{"KeyId": other, "Tags": tags}, []string{"blue"}, nil},
		{"aws:RequestTag/team", "CreateKey", "", in{"Tags": tags}, []string{"blue"}, nil},
		{"aws:RequestTag/team", "CreateKey", "TagResource", in{"Tags": tags}, []string{"blue"}, nil},
		{"aws:RequestTag/team", "CreateKey", "", in{}, nil, nil},
		{"aws:ResourceTag/team", "CreateKey", "TagResource", in{"Tags": tags}, nil, nil},
		{"aws:TagKeys", "TagResource", "", in{"KeyId": other, "Tags": tags}, []string{"team", "cost"}, nil},
		{"aws:TagKeys", "UntagResource", "", in{"KeyId": other, "TagKeys": []string{"team"}}, []string{"team"}, nil},
		{"aws:TagKeys", "CreateKey", "", in{}, nil, nil},

		{"aws:PrincipalAccount", "ListKeys", "", in{}, []string{account}, nil},
		{"aws:PrincipalArn", "ListKeys", "", in{}, []string{"arn:aws:iam::111122223333:user/alice"}, nil},
		{"aws:PrincipalArn", "ListKeys", "", in{}, []string{"arn:aws:iam::111122223333:role/dev"}, session},
		{"aws:PrincipalIsAWSService", "ListKeys", "", in{}, []string{"false"}, nil},
		{"aws:PrincipalServiceName", "ListKeys", "", in{}, nil, nil},
		{"aws:PrincipalServiceNamesList", "ListKeys", "", in{}, nil, nil},
		{"aws:PrincipalTag/team", "ListKeys", "", in{}, []string{"red"}, tagged},
		{"aws:PrincipalTag/team", "ListKeys", "", in{}, nil, nil},
		{"aws:PrincipalType", "ListKeys", "", in{}, []string{"User"}, nil},
		{"aws:PrincipalType", "ListKeys", "", in{}, []string{"AssumedRole"}, session},
		{"aws:userid", "ListKeys", "", in{}, []string{"AROAEXAMPLE:s1"}, session},
		{"aws:username", "ListKeys", "", in{}, []string{"alice"}, nil},
		{"aws:username", "ListKeys", "", in{}, nil, session},
		{"aws:SourceArn", "Encrypt", "", encrypt(nil), nil, pretending},
		{"aws:SourceAccount", "Encrypt", "", encrypt(nil), nil, pretending},
		{"aws:ViaAWSService", "Encrypt", "", encrypt(nil), []string{"false"}, nil},
		{"kms:ViaService", "Encrypt", "", encrypt(nil), nil, nil},
		{"aws:CurrentTime", "ListKeys", "", in{}, []string{now.Format(time.RFC3339)}, nil},
		{"aws:EpochTime", "ListKeys", "", in{}, []string{fmt.Sprint(now.Unix())}, nil},
		{"aws:RequestedRegion", "ListKeys", "", in{}, []string{testRegion}, nil},
		{"aws:SecureTransport", "ListKeys", "", in{}, []string{"true"}, from},
		{"aws:SecureTransport", "ListKeys", "", in{}, []string{"false"}, nil},
		{"aws:SourceIp", "ListKeys", "", in{}, []string{"203.0.113.9"}, from},
		{"aws:UserAgent", "ListKeys", "", in{}, []string{"test/1"}, from},
		{"aws:PrincipalOrgID", "ListKeys", "", in{}, nil, nil},
	}
	covered := map[string]bool{
		"kms:recipientattestation": true, // TestAttestationConditions
	}
	for _, c := range cases {
		name := policy.NewKey(c.key).Name
		if len(c.want) > 0 || h.service.conditions[name] != nil && c.as != nil {
			covered[name] = true
		}
		t.Run(fmt.Sprintf("%s of %s is %q", c.key, c.op, c.want), func(t *testing.T) { c.run(t, h) })
	}
	for _, service := range []string{"aws:principalservicename", "aws:principalservicenameslist", "kms:viaservice", "aws:sourcearn", "aws:sourceaccount"} {
		covered[service] = true // TestServicePrincipals
	}
	for name := range h.service.conditions {
		if !covered[name] {
			t.Errorf("no case has a value for %s", name)
		}
	}
}

// TestConditionKeysAreDocumented: the page about policies has a row for each key, with its type.
func TestConditionKeysAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := conditionKeys()
	if len(rows) < 55 || len(conditionKeysByName()) != len(rows) {
		t.Errorf("%d rows, %d names", len(rows), len(conditionKeysByName()))
	}
	for _, row := range rows {
		kind := row.kind
		if row.multi {
			kind += ", several"
		}
		if !strings.Contains(string(page), "| `"+row.name+"` | "+kind+" |") {
			t.Errorf("docs/policies.md has no row for %s, %s", row.name, kind)
		}
		for _, action := range row.actions {
			if _, known := h0.actions[action]; !known {
				t.Errorf("%s: no action %s", row.name, action)
			}
		}
	}
}

// h0 is as much of a service as names need.
var h0 = &Service{actions: actionNames()}

// TestServicePrincipals: what a service says for whom it acts counts, and of others it does not; a
// grant to a service holds it to its source.
func TestServicePrincipals(t *testing.T) {
	h := newHarness(t)
	id := h.createKey(nil).KeyId
	arn := kms.KeyARN(testRegion, account, id).String()
	service := func() *Call {
		return &Call{RequestID: "test", Region: testRegion, Caller: &Caller{Principal: policy.Principal{ARN: "s3.amazonaws.com", Service: "s3.amazonaws.com"}},
			Origin: Origin{SourceARN: "arn:aws:s3:::bucket-1", SourceAccount: account}}
	}
	encrypt := func(call *Call) error {
		_, err := h.invokeAs(call, "Encrypt", in{"KeyId": arn, "Plaintext": []byte("x")})
		return err
	}
	const unseenText = "User: s3.amazonaws.com is not authorized to perform: kms:Encrypt on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
	wantError(t, encrypt(service()), kms.AccessDeniedException, unseenText)
	for conditions, want := range map[string]bool{
		`"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}`:                  true,
		`"StringEquals":{"kms:ViaService":"s3.eu-west-1.amazonaws.com"}`:                  false,
		`"ArnLike":{"aws:SourceArn":"arn:aws:s3:::b*"}`:                                   true,
		`"ArnLike":{"aws:SourceArn":"arn:aws:s3:::x*"}`:                                   false,
		`"StringEquals":{"aws:SourceAccount":"111122223333"}`:                             true,
		`"StringEquals":{"aws:SourceAccount":"444455556666"}`:                             false,
		`"Bool":{"aws:PrincipalIsAWSService":"true","aws:ViaAWSService":"true"}`:          true,
		`"StringEquals":{"aws:PrincipalServiceName":"s3.amazonaws.com"}`:                  true,
		`"ForAnyValue:StringEquals":{"aws:PrincipalServiceNamesList":"s3.amazonaws.com"}`: true,
		`"Null":{"aws:PrincipalArn":"true","aws:PrincipalType":"true"}`:                   true,
		`"Null":{"kms:CallerAccount":"false"}`:                                            false,
	} {
		h.editRecord(id, setPolicy(statement(`"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"kms:*","Resource":"*","Condition":{`+conditions+`}`)))
		if err := encrypt(service()); (err == nil) != want {
			t.Errorf("%s: %v", conditions, err)
		}
	}
	h.editRecord(id, setPolicy(statement(delegated)))
	h.must("CreateGrant", in{"KeyId": id, "GranteeServicePrincipal": "s3.amazonaws.com", "RetiringPrincipal": "arn:aws:iam::111122223333:root",
		"Operations": []string{"Encrypt"}, "Constraints": in{"SourceArn": "arn:aws:s3:::bucket-1"}})
	if err := encrypt(service()); err != nil {
		t.Errorf("by a grant: %v", err)
	}
	elsewhere := service()
	elsewhere.Origin.SourceARN = "arn:aws:s3:::other"
	wantError(t, encrypt(elsewhere), kms.AccessDeniedException, unseenText)
}

// TestAttestationConditions: a key policy lets an enclave's measurements in, of a document that
// verifies only.
func TestAttestationConditions(t *testing.T) {
	h := newHarness(t)
	id := h.createKey(nil).KeyId
	enclave, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	chain, stranger := attesttest.NewChain(t, now), attesttest.NewChain(t, now)
	claims := attesttest.Claims(t, chain, &enclave.PublicKey)
	genuine := chain.Document(t, claims)
	forged := stranger.Document(t, attesttest.Claims(t, stranger, &enclave.PublicKey))
	verifier := &attest.Verifier{Roots: chain.Roots(), Now: func() time.Time { return now }}
	document, err := verifier.Verify(genuine)
	if err != nil {
		t.Fatal(err)
	}
	pcr0 := hex.EncodeToString(document.PCRs[0])
	if pcr0 == "" {
		t.Fatal("the document has no PCR0")
	}
	ask := func(attestation []byte) error {
		request := in{"KeyId": id, "KeySpec": "AES_256"}
		if attestation != nil {
			request["Recipient"] = in{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": attestation}
		}
		_, err := h.invoke("GenerateDataKey", request)
		return err
	}
	h.service.attestation = verifier
	for _, key := range []string{"kms:RecipientAttestation:ImageSha384", "kms:RecipientAttestation:PCR0", "kms:recipientattestation:pcr0"} {
		h.editRecord(id, setPolicy(statement(delegated+`,"Condition":{"StringEqualsIgnoreCase":{"`+key+`":"`+strings.ToUpper(pcr0)+`"}}`)))
		if err := ask(genuine); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		for name, attestation := range map[string][]byte{"forged": forged, "none": nil} {
			if err := ask(attestation); kms.AsError(err).Code != kms.AccessDeniedException {
				t.Errorf("%s, %s: %v", key, name, err)
			}
		}
	}
	h.editRecord(id, setPolicy(statement(delegated+`,"Condition":{"StringEqualsIgnoreCase":{"kms:RecipientAttestation:PCR0":"`+strings.Repeat("ab", 48)+`"}}`)))
	if err := ask(genuine); kms.AsError(err).Code != kms.AccessDeniedException {
		t.Errorf("another image: %v", err)
	}
}

// TestKeyPolicyConditions: conditions in key policies, and a key that only identity policies know.
func TestKeyPolicyConditions(t *testing.T) {
	h := newHarness(t)
	id := h.createKey(in{"Tags": []in{{"TagKey": "team", "TagValue": "red"}}}).KeyId
	h.must("CreateAlias", in{"AliasName": "alias/app", "TargetKeyId": id})
	for _, c := range []struct {
		conditions string
		request    in
		want       bool
	}{
		{`"StringEquals":{"kms:EncryptionContext:app":"x"}`, in{"EncryptionContext": in{"app": "x"}}, true},
		{`"StringEquals":{"kms:EncryptionContext:app":"x"}`, in{"EncryptionContext": in{"app": "y"}}, false},
		{`"StringEquals":{"kms:EncryptionContext:app":"x"}`, nil, false},
		{`"StringNotEquals":{"kms:EncryptionContext:app":"x"}`, nil, true},
		{`"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["app","b"]},"Null":{"kms:EncryptionContextKeys":"false"}`, in{"EncryptionContext": in{"b": "x"}}, true},
		{`"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["app","b"]},"Null":{"kms:EncryptionContextKeys":"false"}`, in{"EncryptionContext": in{"B": "x"}}, false},
		{`"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/app"}`, nil, false},
		{`"Null":{"kms:ResourceAliases":"true"}`, nil, true},
		{`"StringEquals":{"aws:ResourceTag/Team":"red"}`, nil, true},
		{`"StringLike":{"kms:RequestAlias":"alias/a*"}`, in{"KeyId": "alias/app"}, true},
		{`"StringLike":{"kms:RequestAlias":"alias/a*"}`, nil, false},
	} {
		h.editRecord(id, setPolicy(statement(delegated+`,"Condition":{`+c.conditions+`}`)))
		request := in{"KeyId": id, "Plaintext": []byte("x")}
		maps.Copy(request, c.request)
		if _, err := h.invoke("Encrypt", request); (err == nil) != c.want {
			t.Errorf("%s of %v: %v", c.conditions, c.request, err)
		}
	}
}

// TestBounds: boundaries and session policies bound, and AWS's texts say which did.
func TestBounds(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	parse := func(body string) *policy.Document {
		d, err := policy.Parse([]byte(statement(body)))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	all, decrypt := parse(`"Effect":"Allow","Action":"kms:*","Resource":"*"`), parse(`"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"`)
	deny := parse(`"Effect":"Deny","Action":"kms:Encrypt","Resource":"*"`)
	const who = "arn:aws:sts::111122223333:assumed-role/dev/s1"
	text := func(why string) string {
		return "User: " + who + " is not authorized to perform: kms:Encrypt on resource: " + key.Arn + " " + why
	}
	roleNamed := statement(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/dev"},"Action":"kms:*","Resource":"*"`)
	for _, c := range []struct {
		name, keyPolicy   string
		identity, session []*policy.Document
		boundary          *policy.Document
		why               string // empty: allowed
	}{
		{"within both", statement(delegated), []*policy.Document{all}, []*policy.Document{all}, all, ""},
		{"outside the boundary", statement(delegated), []*policy.Document{all}, nil, decrypt, "because no permissions boundary allows the kms:Encrypt action"},
		{"outside the session's policy", statement(delegated), []*policy.Document{all}, []*policy.Document{decrypt}, nil, "because no session policy allows the kms:Encrypt action"},
		{"denied by the boundary", statement(delegated), []*policy.Document{all}, nil, deny, "with an explicit deny in a permissions boundary"},
		{"denied by the session's policy", statement(delegated), []*policy.Document{all}, []*policy.Document{all, deny}, nil, "with an explicit deny in a session policy"},
		{"no identity policy", statement(delegated), nil, []*policy.Document{all}, all, "because no identity-based policy allows the kms:Encrypt action"},
		{"denied by an identity policy", statement(delegated), []*policy.Document{all, deny}, nil, nil, "with an explicit deny in an identity-based policy"},
		{"the role is named", roleNamed, nil, nil, nil, ""},
		{"the role is named, outside the session's policy", roleNamed, nil, []*policy.Document{decrypt}, nil, "because no session policy allows the kms:Encrypt action"},
		{"not named", statement(strings.ReplaceAll(delegated, account, stranger)), []*policy.Document{all}, nil, nil, "because no resource-based policy allows the kms:Encrypt action"},
		{"denied by the key", statement(strings.Replace(delegated, "Allow", "Deny", 1)), []*policy.Document{all}, nil, nil, "with an explicit deny in a resource-based policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.editRecord(key.KeyId, setPolicy(c.keyPolicy))
			call := &Call{RequestID: "test", Region: testRegion, Caller: &Caller{
				Principal: policy.Principal{ARN: who, Account: account, Role: "arn:aws:iam::111122223333:role/dev"},
				Policies:  c.identity, Session: c.session, Boundary: c.boundary,
			}}
			_, err := h.invokeAs(call, "Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
			if c.why != "" {
				wantError(t, err, kms.AccessDeniedException, text(c.why))
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	// A grant to the role is for its sessions, within their bounds.
	h.role(account, "dev", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`)
	h.editRecord(key.KeyId, setPolicy(statement(delegated)))
	h.must("CreateGrant", in{"KeyId": key.KeyId, "GranteePrincipal": "arn:aws:iam::111122223333:role/dev", "Operations": []string{"Encrypt"}})
	call := func(session ...*policy.Document) *Call {
		return &Call{Region: testRegion, Caller: &Caller{Session: session,
			Principal: policy.Principal{ARN: who, Account: account, Role: "arn:aws:iam::111122223333:role/dev"}}}
	}
	request := in{"KeyId": key.KeyId, "Plaintext": []byte("x")}
	if _, err := h.invokeAs(call(), "Encrypt", request); err != nil {
		t.Errorf("by a grant to the role: %v", err)
	}
	_, err := h.invokeAs(call(decrypt), "Encrypt", request)
	wantError(t, err, kms.AccessDeniedException, text("because no identity-based policy allows the kms:Encrypt action"))
}

// TestBoundsOfStrangers: a deny of its own does not tell another account that a key exists.
func TestBoundsOfStrangers(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	deny, err := policy.Parse([]byte(statement(`"Effect":"Deny","Action":"kms:*","Resource":"*"`)))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Caller){
		"identity": func(c *Caller) { c.Policies = []*policy.Document{deny} },
		"boundary": func(c *Caller) { c.Boundary = deny },
		"session":  func(c *Caller) { c.Session = []*policy.Document{deny} },
	} {
		call := h.userCall(stranger, "bob")
		change(call.Caller)
		for _, id := range []string{key.Arn, strings.Replace(key.Arn, key.KeyId, "00000000-0000-4000-8000-000000000000", 1)} {
			_, err := h.invokeAs(call, "DescribeKey", in{"KeyId": id})
			t.Log(name)
			wantError(t, err, kms.AccessDeniedException, unseen(call.Caller.Principal, "kms:DescribeKey").(*kms.Error).Message)
		}
	}
}

// TestConditionsInTransactions: a condition that reads the store is asked in the transaction too.
func TestConditionsInTransactions(t *testing.T) {
	h := newHarness(t)
	h.clock.Advance(h.store.Created().Sub(h.clock.Now()))
	id := h.createKey(nil).KeyId
	h.editRecord(id, setPolicy(`{"Version":"2012-10-17","Statement":[{`+delegated+`},{"Effect":"Deny","Principal":"*","Action":["kms:DisableKey","kms:ScheduleKeyDeletion"],"Resource":"*",`+
		`"Condition":{"NumericLessThan":{"kms:TrailingDaysWithoutKeyUsage":"30"}}}]}`))
	h.clock.Advance(29 * 24 * time.Hour)
	_, err := h.invoke("DisableKey", in{"KeyId": id})
	wantError(t, err, kms.AccessDeniedException, "User: arn:aws:iam::111122223333:root is not authorized to perform: kms:DisableKey on resource: "+
		kms.KeyARN(testRegion, account, id).String()+" with an explicit deny in a resource-based policy")
	h.clock.Advance(24 * time.Hour)
	h.must("DisableKey", in{"KeyId": id})
	h.must("EnableKey", in{"KeyId": id})
	h.must("Encrypt", in{"KeyId": id, "Plaintext": []byte("x")})
	if _, err := h.invoke("ScheduleKeyDeletion", in{"KeyId": id}); kms.AsError(err).Code != kms.AccessDeniedException {
		t.Errorf("after a use: %v", err)
	}
}
