package integration_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// only is a policy that lets the account do everything, and Encrypt, Decrypt and GenerateDataKey under
// a condition only.
func only(condition string) *string {
	return policyOf(allowUnconditional, allowUses+`,"Condition":{`+condition+`}`)
}

const (
	allowUnconditional = `"Sid":"Rest","Effect":"Allow","NotAction":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey"]`
	allowUses          = `"Sid":"Uses","Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey"]`
)

// TestConditions: conditions of key policies on what a request of AWS's SDK says.
func TestConditions(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key := must(client.CreateKey(ctx, &kms.CreateKeyInput{Tags: []types.Tag{{TagKey: aws.String("team"), TagValue: aws.String("red")}}}))(t).KeyMetadata
	must(client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/app-1"), TargetKeyId: key.KeyId}))(t)
	context := map[string]string{"tenant": "blue"}
	encrypt := func(id *string, context map[string]string) error {
		_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte("x"), EncryptionContext: context})
		return err
	}
	for _, c := range []struct {
		name, condition string
		met, unmet      func() error
	}{
		{"encryption context", `"StringEquals":{"kms:EncryptionContext:tenant":"blue"}`,
			func() error { return encrypt(key.Arn, context) }, func() error { return encrypt(key.Arn, map[string]string{"tenant": "green"}) }},
		{"encryption context, in any case", `"StringEqualsIgnoreCase":{"KMS:EncryptionContext:Tenant":"BLUE"}`,
			func() error { return encrypt(key.Arn, context) }, func() error { return encrypt(key.Arn, nil) }},
		{"encryption context keys", `"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["tenant"]},"Null":{"kms:EncryptionContextKeys":"false"}`,
			func() error { return encrypt(key.Arn, context) }, func() error { return encrypt(key.Arn, map[string]string{"tenant": "blue", "more": "x"}) }},
		{"alias", `"StringLike":{"kms:RequestAlias":"alias/app-*"}`,
			func() error { return encrypt(aws.String("alias/app-1"), nil) }, func() error { return encrypt(key.Arn, nil) }},
		{"tag and address", `"StringEquals":{"aws:ResourceTag/team":"red"},"IpAddress":{"aws:SourceIp":"127.0.0.0/8"},"Bool":{"aws:SecureTransport":"false"}`,
			func() error { return encrypt(key.KeyId, nil) }, nil},
		{"another tag", `"StringEquals":{"aws:ResourceTag/team":"blue"}`, nil, func() error { return encrypt(key.KeyId, nil) }},
		{"from elsewhere", `"NotIpAddress":{"aws:SourceIp":"127.0.0.0/8"}`, nil, func() error { return encrypt(key.KeyId, nil) }},
		{"via a service", `"StringLike":{"kms:ViaService":"*"}`, nil, func() error { return encrypt(key.KeyId, nil) }},
		{"from a source", `"ArnLike":{"aws:SourceArn":"*"}`, nil, func() error { return encrypt(key.KeyId, nil) }},
		{"user name", `"StringLike":{"aws:username":"${aws:username}","aws:PrincipalArn":"arn:aws:iam::*:user/${aws:username}"}`,
			func() error { return encrypt(key.KeyId, nil) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: only(c.condition)}))(t)
			if c.met != nil {
				if err := c.met(); err != nil {
					t.Error(err)
				}
			}
			if c.unmet != nil {
				wantCode(t, c.unmet(), "AccessDeniedException", "is not authorized to perform: kms:Encrypt on resource: "+*key.Arn+" because no resource-based policy allows the kms:Encrypt action")
			}
		})
	}
}

// TestConditionErrors: what AWS refuses of conditions and principals.
func TestConditionErrors(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key := createKey(t, client)
	for condition, message := range map[string]string{
		`"StringIs":{"kms:ViaService":"x"}`:                                     "Syntax errors in policy.",
		`"NumericLessThan":{"kms:RotationPeriodInDays":"x"}`:                    "Syntax errors in policy.",
		`"ForAllValues:StringEquals":{"kms:EncryptionContext:tenant":["blue"]}`: "OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified encryption context.",
	} {
		_, err := client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: only(condition)})
		wantError[*types.MalformedPolicyDocumentException](t, err, message)
	}
	nobody := strings.ReplaceAll(*policyOf(allowAll), ":root", ":user/nobody")
	_, err := client.CreateKey(ctx, &kms.CreateKeyInput{Policy: &nobody})
	wantError[*types.MalformedPolicyDocumentException](t, err, "Policy contains a statement with one or more invalid principals.")
	locked := policyOf(allowAll + `,"Condition":{"StringLike":{"kms:ViaService":"*"}}`)
	_, err = client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: locked})
	wantError[*types.MalformedPolicyDocumentException](t, err, "The new key policy will not allow you to update the key policy in the future.")
}

// TestPolicyExplain: the command says what decides, and the server then decides so.
func TestPolicyExplain(t *testing.T) {
	server := kms11test.Start(t)
	client := server.Client(t)
	key := createKey(t, client)
	admin := "arn:aws:iam::" + kms11test.Account + ":user/admin"
	must(client.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: only(`"StringEquals":{"kms:EncryptionContext:tenant":"a,b"}`)}))(t)
	type explanation struct {
		Allowed    bool
		Reason     string
		Decided    []string
		Statements []struct {
			Name, Effect, Why string
			Applies           bool
		}
	}
	explain := func(more ...string) (e explanation) {
		t.Helper()
		args := append([]string{"policy", "explain", "--data", server.Dir, "--principal", admin, "--action", "kms:Encrypt", "--key", *key.KeyId}, more...)
		output, code := kms11test.Command(t, args...)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, output)
		}
		if err := json.Unmarshal([]byte(output), &e); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		return e
	}
	for _, given := range [][]string{{"--context", "tenant=a,b"}, {"--condition", "kms:EncryptionContext:tenant=a,b"}} {
		if e := explain(given...); !e.Allowed || !slices.Equal(e.Decided, []string{"key policy, statement 2 (Uses)", "identity-based policy administrator, statement 1"}) {
			t.Errorf("%q: %+v", given, e)
		}
	}
	e := explain()
	_, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")})
	wantCode(t, err, "AccessDeniedException", e.Reason)
	why := "the condition StringEquals on kms:EncryptionContext:tenant is not met: the request has no such key"
	if e.Allowed || e.Reason == "" || len(e.Statements) != 3 || e.Statements[1].Why != why {
		t.Errorf("%+v", e)
	}
	data := []string{"policy", "explain", "--data", server.Dir}
	wantRefusal(t, exitFailure, "The principal "+admin+"x is not found.", append(data, "--principal", admin+"x", "--action", "kms:Encrypt")...)
	wantRefusal(t, exitUsage, "is not key=value", append(data, "--principal", admin, "--action", "kms:Encrypt", "--context", "x")...)
	wantRefusal(t, exitUsage, "explain needs --principal: see", append(data, "--action", "kms:Encrypt")...)
	server.Stop(t)
	wantRefusal(t, exitFailure, "no server answers", append(data, "--principal", admin, "--action", "kms:Encrypt")...)
}
