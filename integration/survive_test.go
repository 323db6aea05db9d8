package integration_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestEveryKindSurvives kills the server after it has made a key of every kind, with alias, tag and
// policy, then stops it in good order: what the keys have made before is confirmed after each
// restart.
func TestEveryKindSurvives(t *testing.T) {
	server := kms11test.Start(t)
	client := server.Client(t)
	ctx := t.Context()
	confirm := map[string]evidence{}
	for _, k := range []kind{
		{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt},
		{types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt},
		{types.KeySpecRsa2048, types.KeyUsageTypeSignVerify},
		{types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify},
		{types.KeySpecEccNistP384, types.KeyUsageTypeSignVerify},
		{types.KeySpecEccNistP521, types.KeyUsageTypeSignVerify},
		{types.KeySpecEccSecgP256k1, types.KeyUsageTypeSignVerify},
		{types.KeySpecEccNistEdwards25519, types.KeyUsageTypeSignVerify},
		{types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement},
		{types.KeySpecEccNistP384, types.KeyUsageTypeKeyAgreement},
		{types.KeySpecEccNistP521, types.KeyUsageTypeKeyAgreement},
		{types.KeySpecHmac224, types.KeyUsageTypeGenerateVerifyMac},
		{types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac},
		{types.KeySpecHmac384, types.KeyUsageTypeGenerateVerifyMac},
		{types.KeySpecHmac512, types.KeyUsageTypeGenerateVerifyMac},
	} {
		key := newKey(t, client, k.spec, k.usage)
		confirm[k.String()] = must(evidenceOf(ctx, client, key))(t)
	}
	key := createKey(t, client)
	denies := policyOf(allowAll, `"Effect":"Deny","Action":"kms:Encrypt"`)
	createAlias(t, client, "alias/survivor", key.KeyId)
	must(client.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: tagList("team", "red")}))(t)
	must(client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: denies}))(t)
	doomed := must(client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: createKey(t, client).KeyId}))(t)
	confirmAll := func(client *kms.Client) {
		t.Helper()
		for _, name := range slices.Sorted(maps.Keys(confirm)) {
			if err := confirm[name](ctx, client); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if found := describe(t, client, "alias/survivor"); *found.Arn != *key.Arn {
			t.Errorf("the alias stands for %s", *found.Arn)
		}
		wantTags(t, client, key.KeyId, 50, map[string]string{"team": "red"})
		_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")})
		wantCode(t, err, "AccessDeniedException", "with an explicit deny in a resource-based policy")
		if found := describe(t, client, aws.ToString(doomed.KeyId)); found.KeyState != types.KeyStatePendingDeletion || !found.DeletionDate.Equal(*doomed.DeletionDate) {
			t.Errorf("the key to be deleted is %s until %v", found.KeyState, found.DeletionDate)
		}
	}

	server.Kill(t)
	server.Restart(t)
	confirmAll(server.Client(t))
	server.Stop(t)
	server.Restart(t)
	confirmAll(server.Client(t))
}
