package integration_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

const arnPrefix = "arn:aws:kms:" + kms11test.Region + ":" + kms11test.Account + ":key/"

// unknownKey is a well-formed id no key has.
const unknownKey = "01234567-89ab-cdef-0123-456789abcdef"

var keyIDForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func createKey(t testing.TB, client *kms.Client) *types.KeyMetadata {
	t.Helper()
	return must(client.CreateKey(t.Context(), &kms.CreateKeyInput{}))(t).KeyMetadata
}

func describe(t testing.TB, client *kms.Client, id string) *types.KeyMetadata {
	t.Helper()
	return must(client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id}))(t).KeyMetadata
}

func TestKeyLifecycle(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()

	before := time.Now().Add(-time.Second)
	key := must(client.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("first")}))(t).KeyMetadata
	id := aws.ToString(key.KeyId)
	if !keyIDForm.MatchString(id) || aws.ToString(key.Arn) != arnPrefix+id {
		t.Errorf("key id %q, ARN %q", id, aws.ToString(key.Arn))
	}
	if created := aws.ToTime(key.CreationDate); created.Before(before) || created.After(time.Now().Add(time.Second)) {
		t.Errorf("created at %v", created)
	}
	got := fmt.Sprint(aws.ToString(key.AWSAccountId), aws.ToString(key.Description), key.Enabled, key.KeyState, key.KeySpec,
		key.KeyUsage, key.Origin, key.KeyManager, aws.ToBool(key.MultiRegion), key.EncryptionAlgorithms)
	want := fmt.Sprint(kms11test.Account, "first", true, types.KeyStateEnabled, types.KeySpecSymmetricDefault,
		types.KeyUsageTypeEncryptDecrypt, types.OriginTypeAwsKms, types.KeyManagerTypeCustomer, false,
		[]types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault})
	if got != want {
		t.Errorf("CreateKey gave\n%s, want\n%s", got, want)
	}
	for _, name := range []string{id, *key.Arn} {
		if found := describe(t, client, name); aws.ToString(found.Arn) != *key.Arn || !found.CreationDate.Equal(*key.CreationDate) {
			t.Errorf("DescribeKey of %s gave %s of %v", name, aws.ToString(found.Arn), found.CreationDate)
		}
	}

	must(client.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: &id, Description: aws.String("second ✓")}))(t)
	if found := describe(t, client, id); aws.ToString(found.Description) != "second ✓" {
		t.Errorf("the description is %q", aws.ToString(found.Description))
	}

	for range 2 { // disabling a disabled key and enabling an enabled one succeed
		must(client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &id}))(t)
	}
	if found := describe(t, client, id); found.Enabled || found.KeyState != types.KeyStateDisabled {
		t.Errorf("after DisableKey: enabled %v, state %s", found.Enabled, found.KeyState)
	}
	_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
	wantError[*types.DisabledException](t, err, *key.Arn+" is disabled.")
	for range 2 {
		must(client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key.Arn}))(t)
	}
	must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")}))(t)
	if found := describe(t, client, id); !found.Enabled || found.KeyState != types.KeyStateEnabled {
		t.Errorf("after EnableKey: enabled %v, state %s", found.Enabled, found.KeyState)
	}
}

func TestUnknownKeys(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	calls := map[string]func(id *string) error{
		"DescribeKey": func(id *string) error {
			_, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: id})
			return err
		},
		"EnableKey": func(id *string) error {
			_, err := client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: id})
			return err
		},
		"Encrypt": func(id *string) error {
			_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte("x")})
			return err
		},
		"GenerateDataKey": func(id *string) error {
			_, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: id, KeySpec: types.DataKeySpecAes256})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			missing := "Key '" + arnPrefix + unknownKey + "' does not exist"
			wantError[*types.NotFoundException](t, call(aws.String(unknownKey)), missing)
			wantError[*types.NotFoundException](t, call(aws.String(arnPrefix+unknownKey)), missing)
			wantError[*types.NotFoundException](t, call(aws.String("no-key")), "Invalid keyId 'no-key'")
			elsewhere := "arn:aws:kms:eu-west-1:" + kms11test.Account + ":key/" + unknownKey
			wantError[*types.NotFoundException](t, call(&elsewhere), "Invalid arn eu-west-1")
		})
	}
}

func TestListKeysPages(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	if empty := must(client.ListKeys(ctx, &kms.ListKeysInput{}))(t); len(empty.Keys) != 0 || empty.Truncated {
		t.Errorf("a new account lists %d keys, truncated %v", len(empty.Keys), empty.Truncated)
	}
	var want []string
	for range 7 {
		want = append(want, *createKey(t, client).Arn)
	}

	for _, limit := range []int32{1, 3, 7, 1000} {
		var got []string
		pages := kms.NewListKeysPaginator(client, &kms.ListKeysInput{Limit: aws.Int32(limit)})
		for pages.HasMorePages() {
			page := must(pages.NextPage(ctx))(t)
			if len(page.Keys) > int(limit) || page.Truncated != (page.NextMarker != nil) {
				t.Errorf("limit %d: a page of %d, truncated %v, marker %v", limit, len(page.Keys), page.Truncated, page.NextMarker != nil)
			}
			for _, entry := range page.Keys {
				if *entry.KeyArn != arnPrefix+*entry.KeyId {
					t.Errorf("key %s has the ARN %s", *entry.KeyId, *entry.KeyArn)
				}
				got = append(got, *entry.KeyArn)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: listed %d keys of %d", limit, len(got), len(want))
		}
	}

	_, err := client.ListKeys(ctx, &kms.ListKeysInput{Marker: aws.String("not a marker")})
	var invalid *types.InvalidMarkerException
	wantCode(t, err, invalid.ErrorCode(), "")
	for limit, rule := range map[int32]string{0: "greater than or equal to 1", 1001: "less than or equal to 1000"} {
		_, err := client.ListKeys(ctx, &kms.ListKeysInput{Limit: aws.Int32(limit)})
		wantCode(t, err, "ValidationException", fmt.Sprintf("Value '%d' at 'limit' failed to satisfy constraint: Member must have value %s", limit, rule))
	}
}
