package integration_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// defaultPolicy is the text that AWS gives a key which is made without a policy.
const defaultPolicy = `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::` + kms11test.Account + `:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`

// policyOf is a policy of statements for everyone in the account.
func policyOf(statements ...string) *string {
	const principal = `"Principal":{"AWS":"arn:aws:iam::` + kms11test.Account + `:root"},"Resource":"*"`
	text := `{"Version":"2012-10-17","Statement":[{` + strings.Join(statements, `,`+principal+`},{`) + `,` + principal + `}]}`
	return &text
}

const allowAll = `"Effect":"Allow","Action":"kms:*"`

func TestKeyPolicies(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key := createKey(t, client)
	get := func() string {
		t.Helper()
		out := must(client.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyId}))(t)
		if *out.PolicyName != "default" {
			t.Errorf("the policy's name is %q", *out.PolicyName)
		}
		return *out.Policy
	}
	if got := get(); got != defaultPolicy {
		t.Errorf("the default policy is\n%s", got)
	}
	if names := must(client.ListKeyPolicies(ctx, &kms.ListKeyPoliciesInput{KeyId: key.Arn}))(t); len(names.PolicyNames) != 1 || names.PolicyNames[0] != "default" || names.Truncated {
		t.Errorf("ListKeyPolicies gave %q", names.PolicyNames)
	}

	denies := policyOf(allowAll, `"Effect":"Deny","Action":"kms:Encrypt"`)
	must(client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: denies, PolicyName: aws.String("default")}))(t)
	if got := get(); got != *denies {
		t.Errorf("the policy came back as\n%s", got)
	}
	encrypt := kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}
	_, err := client.Encrypt(ctx, &encrypt)
	wantCode(t, err, "AccessDeniedException", "is not authorized to perform: kms:Encrypt on resource: "+*key.Arn+" with an explicit deny in a resource-based policy")
	must(client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId, KeySpec: types.DataKeySpecAes256}))(t)
	must(client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.Arn, Policy: aws.String(defaultPolicy)}))(t)
	must(client.Encrypt(ctx, &encrypt))(t)

	made := must(client.CreateKey(ctx, &kms.CreateKeyInput{Policy: denies}))(t).KeyMetadata
	encrypt.KeyId = made.KeyId
	_, err = client.Encrypt(ctx, &encrypt)
	wantCode(t, err, "AccessDeniedException", "kms:Encrypt on resource: "+*made.Arn)

	_, err = client.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyId, PolicyName: aws.String("other")})
	wantError[*types.NotFoundException](t, err, "No such policy exists")
}

func TestBadKeyPolicies(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key := createKey(t, client)
	const lockout = "The new key policy will not allow you to update the key policy in the future."
	group := `{"Version":"2012-10-17","Statement":[{` + allowAll + `,"Principal":{"AWS":"arn:aws:iam::` + kms11test.Account + `:group/g"},"Resource":"*"}]}`
	for name, c := range map[string]struct {
		policy  *string
		message string
	}{
		"locks everyone out":    {policyOf(`"Effect":"Allow","Action":"kms:Decrypt"`), lockout},
		"denies PutKeyPolicy":   {policyOf(allowAll, `"Effect":"Deny","Action":"kms:Put*"`), lockout},
		"is no JSON":            {aws.String("{"), ""},
		"has no statement":      {aws.String(`{"Version":"2012-10-17","Statement":[]}`), ""},
		"has an unknown effect": {policyOf(`"Effect":"Maybe","Action":"kms:*"`), ""},
		"names a group":         {&group, "Policy contains a statement with one or more invalid principals."},
	} {
		t.Run(name, func(t *testing.T) {
			var malformed *types.MalformedPolicyDocumentException
			_, err := client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: c.policy})
			wantCode(t, err, malformed.ErrorCode(), c.message)
			_, err = client.CreateKey(ctx, &kms.CreateKeyInput{Policy: c.policy})
			wantCode(t, err, malformed.ErrorCode(), c.message)
		})
	}
	huge := policyOf(allowAll, `"Sid":"`+strings.Repeat("x", 32_768)+`",`+allowAll)
	_, err := client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: huge})
	var limit *types.LimitExceededException
	wantCode(t, err, limit.ErrorCode(), "")
	if got := must(client.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyId}))(t); *got.Policy != defaultPolicy {
		t.Error("a refused policy has changed the key's")
	}

	// Who asks not to be saved from it is locked out.
	locked := policyOf(`"Effect":"Allow","Action":["kms:Encrypt","kms:DescribeKey"]`)
	must(client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: locked, BypassPolicyLockoutSafetyCheck: true}))(t)
	must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))(t)
	_, err = client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: aws.String(defaultPolicy)})
	wantCode(t, err, "AccessDeniedException", "is not authorized to perform: kms:PutKeyPolicy on resource: "+*key.Arn)
}
