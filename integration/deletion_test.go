package integration_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

func TestScheduleKeyDeletion(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	for _, c := range []struct {
		given *int32
		days  int32
	}{{nil, 30}, {aws.Int32(7), 7}, {aws.Int32(30), 30}} {
		key := createKey(t, client)
		createAlias(t, client, "alias/of-"+*key.KeyId, key.KeyId)
		before := time.Now()
		out := must(client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.KeyId, PendingWindowInDays: c.given}))(t)
		if *out.KeyId != *key.Arn || out.KeyState != types.KeyStatePendingDeletion || aws.ToInt32(out.PendingWindowInDays) != c.days {
			t.Errorf("ScheduleKeyDeletion gave %s, %s in %d days", *out.KeyId, out.KeyState, aws.ToInt32(out.PendingWindowInDays))
		}
		window := time.Duration(c.days) * 24 * time.Hour
		if early, late := before.Add(window-time.Second), time.Now().Add(window+time.Second); out.DeletionDate.Before(early) || out.DeletionDate.After(late) {
			t.Errorf("it is deleted at %v, %d days from %v", out.DeletionDate, c.days, before)
		}
		found := describe(t, client, "alias/of-"+*key.KeyId) // the alias lives as long as the key
		if found.KeyState != types.KeyStatePendingDeletion || found.Enabled || !found.DeletionDate.Equal(*out.DeletionDate) || found.PendingDeletionWindowInDays != nil {
			t.Errorf("DescribeKey gave %s, enabled %v, deleted at %v", found.KeyState, found.Enabled, found.DeletionDate)
		}

		cancelled := must(client.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key.Arn}))(t)
		found = describe(t, client, *key.KeyId)
		if *cancelled.KeyId != *key.Arn || found.KeyState != types.KeyStateDisabled || found.Enabled || found.DeletionDate != nil {
			t.Errorf("after CancelKeyDeletion of %s: %s, enabled %v, deleted at %v", *cancelled.KeyId, found.KeyState, found.Enabled, found.DeletionDate)
		}
		_, err := client.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key.KeyId})
		wantError[*types.KMSInvalidStateException](t, err, *key.Arn+" is not pending deletion.")
	}
	key := createKey(t, client)
	for days, rule := range map[int32]string{-1: "greater than or equal to 7", 6: "greater than or equal to 7", 31: "less than or equal to 30"} {
		_, err := client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.KeyId, PendingWindowInDays: &days})
		wantCode(t, err, "ValidationException", fmt.Sprintf("Value '%d' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value %s", days, rule))
	}
	must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))(t)
}

// TestManagingADoomedKey is what can be done to a key that is pending deletion, and what not.
func TestManagingADoomedKey(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key := createKey(t, client)
	createAlias(t, client, "alias/doomed", key.KeyId)
	must(client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.KeyId}))(t)
	tags := []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}
	other := createKey(t, client)
	createAlias(t, client, "alias/other", other.KeyId)
	for name, call := range map[string]func() error{
		"ScheduleKeyDeletion": func() error {
			_, err := client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.KeyId})
			return err
		},
		"EnableKey":  func() error { _, err := client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key.KeyId}); return err },
		"DisableKey": func() error { _, err := client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}); return err },
		"UpdateKeyDescription": func() error {
			_, err := client.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: key.KeyId, Description: aws.String("x")})
			return err
		},
		"TagResource": func() error {
			_, err := client.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: tags})
			return err
		},
		"UntagResource": func() error {
			_, err := client.UntagResource(ctx, &kms.UntagResourceInput{KeyId: key.KeyId, TagKeys: []string{"a"}})
			return err
		},
		"CreateAlias": func() error {
			_, err := client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/new"), TargetKeyId: key.KeyId})
			return err
		},
		"UpdateAlias to it": func() error {
			_, err := client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/other"), TargetKeyId: key.KeyId})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantError[*types.KMSInvalidStateException](t, call(), *key.Arn+" is pending deletion.")
		})
	}
	must(client.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: key.KeyId}))(t)
	keyPolicy := must(client.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyId}))(t)
	must(client.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: keyPolicy.Policy}))(t)
	must(client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/doomed"), TargetKeyId: other.KeyId}))(t)
	must(client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/doomed")}))(t)
}
